"""What an earlier request saw never overwrites what a later one saw."""

import pytest

from worker.records import Batch, Fetched, Gone, Message
from worker.sync import observations
from worker.sync.observations import Observations

M = Message(id="m")


@pytest.mark.fault("U32")
def test_a_list_page_asked_for_before_a_get_is_dropped_when_it_comes_after() -> None:
    seen = Observations()
    page, get = seen.ask(), seen.ask()
    assert seen.admit(Batch(stream="activity", fetched=(Fetched(M, get),))).fetched
    assert seen.admit(Batch(stream="windows", listed=(M,), asked=page)).listed == ()


@pytest.mark.fault("U32")
def test_a_get_asked_for_before_a_list_page_is_dropped_when_it_comes_after() -> None:
    seen = Observations()
    get, page = seen.ask(), seen.ask()
    assert seen.admit(Batch(stream="windows", listed=(M,), asked=page)).listed == (M,)
    assert seen.admit(Batch(stream="activity", fetched=(Fetched(M, get),))).fetched == ()


@pytest.mark.fault("U32")
def test_an_old_list_page_does_not_bring_back_what_a_later_get_found_gone() -> None:
    seen = Observations()
    page, get = seen.ask(), seen.ask()
    assert seen.admit(Batch(stream="activity", gone=(Gone("m", "event", get),))).gone
    assert seen.admit(Batch(stream="windows", listed=(M,), asked=page)).listed == ()


@pytest.mark.fault("U32")
def test_an_old_deletion_does_not_bury_what_a_later_request_saw_alive() -> None:
    seen = Observations()
    early, late = seen.ask(), seen.ask()
    assert seen.admit(Batch(stream="activity", fetched=(Fetched(M, late),))).fetched
    assert seen.admit(Batch(stream="pending", gone=(Gone("m", "event", early),))).gone == ()


def test_other_messages_of_the_batch_are_kept() -> None:
    seen = Observations()
    page, get = seen.ask(), seen.ask()
    other = Message(id="other")
    seen.admit(Batch(stream="activity", fetched=(Fetched(M, get),)))
    assert seen.admit(Batch(stream="windows", listed=(M, other), asked=page)).listed == (other,)


def test_memory_is_bounded_by_what_is_still_out() -> None:
    seen = Observations()
    for _ in range(observations.FORGET_ABOVE * 3 // 100):
        asked = seen.ask()
        listed = tuple(Message(id=f"{asked}-{n}") for n in range(100))
        seen.admit(Batch(stream="windows", listed=listed, asked=asked))
        seen.settle(asked)
    assert len(seen._seen) <= observations.FORGET_ABOVE + 100


def test_nothing_is_forgotten_that_a_request_still_out_could_overwrite() -> None:
    seen = Observations()
    slow, get = seen.ask(), seen.ask()
    seen.admit(Batch(stream="activity", fetched=(Fetched(M, get),)))
    seen.settle(get)
    for _ in range(observations.FORGET_ABOVE * 2 // 1000):
        asked = seen.ask()
        listed = tuple(Message(id=f"{asked}-{n}") for n in range(1000))
        seen.admit(Batch(stream="windows", listed=listed, asked=asked))
        seen.settle(asked)
    assert seen.admit(Batch(stream="windows", listed=(M,), asked=slow)).listed == ()
