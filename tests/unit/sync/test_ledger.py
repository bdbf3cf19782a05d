"""Whatever happens to the ledger, it tiles the time from year 1 on, without gap or overlap."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from worker.records import LedgerChange, Window
from worker.sync import ledger
from worker.sync.limits import BEGINNING, IN_ORDER, SETTLE

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
TARGET = 2000


def assert_tiles(windows: Sequence[Window]) -> None:
    """The windows cover everything from year 1 on exactly once, on whole seconds."""
    ordered = sorted(windows, key=lambda w: w.after)
    assert ordered[0].after == BEGINNING
    assert ordered[-1].before is None
    for older, newer in itertools.pairwise(ordered):
        assert older.before == newer.after
        assert older.after < newer.after
    assert all(w.after.microsecond == 0 for w in ordered)


def test_a_new_ledger_is_the_head_and_everything_before_it() -> None:
    windows = ledger.first(NOW)
    assert_tiles(windows)
    assert [ledger.is_frontier(w) for w in windows] == [False, True]


@pytest.mark.fault("U34")
@given(st.data())
def test_the_ledger_tiles_after_any_sequence_of_changes(data: st.DataObject) -> None:
    windows = ledger.applied((), _put(*ledger.first(NOW)), NOW)
    now = NOW
    walking: dict[datetime, Window] = {}
    for _ in range(data.draw(st.integers(1, 30))):
        now += timedelta(seconds=data.draw(st.integers(0, 90_000)))
        windows = ledger.applied(windows, _anything(data, windows, walking, now), now)
        assert_tiles(windows)


def _put(*windows: Window) -> LedgerChange:
    return LedgerChange(put=windows)


def _anything(
    data: st.DataObject, windows: Sequence[Window], walking: dict[datetime, Window], now: datetime
) -> LedgerChange:
    """One thing that can happen to a ledger, drawn at random: to the whole of it, or to a window as its walk began."""
    what = data.draw(st.sampled_from(["begin", "finish", "halve", "cut", "lay out", "merge", "all"]))
    change: LedgerChange | None = None
    if what == "begin":
        free = [w for w in windows if w.after not in walking]
        if free:
            window = data.draw(st.sampled_from(free))
            walking[window.after] = replace(
                window,
                walk_began_at=now,
                walk_before=window.before or now + timedelta(days=1),
                seen=data.draw(st.integers(0, 9000)),
            )
    elif what == "lay out":
        change = ledger.lay_out(windows, TARGET, data.draw(st.integers(1, 8)), busy=walking)
    elif what == "merge":
        change = ledger.merged(windows, TARGET, busy=walking)
    elif what == "all":
        change = LedgerChange(walk_all=True)
    elif walking:
        change = _ended(data, walking.pop(data.draw(st.sampled_from(sorted(walking)))), what, now)
    return change or LedgerChange()


def _ended(data: st.DataObject, begun: Window, how: str, now: datetime) -> LedgerChange | None:
    if how == "finish":
        return ledger.finished(begun, now, now, windows_only=data.draw(st.booleans()))
    if how == "halve":
        return ledger.halves(begun, now)
    far = int(((begun.walk_before or now) - begun.after).total_seconds())
    reached = begun.after + timedelta(seconds=data.draw(st.integers(0, max(far, 0))))
    return ledger.read_part(replace(begun, reached=reached), now, now, windows_only=False)


def test_windows_grow_eightfold_while_the_past_is_empty() -> None:
    windows = ledger.applied((), _put(*ledger.first(NOW)), NOW)
    widths = []
    for _ in range(3):
        change = ledger.lay_out(windows, TARGET, ahead=1, busy=())
        assert change is not None
        laid, _rest = change.put
        widths.append(ledger.seconds(laid))
        windows = ledger.applied(windows, change, NOW)
        windows = ledger.applied(windows, ledger.finished(laid, NOW, NOW, windows_only=False), NOW)
    assert [wide / narrow for narrow, wide in itertools.pairwise(widths)] == [8, 8]
    assert ledger.lay_out(windows, TARGET, ahead=1, busy=()) is None, "after a year without mail the rest is one window"
    assert ledger.at_last_stretch(windows, TARGET)


def test_windows_are_as_wide_as_the_density_of_the_last_ones_asks_for() -> None:
    edge = NOW - timedelta(days=7)
    walked = Window(after=edge, before=NOW, state="done", seen=7_000, walked_at=NOW)
    frontier = Window(after=BEGINNING, before=edge)
    change = ledger.lay_out((Window(after=NOW, before=None), walked, frontier), TARGET, ahead=1, busy=())
    assert change is not None
    assert ledger.seconds(change.put[0]) == timedelta(days=2).total_seconds()


def test_several_windows_are_laid_out_ahead_so_that_they_can_be_walked_side_by_side() -> None:
    change = ledger.lay_out(ledger.first(NOW), TARGET, ahead=4, busy=())
    assert change is not None
    assert len(change.put) == 4 + 1
    assert ledger.lay_out(ledger.applied(ledger.first(NOW), change, NOW), TARGET, ahead=4, busy=()) is None


def test_a_frontier_that_is_being_walked_is_not_cut() -> None:
    windows = ledger.first(NOW)
    assert ledger.lay_out(windows, TARGET, ahead=4, busy={BEGINNING}) is None


def test_a_finished_head_closes_only_what_is_older_than_the_settling_time() -> None:
    head = Window(after=NOW - timedelta(days=1), before=None, walk_began_at=NOW)
    closed, new_head = ledger.finished(head, NOW, NOW, windows_only=False).put
    assert (closed.before, new_head.after) == (NOW - SETTLE, NOW - SETTLE)
    assert closed.state == new_head.state == "done"


def test_a_head_younger_than_the_settling_time_stays_whole() -> None:
    head = Window(after=NOW - timedelta(minutes=5), before=None, walk_began_at=NOW)
    (same,) = ledger.finished(head, NOW, NOW, windows_only=False).put
    assert (same.after, same.before, same.state) == (head.after, None, "done")


def test_a_newest_first_listing_is_closed_down_to_the_second_it_had_reached() -> None:
    reached = NOW - timedelta(hours=6)
    window = Window(
        after=NOW - timedelta(days=1),
        before=NOW,
        pages=60,
        seen=3000,
        reached=reached,
        walk_before=NOW,
        walk_began_at=NOW,
    )
    change = ledger.read_part(window, NOW, NOW, windows_only=False)
    assert change is not None
    done = [w for w in change.put if w.state == "done"]
    rest = [w for w in change.put if w.state == "open"]
    assert [(w.after, w.before) for w in done] == [(reached + timedelta(seconds=1), NOW)]
    assert min(w.after for w in rest) == window.after
    assert max(w.before for w in rest if w.before) == reached + timedelta(seconds=1)


def test_a_few_messages_in_order_by_luck_close_nothing() -> None:
    reached = NOW - timedelta(hours=6)
    window = Window(after=NOW - timedelta(days=1), before=NOW, pages=3, seen=IN_ORDER - 1, reached=reached)
    assert ledger.read_part(window, NOW, NOW, windows_only=False) is None
    assert ledger.read_part(replace(window, seen=IN_ORDER), NOW, NOW, windows_only=False) is not None


def test_a_listing_in_another_order_closes_nothing() -> None:
    window = Window(after=NOW - timedelta(days=1), before=NOW, pages=60, seen=3000, reached=None)
    assert ledger.read_part(window, NOW, NOW, windows_only=False) is None


def test_a_window_of_one_second_cannot_be_halved() -> None:
    assert ledger.halves(Window(after=NOW, before=NOW + timedelta(seconds=1)), NOW) is None


def test_a_window_disturbed_by_a_deletion_is_walked_again_at_once() -> None:
    window = Window(after=NOW - timedelta(days=1), before=NOW, disturbed=True)
    (done,) = ledger.finished(window, NOW, NOW, windows_only=False).put
    assert done.next_walk_at == NOW
    assert not done.disturbed


def test_older_windows_are_walked_again_less_often() -> None:
    def pause(age: timedelta, *, windows_only: bool = False) -> timedelta:
        window = Window(after=NOW - age - timedelta(days=1), before=NOW - age)
        return ledger.next_walk(window, NOW, NOW, windows_only=windows_only) - NOW

    assert timedelta(hours=20) < pause(timedelta(days=1)) < timedelta(hours=28)
    assert timedelta(days=26) < pause(timedelta(days=60)) < timedelta(days=34)
    assert pause(timedelta(days=1), windows_only=True) < timedelta(hours=2)


def test_small_finished_neighbours_are_merged_but_never_one_that_is_being_walked() -> None:
    hour = timedelta(hours=1)
    older = Window(
        after=NOW - 2 * hour, before=NOW - hour, state="done", seen=10, walked_at=NOW, next_walk_at=NOW + hour
    )
    newer = replace(older, after=NOW - hour, before=NOW, next_walk_at=NOW)
    change = ledger.merged((older, newer), TARGET, busy=())
    assert change is not None
    (joined,) = change.put
    assert (joined.after, joined.before, joined.seen, joined.next_walk_at) == (older.after, NOW, 20, NOW)
    assert change.drop == (newer.after,)
    assert ledger.merged((older, newer), TARGET, busy=(older.after,)) is None


def test_complete_back_to_stops_at_the_first_gap() -> None:
    day = timedelta(days=1)
    head = Window(after=NOW - day, before=None, state="done", walked_at=NOW)
    done = Window(after=NOW - 2 * day, before=NOW - day, state="done", walked_at=NOW)
    unwalked = Window(after=NOW - 3 * day, before=NOW - 2 * day)
    before = Window(after=BEGINNING, before=NOW - 3 * day, state="done", walked_at=NOW)
    assert ledger.complete_back_to((head, done, unwalked, before)) == done.after
    assert ledger.complete_back_to((replace(head, walked_at=None), done)) is None
