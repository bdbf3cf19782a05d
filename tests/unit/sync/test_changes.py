"""Events are hints: they name messages, nothing else of them counts."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.records import Event
from worker.sync.changes import fold

MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
EVENTS = st.builds(Event, st.sampled_from("abc"), st.sampled_from(["add", "update", "delete"]), MOMENTS)


@pytest.mark.fault("U27")
@given(st.lists(EVENTS), st.randoms())
def test_the_order_of_events_means_nothing(events: list[Event], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert fold(shuffled) == fold(events)


@pytest.mark.fault("U28")
@given(st.lists(EVENTS))
def test_each_message_is_looked_at_once(events: list[Event]) -> None:
    ids = [change.message_id for change in fold(events)]
    assert ids == sorted({event.message_id for event in events})


def test_a_deletion_anywhere_on_the_page_is_remembered() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    (change,) = fold([Event("m", "delete", early), Event("m", "add", late)])
    assert change.deletion_announced
    assert change.newest == late


def test_a_message_with_one_undated_event_has_no_known_age() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    (change,) = fold([Event("m", "add", moment), Event("m", "update", None), Event("m", "update", moment)])
    assert change.newest is None
