from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sources._headers import is_json, retry_after, served_at

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.fault("U2")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("5, 7", None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("2.5", 2.5),
        ("0", 1.0),
        ("0.01", 1.0),
        ("-30", 1.0),
        ("1e9", 3600.0),
        ("inf", 3600.0),
        ("-inf", 1.0),
        ("99999999999999999999999", 3600.0),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 1.0),
        ("Sun, 01 Mar 2099 11:00:00 GMT", 3600.0),
        ("Sunday, 01-Mar-26 12:02:00 GMT", 120.0),
        ("Sun, 31 Feb 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 20260000 12:00:00 GMT", None),
    ],
)
def test_retry_after_in_all_its_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_ever_fails_or_leaves_the_bounds(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 1 <= seconds <= 3600


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1970 <= moment.year < 9000))
def test_the_date_of_an_answer_is_read_to_the_second(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    assert served_at(format_datetime(whole, usegmt=True)) == whole


@given(st.one_of(st.none(), st.text(), st.sampled_from(["Thu, 01 Jan 0001 00:00:00 GMT", "0", "1 1 1 1:1:1"])))
def test_a_date_that_is_none_is_replaced_by_the_local_clock(text: str | None) -> None:
    read = served_at(text)
    assert read.tzinfo is UTC
    assert read.microsecond == 0
    assert 1970 <= read.year < 9000


def test_a_missing_date_is_now() -> None:
    assert abs(served_at(None) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.fault("U11")
@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/Problem+JSON", True),
        ("text/json", True),
        ("text/html", False),
        ("application/jsonp", False),
        ("json", False),
        ("", False),
        (None, False),
    ],
)
def test_which_content_types_are_json(content_type: str | None, expected: bool) -> None:
    assert is_json(content_type) is expected
