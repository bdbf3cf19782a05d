"""The ledger of windows as pure functions: how it begins, grows, splits, closes and merges.

The windows tile the time from year 1 on, half-open `[after, before)`, on whole seconds. The newest is the head; its
`before` is None. The oldest open one that begins in year 1 is the frontier: what the backfill has not laid out yet.
Every function takes windows and gives the `LedgerChange` that a commit writes; the tiling holds before and after.
"""

import itertools
import zlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from worker.records import LedgerChange, Span, Window
from worker.sync.limits import (
    BARREN,
    BEGINNING,
    END,
    FIRST_WIDTH,
    GROWTH,
    IN_ORDER,
    SETTLE,
    SHRINK,
    SMALLEST,
)

HEAD_START = timedelta(days=1)
"""How far before the first look the head begins; any value tiles."""
NEIGHBOURS = 4
"""Walked windows whose density tells the width of the next ones."""

HOURLY = timedelta(hours=1)
DAILY = timedelta(days=1)
MONTHLY = timedelta(days=30)
LOOKBACK = timedelta(days=3)


def first(now: datetime) -> tuple[Window, Window]:
    """The ledger of a new account: the head, and the frontier of everything before it."""
    edge = whole(now) - HEAD_START
    return Window(after=edge, before=None), Window(after=BEGINNING, before=edge)


def lay_out(windows: Sequence[Window], target: int, ahead: int, busy: Collection[datetime]) -> LedgerChange | None:
    """Cut the next windows off the newest end of the frontier, or None when enough wait or nothing is left.

    Their width is `target` messages over the density of the last walked windows, growing or shrinking by a bounded
    factor; several are cut at once so that they can be walked in parallel. What is being walked is never cut: once its
    walk has begun, the frontier is the last window.
    """
    frontier = next((w for w in windows if is_frontier(w) and w.after not in busy), None)
    waiting = sum(1 for w in windows if w.state == "open" and w is not frontier and w.before is not None)
    if frontier is None or frontier.before is None or waiting >= ahead:
        return None
    width = _width(windows, target)
    put: list[Window] = []
    edge = frontier.before
    while len(put) < ahead - waiting and edge - BEGINNING > width:
        put.append(Window(after=edge - width, before=edge))
        edge -= width
    rest = Window(after=BEGINNING, before=edge)
    return LedgerChange(put=(*put, rest)) if put else None


def at_last_stretch(windows: Sequence[Window], target: int) -> bool:
    """Whether what is left of the frontier is narrow enough to be walked as one window."""
    frontier = next((w for w in windows if is_frontier(w)), None)
    return frontier is not None and seconds(frontier) <= _width(windows, target).total_seconds()


def is_frontier(window: Window) -> bool:
    """Whether the window is the part of the past that no walk has begun on."""
    return window.after == BEGINNING and window.state == "open" and window.pages == 0 and window.attempts == 0


def halves(window: Window, now: datetime) -> LedgerChange | None:
    """Cut a window in the middle of its time, both parts to be walked; None when it is one second wide."""
    upper = window.before or max(whole(now) + SMALLEST, window.after)
    middle = whole(window.after + (upper - window.after) / 2)
    return pieces(window, (middle,)) if window.after < middle < upper else None


def pieces(window: Window, cuts: Sequence[datetime]) -> LedgerChange:
    """Cut a window at these bounds; each part keeps its state and begins its walk anew."""
    edges = sorted({window.after, *cuts})
    fresh = [_unwalked(window, after, before) for after, before in zip(edges, [*edges[1:], window.before], strict=True)]
    return LedgerChange(put=tuple(fresh))


def read_part(window: Window, now: datetime, walked_at: datetime, *, windows_only: bool) -> LedgerChange | None:
    """Close what a newest-first listing has passed, and halve what it has not reached; None when nothing can be cut.

    The second that was being read counts as not reached. A few messages may stand in order by luck: they prove nothing.
    """
    if window.reached is None or window.seen < IN_ORDER:
        return None
    edge = window.reached + SMALLEST
    upper = window.before or window.walk_before
    if upper is None or not window.after < edge < upper:
        return None
    passed = replace(window, after=edge, pages=window.pages, page=None, attempts=0)
    rest = _unwalked(window, window.after, edge)
    closed = finished(passed, now, walked_at, windows_only=windows_only)
    parted = halves(rest, now) or LedgerChange(put=(rest,))
    return LedgerChange(put=(*parted.put, *closed.put))


def finished(window: Window, now: datetime, walked_at: datetime, *, windows_only: bool) -> LedgerChange:
    """Mark a complete walk; of the head, close what is older than the settling time.

    `now` is the upstream's time when the walk began, `walked_at` the store's time at its end.
    """
    done = replace(
        window,
        state="done",
        page=None,
        attempts=0,
        page_size=None,
        walk_before=None,
        walk_began_at=None,
        reached=None,
        disturbed=False,
        known_before=False,
        walked_at=walked_at,
        next_walk_at=walked_at if window.disturbed else next_walk(window, now, walked_at, windows_only=windows_only),
    )
    if window.before is not None:
        return LedgerChange(put=(done,))
    edge = whole(now - SETTLE)
    if edge <= window.after:
        return LedgerChange(put=(done,))
    closed = replace(done, before=edge, looked_ahead_at=None)
    closed = replace(
        closed, next_walk_at=walked_at if window.disturbed else _cadence(closed, now, walked_at, windows_only)
    )
    head = replace(done, after=edge, pages=0, seen=0)
    return LedgerChange(put=(closed, head))


def next_walk(window: Window, now: datetime, walked_at: datetime, *, windows_only: bool) -> datetime:
    """When a window is walked again: the head hourly, the last 30 days daily, the rest every 30 days.

    Without activity, lists are the only way to notice anything: the last three days come hourly then. (The head comes
    with every run; see `worker.sync.run`.)
    """
    if window.before is None:
        return walked_at + HOURLY
    return _cadence(window, now, walked_at, windows_only)


def merged(windows: Sequence[Window], target: int, busy: Collection[datetime]) -> LedgerChange | None:
    """Join the first pair of small finished neighbours that closing the head has left, or None."""
    ordered = sorted(windows, key=lambda w: w.after)
    for older, newer in itertools.pairwise(ordered):
        joinable = all(w.state == "done" and w.before is not None and w.after not in busy for w in (older, newer))
        if not joinable or newer.before is None or newer.before - older.after > MONTHLY:
            continue
        if older.seen + newer.seen <= target and newer.before - newer.after < DAILY:
            times = [w.next_walk_at for w in (older, newer) if w.next_walk_at]
            walks = [w.walked_at for w in (older, newer) if w.walked_at]
            joined = replace(
                older,
                before=newer.before,
                pages=older.pages + newer.pages,
                seen=older.seen + newer.seen,
                walked_at=min(walks, default=None),
                next_walk_at=min(times, default=None),
            )
            return LedgerChange(drop=(newer.after,), put=(joined,))
    return None


def applied(windows: Sequence[Window], change: LedgerChange, now: datetime) -> tuple[Window, ...]:
    """The ledger after a change, newest first, as the store will have it."""
    kept = {w.after: w for w in windows if w.after not in change.drop}
    kept.update({w.after: w for w in change.put})
    if change.walk_all:
        kept = {
            after: replace(w, disturbed=w.disturbed or w.pages > 0)
            if w.state == "open"
            else replace(w, next_walk_at=now)
            for after, w in kept.items()
        }
    return tuple(sorted(kept.values(), key=lambda w: w.after, reverse=True))


def complete_back_to(windows: Sequence[Window]) -> datetime | None:
    """The oldest instant from which every window up to now has been walked; None before the head has been."""
    oldest = None
    for window in sorted(windows, key=lambda w: w.after, reverse=True):
        if window.walked_at is None:
            break
        oldest = window.after
    return oldest


def whole(moment: datetime) -> datetime:
    """The moment's whole second."""
    return moment.replace(microsecond=0)


def _unwalked(window: Window, after: datetime, before: datetime | None) -> Window:
    return Window(
        after=after,
        before=before,
        state=window.state,
        walked_at=window.walked_at,
        next_walk_at=window.next_walk_at,
        looked_ahead_at=window.looked_ahead_at if before is None else None,
        page_size=window.page_size,
    )


def _width(windows: Sequence[Window], target: int) -> timedelta:
    walked = sorted((w for w in windows if w.state != "open" and w.before is not None), key=lambda w: w.after)
    near = [(w, seconds(w)) for w in walked[:NEIGHBOURS]]
    if not near:
        return FIRST_WIDTH
    if _barren(walked):
        return END - BEGINNING
    last = near[0][1]
    seen = sum(w.seen for w, _ in near)
    wanted = sum(width for _, width in near) * target / seen if seen else last * GROWTH
    return timedelta(seconds=max(int(min(max(wanted, last * SHRINK), last * GROWTH)), 1))


def _barren(oldest_first: Sequence[Window]) -> bool:
    """Whether the past that was walked last held nothing for so long that all before it may be one window."""
    empty = itertools.takewhile(lambda w: w.seen == 0, oldest_first)
    return sum(map(seconds, empty)) >= BARREN.total_seconds()


def seconds(window: Window) -> float:
    """The width of a closed window in seconds."""
    return ((window.before or window.after) - window.after).total_seconds()


def _cadence(window: Window, now: datetime, walked_at: datetime, windows_only: bool) -> datetime:  # noqa: FBT001
    age = now - (window.before or now)
    every = HOURLY if windows_only and age < LOOKBACK else DAILY if age < MONTHLY else MONTHLY
    # Spread by the window itself, so that windows laid out together do not all come due together.
    spread = 0.9 + (zlib.crc32(window.after.isoformat().encode()) % 1000) / 5000
    return walked_at + every * spread


def span(window: Window) -> Span:
    """The time a window covers."""
    return Span(window.after, window.before)


def bounds(window: Window) -> str:
    """The window's bounds in words, as a problem names them."""
    before = f"{window.before:%Y-%m-%dT%H:%M:%SZ}" if window.before else "…"
    return f"{window.after:%Y-%m-%dT%H:%M:%SZ}/{before}"
