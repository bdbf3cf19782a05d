"""Faults that a store in memory shows best: every commit may be the last, and there may be very many events."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.unit.sync.ends import NOW, Mailbox, MemoryStore
from tests.unit.sync.test_run import make_due, run, spread
from worker.errors import LeaseLostError
from worker.records import ActivityPage, Batch, Cursor, Event, MessagePage, Outcome, PageToken
from worker.sync.limits import BEGINNING, END


def changed(mailbox: Mailbox) -> None:
    """Deliver, deliver late, and delete."""
    mailbox.deliver("new", NOW - timedelta(minutes=30))
    mailbox.deliver("late", NOW - timedelta(days=900))
    for gone in ("m00003", "m00020"):
        mailbox.remove(gone)
    mailbox.deliver("newer", NOW - timedelta(minutes=20))
    mailbox.remove("never seen")


@pytest.mark.parametrize("last", range(1, 4))
def test_a_later_run_cut_off_at_any_commit_is_made_good_by_events_alone(last: int) -> None:
    mailbox, store = Mailbox(spread(40)), MemoryStore()
    run(mailbox, store)
    changed(mailbox)
    store.overtaken_at = store.commits + last
    with pytest.raises(LeaseLostError):
        run(mailbox, store)
    store.overtaken_at = None
    walks = run(mailbox, store).walks
    assert walks == 0
    assert store.live.keys() == mailbox.messages.keys(), "I2: the cursor ran ahead"


@pytest.mark.parametrize("listed", range(5, 15, 3))
def test_what_arrives_behind_the_first_walk_comes_again_through_the_cursor(listed: int) -> None:
    mailbox, store = Mailbox(spread(200)), MemoryStore()

    def meanwhile(what: str) -> None:
        if what == "window" and mailbox.listed == listed:
            mailbox.deliver("behind", NOW - timedelta(hours=3))
            mailbox.remove("m00000")

    mailbox.before_answer = meanwhile
    run(mailbox, store)
    run(mailbox, store)
    assert "behind" in mailbox.messages
    assert store.live.keys() == mailbox.messages.keys()


@pytest.mark.fault("U15")
@pytest.mark.parametrize("shuffled", [None, 3])
@pytest.mark.parametrize("life", [1, 2, 3])
def test_page_tokens_that_die_early_end_no_list(life: int, shuffled: int | None) -> None:
    mailbox, store = Mailbox(spread(150, timedelta(hours=60)), page=10, shuffled=shuffled), MemoryStore()
    mailbox.token_life = life
    run(mailbox, store)
    assert store.live.keys() == mailbox.messages.keys(), "I4"
    assert not store.problems
    assert mailbox.listed > 150 / 10, "a token was refused"


@pytest.mark.fault("U20")
@pytest.mark.parametrize("after_page", range(2, 5))
def test_a_deletion_under_a_walk_by_offsets_hides_nothing(after_page: int) -> None:
    mailbox, store = Mailbox(spread(38, timedelta(hours=20)), page=10), MemoryStore()

    def meanwhile(what: str) -> None:
        if what == "window" and mailbox.listed == after_page:
            mailbox.remove("m00000")
            mailbox.remove("m00001")

    mailbox.before_answer = meanwhile
    run(mailbox, store)
    assert "m00000" not in mailbox.messages
    assert store.live.keys() == mailbox.messages.keys()


class Counting(MemoryStore):
    """Keeps the size of the largest batch."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def commit(self, batch: Batch) -> Outcome:
        self.most = max(self.most, len(batch.fetched) + len(batch.gone) + len(batch.problems))
        return super().commit(batch)


class Talkative(Mailbox):
    """An upstream with a thousand events on a page."""

    SIZE = 1000

    def activity(self, cursor: Cursor | None) -> ActivityPage:
        start = int(cursor or 0)
        events = self.log[start : start + self.SIZE]
        return ActivityPage(tuple(events), (), len(events), Cursor(str(start + len(events))), NOW)


@pytest.mark.fault("U23", "S6")
def test_as_many_events_as_are_ever_kept_let_everything_be_walked() -> None:
    mailbox, store = Talkative(spread(60)), Counting()
    run(mailbox, store)
    mailbox.messages["lost event"] = NOW - timedelta(days=100)
    events = [Event(f"m{n % 60:05}", "update", NOW) for n in range(100_000)]
    mailbox.log += events
    commits = store.commits
    totals = run(mailbox, store)
    assert totals.walks > 0, "as many events as are kept: some may be lost"
    assert "lost event" in store.live
    assert store.most <= 100
    assert store.commits - commits < 100_000 / Talkative.SIZE + 60


@pytest.mark.fault("U23")
def test_fewer_events_than_are_kept_walk_nothing() -> None:
    mailbox, store = Mailbox(spread(60)), MemoryStore()
    run(mailbox, store)
    mailbox.log += [Event(f"m{n % 60:05}", "update", NOW) for n in range(500)]
    assert run(mailbox, store).walks == 0


@pytest.mark.fault("U26")
def test_an_upstream_set_back_to_an_older_state_is_followed_by_the_next_walks() -> None:
    mailbox, store = Mailbox(spread(60)), MemoryStore()
    run(mailbox, store)
    before, log = dict(mailbox.messages), list(mailbox.log)
    changed(mailbox)
    run(mailbox, store)
    mailbox.messages, mailbox.log = before, log
    make_due(store)
    run(mailbox, store)
    assert store.live.keys() == mailbox.messages.keys(), "I1"
    assert {"new", "late", "newer"} <= store.dead.keys(), "I12: asked for by GET, then gone"
    assert {"m00003", "m00020"} <= store.live.keys()


class Reader(Mailbox):
    """An upstream that reads the two bounds of a listing in its own way."""

    def __init__(self, reads: "Read") -> None:
        super().__init__(spread(300, timedelta(days=30)))
        self._reads = reads

    def window(self, after: datetime, before: datetime, page: PageToken | None, size: int) -> MessagePage:
        lower = after if after.year == BEGINNING.year else self._reads[0](after)
        upper = before if before.year == END.year else self._reads[1](before)
        return super().window(lower, upper, page, size)


def moved(by: timedelta) -> Callable[[datetime], datetime]:
    return lambda bound: bound + by


def midnight(bound: datetime) -> datetime:
    return bound.replace(hour=0, minute=0, second=0)


SAME, SECOND, ZONE = moved(timedelta(0)), moved(timedelta(seconds=1)), moved(timedelta(hours=5, minutes=30))
Read = tuple[Callable[[datetime], datetime], Callable[[datetime], datetime]]
READERS: dict[str, Read] = {
    "without its lower bound": (SECOND, SAME),
    "with its upper bound": (SAME, SECOND),
    "by whole days": (midnight, midnight),
    "in another zone, ahead": (ZONE, ZONE),
    "in another zone, behind": (moved(timedelta(hours=-8)), moved(timedelta(hours=-8))),
}


@pytest.mark.fault("U35")
@pytest.mark.parametrize("reader", READERS)
def test_whatever_an_upstream_means_by_a_bound_no_message_falls_between_two_windows(reader: str) -> None:
    mailbox, store = Reader(READERS[reader]), MemoryStore()
    run(mailbox, store)
    for number, window in enumerate(w for w in store.ledger if w.after.year > BEGINNING.year):
        for seconds in (-1, 0, 1):
            mailbox.messages[f"edge {number} {seconds:+}"] = window.after + timedelta(seconds=seconds)
    anew = MemoryStore()
    run(mailbox, anew)
    assert anew.live.keys() == mailbox.messages.keys(), "I4"
    make_due(anew)
    run(mailbox, anew)
    assert anew.live.keys() == mailbox.messages.keys(), "a sweep took for gone what was listed elsewhere"
    assert not anew.dead
