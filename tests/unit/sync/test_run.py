"""The engine reaches the mailbox's state, whatever the upstream does on the way."""

import threading
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.sync.ends import NOW, Mailbox, MemoryStore, StillClock
from worker.errors import LeaseLostError
from worker.records import Cursor, Event, Message, MessagePage, PageToken, Position, Window
from worker.sync import limits
from worker.sync.limits import Limits
from worker.sync.run import Run, Totals

LIMITS = Limits(page_size=10, window_messages=40, parallel_windows=3, parallel_fetches=2)


def spread(count: int, span: timedelta = timedelta(days=400)) -> dict[str, datetime]:
    """Messages evenly back in time from an hour ago."""
    return {
        f"m{n:05}": (NOW - timedelta(hours=1) - span * n / max(count, 1)).replace(microsecond=0) for n in range(count)
    }


def run(mailbox: Mailbox, store: MemoryStore, limits: Limits = LIMITS) -> Totals:
    """Run to quiescence."""
    engine = Run(mailbox, store, StillClock(), limits)
    try:
        assert engine.until_quiet(stop=lambda: False)
    finally:
        engine.close()
    return engine.totals


AGES = st.integers(0, 3 * 365 * 24 * 3600).map(lambda s: NOW - timedelta(seconds=s))
CROWDED = st.integers(0, 20).map(lambda s: NOW - timedelta(days=30, seconds=s))
MAILBOXES = st.dictionaries(st.integers(0, 10**6).map(str), AGES | CROWDED, max_size=150)


@given(MAILBOXES, st.none() | st.integers(0, 9), st.none() | st.integers(1, 3))
def test_every_message_is_mirrored_whatever_the_order_and_however_short_lived_the_page_tokens(
    messages: dict[str, datetime], shuffled: int | None, token_life: int | None
) -> None:
    # Small pages let tokens die in small mailboxes, too; of a shuffled listing they might come in order by chance.
    mailbox, store = Mailbox(messages, page=3 if shuffled is None else 10, shuffled=shuffled), MemoryStore()
    mailbox.token_life = token_life
    run(mailbox, store)
    if token_life is None or max(_per_second(messages), default=0) <= token_life * mailbox.page:
        assert store.live.keys() == messages.keys()
        assert not store.problems
    else:
        assert {kind for kind, _ in store.problems} == {"page"}
    assert all(w.state != "open" for w in store.ledger)


def _per_second(messages: dict[str, datetime]) -> list[int]:
    times = list(messages.values())
    return [times.count(t) for t in set(times)]


@pytest.mark.fault("U9")
@given(MAILBOXES, st.data())
def test_a_page_that_cannot_be_read_costs_only_the_second_it_stands_in(
    messages: dict[str, datetime], data: st.DataObject
) -> None:
    mailbox, store = Mailbox(messages), MemoryStore()
    mailbox.poison = set(data.draw(st.lists(st.sampled_from(sorted(messages)), max_size=2))) if messages else set()
    run(mailbox, store)
    lost_seconds = {messages[id_] for id_ in mailbox.poison}
    assert {i for i, created in messages.items() if created not in lost_seconds} <= store.live.keys()
    assert len([k for k in store.problems if k[0] == "page"]) == len(lost_seconds)


@pytest.mark.fault("U9")
@given(MAILBOXES, st.data())
def test_an_object_that_cannot_be_read_fails_alone_and_is_recorded(
    messages: dict[str, datetime], data: st.DataObject
) -> None:
    mailbox, store = Mailbox(messages), MemoryStore()
    mailbox.rejects = set(data.draw(st.lists(st.sampled_from(sorted(messages)), max_size=5))) if messages else set()
    run(mailbox, store)
    assert store.live.keys() == messages.keys() - mailbox.rejects
    assert {subject for _, subject in store.problems} == mailbox.rejects


@given(MAILBOXES, st.integers(1, 40), st.integers(0, 2**32))
def test_what_changes_during_the_first_sync_is_right_at_its_end(
    messages: dict[str, datetime], changes: int, seed: int
) -> None:
    mailbox, store = Mailbox(messages), MemoryStore()
    left = iter(range(changes))

    def change(_: str) -> None:
        step = next(left, None)
        if step is None:
            return
        if step % 3 == 0 and mailbox.messages:
            mailbox.remove(sorted(mailbox.messages)[(seed + step) % len(mailbox.messages)])
        else:
            mailbox.deliver(f"new{step}", NOW - timedelta(days=(seed + step) % 900))

    mailbox.before_answer = change
    run(mailbox, store)
    mailbox.before_answer = lambda _: None
    run(mailbox, store)
    assert store.live.keys() == mailbox.messages.keys()


@pytest.mark.fault("P9")
@given(MAILBOXES, st.integers(1, 30))
def test_a_run_that_loses_its_lease_writes_nothing_more_and_the_next_one_ends_right(
    messages: dict[str, datetime], at: int
) -> None:
    mailbox, store = Mailbox(messages), MemoryStore()
    store.overtaken_at = at
    try:
        run(mailbox, store)
    except LeaseLostError:
        assert store.commits == at
    store.overtaken_at = None
    run(mailbox, store)
    assert store.live.keys() == messages.keys()


def test_a_large_mailbox_takes_few_more_requests_than_it_has_pages() -> None:
    messages = spread(20_000)
    mailbox, store = Mailbox(messages, page=50), MemoryStore()
    run(mailbox, store, Limits(page_size=100, window_messages=2000))
    assert store.live.keys() == messages.keys()
    assert mailbox.listed <= 1.2 * 20_000 / 50


@pytest.mark.fault("U38")
def test_a_burst_of_thousands_within_an_hour_takes_few_more_requests_than_it_has_pages() -> None:
    messages = spread(20_000, span=timedelta(hours=1))
    mailbox, store = Mailbox(messages, page=50), MemoryStore()
    run(mailbox, store, Limits(page_size=100, window_messages=2000))
    assert store.live.keys() == messages.keys()
    assert mailbox.listed <= 1.2 * 20_000 / 50


def test_an_idle_account_costs_one_request_and_one_commit() -> None:
    mailbox, store = Mailbox(spread(100)), MemoryStore()
    run(mailbox, store)
    requests, commits = mailbox.requests, store.commits
    run(mailbox, store)
    assert (mailbox.requests - requests, store.commits - commits) == (1, 1)


@pytest.mark.fault("U37")
def test_mail_dated_in_the_future_is_mirrored() -> None:
    messages = {"future": NOW + timedelta(days=4000), "now": NOW}
    mailbox, store = Mailbox(messages), MemoryStore()
    run(mailbox, store)
    assert store.live.keys() == messages.keys()


SECOND = timedelta(seconds=1)


@pytest.mark.fault("U35")
@pytest.mark.parametrize("off", [(SECOND, 0 * SECOND), (0 * SECOND, SECOND), (SECOND, SECOND)])
@given(messages=MAILBOXES, shuffled=st.none() | st.integers(0, 9))
def test_an_upstream_that_takes_the_edges_of_a_window_otherwise_hides_no_message(
    off: tuple[timedelta, timedelta], messages: dict[str, datetime], shuffled: int | None
) -> None:
    mailbox, store = Mailbox(messages, shuffled=shuffled), MemoryStore()
    mailbox.off = off
    run(mailbox, store)
    for number, window in enumerate(w for w in store.ledger if w.after.year > 1):
        mailbox.messages[f"edge{number}"] = window.after
    anew = MemoryStore()
    run(mailbox, anew)
    assert anew.live.keys() == mailbox.messages.keys()
    make_due(store)
    run(mailbox, store)
    assert store.live.keys() == mailbox.messages.keys()
    assert not store.dead
    assert not store.problems


def test_what_is_listed_below_a_window_does_not_count_for_it() -> None:
    messages = spread(3000)
    mailbox, store = Mailbox(messages, page=50), MemoryStore()
    run(mailbox, store)
    assert sum(w.seen for w in store.ledger) == len(messages)
    edges = [w.after for w in store.ledger if w.after.year > 1]
    for number, edge in enumerate(edges):
        mailbox.messages[f"below{number}"] = edge - SECOND
    make_due(store)
    run(mailbox, store)
    assert sum(w.seen for w in store.ledger) == len(messages) + len(edges)


@pytest.mark.fault("U36")
@pytest.mark.parametrize("ahead", [timedelta(days=-3), timedelta(days=3)])
@pytest.mark.parametrize("activity", [True, False])
def test_the_ledger_begins_by_the_upstreams_clock(ahead: timedelta, *, activity: bool) -> None:
    mailbox, store = Mailbox({}), MemoryStore()
    mailbox.now = NOW + ahead
    mailbox.active = activity
    Run(mailbox, store, StillClock(), LIMITS).poll()
    assert store.ledger[0].after == NOW + ahead - timedelta(days=1)


def test_a_folder_that_an_event_shows_first_has_its_name_at_the_end_of_the_run() -> None:
    mailbox, store = Mailbox(spread(30)), MemoryStore()
    run(mailbox, store)
    mailbox.folders["m00003"] = "f1"
    mailbox.log.append(Event("m00003", "update", NOW))
    run(mailbox, store)
    assert store.folders == {"f1": "Name of f1"}
    mailbox.folders["m00004"] = "f2"
    mailbox.log.append(Event("m00004", "update", NOW))
    requests = mailbox.requests
    engine = Run(mailbox, store, StillClock(), LIMITS)
    assert engine.changes(stop=lambda: False)
    engine.close()
    assert store.folders["f2"] == "Name of f2"
    assert mailbox.requests - requests == 4, "two pages of activity, the message, the folder"


def test_an_interrupted_first_walk_goes_on_where_it_was() -> None:
    messages = spread(300, timedelta(hours=20))
    undisturbed = Mailbox(messages)
    run(undisturbed, MemoryStore())
    mailbox, store = Mailbox(messages), MemoryStore()
    store.overtaken_at = 25
    with pytest.raises(LeaseLostError):
        run(mailbox, store)
    store.overtaken_at = None
    run(mailbox, store)
    assert store.live.keys() == messages.keys()
    lost_in_flight = LIMITS.parallel_windows
    assert mailbox.listed <= undisturbed.listed + lost_in_flight + 1


@pytest.mark.fault("U34")
def test_the_last_stretch_is_not_cut_while_it_is_walked_though_an_older_window_turns_out_to_hold_mail() -> None:
    """Years without mail call all before them one window; the walk of it is still out when an older window closes."""
    mail = NOW - timedelta(days=1400)
    mailbox, store = Mailbox({"old": mail}), MemoryStore()
    edges = [NOW - timedelta(days=days) for days in (1, 1000, 1500)]
    store.cursor = Position(Cursor("0"), supported=True, age=0.0)
    store.ledger = (
        Window(after=edges[0], before=None, state="done", walked_at=NOW),
        Window(after=edges[1], before=edges[0], state="done", walked_at=NOW),
        Window(after=edges[2], before=edges[1]),
        Window(after=limits.BEGINNING, before=edges[2]),
    )
    last_begun, older_closed = threading.Event(), threading.Event()
    listing = mailbox.window

    def answer(after: datetime, before: datetime, page: PageToken | None, size: int) -> MessagePage:
        if after.year == 1:
            last_begun.set()
            assert older_closed.wait(10)
        elif after <= mail < before:
            assert last_begun.wait(10)
        return listing(after, before, page, size)

    def watch(_: Totals) -> None:
        if "old" in store.live:
            older_closed.set()

    mailbox.window = answer  # type: ignore[method-assign]
    engine = Run(mailbox, store, StillClock(), LIMITS, observe=watch)
    assert engine.until_quiet(stop=lambda: False)
    engine.close()
    assert store.live.keys() == {"old"}


@pytest.mark.parametrize("at", range(4, 14))
def test_what_was_gone_before_an_interrupted_first_walk_began_is_found_all_the_same(at: int) -> None:
    """An event may show a message long before its window is walked, and the event of its deletion may be lost."""
    old = NOW - timedelta(days=3)
    mailbox, store = Mailbox({f"m{n:02}": old - timedelta(minutes=n) for n in range(40)}), MemoryStore()
    store.live["ghost"] = Message(id="ghost", created=old - timedelta(minutes=20, seconds=1))
    store.overtaken_at = at
    with pytest.raises(LeaseLostError):
        run(mailbox, store)
    store.overtaken_at = None
    run(mailbox, store)
    assert store.live.keys() == mailbox.messages.keys()
    assert store.dead == {"ghost": "sweep"}


def make_due(store: MemoryStore) -> None:
    """Let every window be walked again."""
    store.ledger = tuple(replace(w, next_walk_at=NOW) for w in store.ledger)


def test_what_a_walk_finds_missing_is_asked_for_before_it_is_called_gone() -> None:
    mailbox, store = Mailbox(spread(100)), MemoryStore()
    run(mailbox, store)
    del mailbox.messages["m00050"]
    mailbox.hidden = {"m00060"}
    mailbox.gets.clear()
    make_due(store)
    run(mailbox, store)
    assert sorted(mailbox.gets) == ["m00050", "m00060"]
    assert store.dead == {"m00050": "sweep"}
    assert "m00060" in store.live


@pytest.mark.fault("U29")
def test_a_known_message_that_is_not_found_any_more_is_gone_at_once() -> None:
    mailbox, store = Mailbox(spread(100)), MemoryStore()
    run(mailbox, store)
    del mailbox.messages["m00007"]
    mailbox.log.append(Event("m00007", "update", NOW))
    run(mailbox, store)
    assert store.dead == {"m00007": "event"}
    assert not store.problems


@pytest.mark.fault("U29")
def test_a_new_message_that_is_not_found_yet_is_pending_and_not_gone() -> None:
    mailbox, store = Mailbox(spread(100)), MemoryStore()
    run(mailbox, store)
    mailbox.log.append(Event("late", "add", NOW))
    run(mailbox, store)
    assert store.problems.keys() == {("pending", "late")}
    assert not store.dead


def test_a_message_without_an_id_stays_a_problem_until_a_walk_does_not_find_it() -> None:
    mailbox, store = Mailbox(spread(30)), MemoryStore()
    mailbox.rejects = {"m00003"}
    mailbox.addressable = False
    run(mailbox, store)
    assert store.problems.keys() == {("message", "m00003")}
    make_due(store)
    run(mailbox, store)
    assert store.problems.keys() == {("message", "m00003")}
    mailbox.rejects = set()
    make_due(store)
    run(mailbox, store)
    assert not store.problems
    assert "m00003" in store.live


@pytest.mark.fault("U43")
def test_a_suddenly_empty_mailbox_is_held_and_nothing_is_deleted() -> None:
    mailbox, store = Mailbox(spread(300)), MemoryStore()
    run(mailbox, store)
    mailbox.messages.clear()
    make_due(store)
    run(mailbox, store)
    held = [subject for kind, subject in store.problems if kind == "held_delete"]
    assert len(store.dead) < limits.BRAKE_MESSAGES + 0.2 * 300
    assert len(held) + len(store.dead) == 300


@pytest.mark.fault("U43")
def test_an_empty_listing_of_a_full_mailbox_deletes_and_holds_nothing() -> None:
    mailbox, store = Mailbox(spread(300)), MemoryStore()
    run(mailbox, store)
    mailbox.hidden = set(mailbox.messages)
    make_due(store)
    run(mailbox, store)
    assert not store.dead
    assert not [1 for kind, _ in store.problems if kind == "held_delete"]


@pytest.mark.fault("U38")
def test_a_large_window_is_cut_before_it_is_walked_again() -> None:
    messages = spread(12_000, timedelta(days=20))
    mailbox, store = Mailbox(messages, page=500), MemoryStore()
    run(mailbox, store, Limits(page_size=500, window_messages=2000))
    whole = Window(after=limits.BEGINNING, before=NOW, state="done", seen=12_000, walked_at=NOW, next_walk_at=NOW)
    store.ledger = (Window(after=NOW, before=None, state="done", walked_at=NOW), whole)
    run(mailbox, store, Limits(page_size=500, window_messages=2000))
    assert max(w.seen for w in store.ledger) <= limits.LEAF
