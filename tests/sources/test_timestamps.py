from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sources._timestamps import EARLIEST, LATEST, parse, stamp

GOOD = datetime(2020, 3, 23, 20, 8, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2020-03-23T20:08:50Z",
        "2020-03-23T20:08:50.999999999Z",
        "2020-03-23T22:08:50+02:00",
        "2020-03-23T14:38:50.5-05:30",
        "2020-03-23T20:08:50-00:00",
        "2020-03-23t20:08:50z",
    ],
)
def test_rfc_3339_with_a_zone_is_read_and_cut_to_the_second(text: str) -> None:
    assert parse(text) == GOOD
    assert parse(text).tzinfo is UTC  # type: ignore[union-attr]  # not None: the line above


@pytest.mark.fault("D4")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-03-23",
        "2020-03-23T20:08:50",
        "20200323T200850Z",
        "2020-03-23 20:08:50Z",
        "2020-03-23T20:08Z",
        "2020-03-23T20:08:50+0530",
        "2020-03-23T20:08:50+05",
        "2020-03-23T20:08:60Z",
        "2020-03-23T24:00:00Z",
        "2020-02-30T20:08:50Z",
        "2020-13-01T20:08:50Z",
        "2020-W13-1T20:08:50Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "10000-01-01T00:00:00Z",
        "+2020-03-23T20:08:50Z",
        "2020-03-23T20:08:50Z ",
        "2020-03-23T20:08:50Z\n",
        "٢٠٢٠-03-23T20:08:50Z",
        "infinity",
        "1584994130",
    ],
)
def test_everything_else_is_no_time(text: str) -> None:
    assert parse(text) is None


@pytest.mark.fault("P26")
@given(
    st.datetimes(EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None)),
    st.integers(-23 * 60, 23 * 60),
)
def test_what_is_written_is_read_back(moment: datetime, minutes: int) -> None:
    aware = moment.replace(microsecond=0, tzinfo=UTC)
    text = stamp(aware)
    assert len(text) == 20
    assert parse(text) == aware
    try:
        elsewhere = aware.astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:
        return  # Python cannot write it there; the edges are in the list above
    assert stamp(elsewhere) == text
    assert parse(elsewhere.isoformat()) == aware


@given(st.text(alphabet="0123456789-:TZ+. "))
def test_no_text_makes_it_fail(text: str) -> None:
    moment = parse(text)
    assert moment is None or EARLIEST <= moment <= LATEST
