"""Stream 1, activity: cursor → batches.

    nothing stored ──► subscription exists ──► drained to its end ──► cursor and ledger in one commit
    cursor ──► page ──► look at each message it names ──► rows, tombstones, problems and cursor in one commit ──► …
    cursor refused, too old, or as many events as are ever kept ──► new cursor first, then every window again
    no activity (plan, service) ──► windows alone; asked again once a day

Kinds and order of events are hints: each message named is asked for, and the answer counts.
"""

import itertools
from collections.abc import Generator, Sequence
from datetime import datetime

from worker.errors import CursorLostError, UnreadableError, UnsupportedError
from worker.ports import LeasedStore, Source
from worker.records import (
    ActivityPage,
    Batch,
    Cursor,
    CursorMove,
    LedgerChange,
    Position,
    Problem,
    ProblemKind,
    Rejected,
)
from worker.sync import ledger
from worker.sync.changes import Change, fold
from worker.sync.limits import FRESH, RECHECK_ACTIVITY, RETENTION, SAFE_AGE
from worker.sync.looks import RETRY_FRESH, Look, Looker

Stream = Generator[Batch, None, None]
Absent = tuple[str, int]
"""A message id the API calls not found, and the number of the request."""

STUCK: tuple[ProblemKind, str] = ("event", "cursor")
"""The problem of a cursor that does not move although events come."""

PIECE = 100
"""Messages looked at before a commit, however many a page of events names."""


def follow(source: Source, store: LeasedStore, looker: Looker, position: Position | None) -> Stream:
    """Read the activity stream from `position` to its end as it stands now; None is the first time.

    Raises what the source raises, except for a lost cursor and a missing capability, which are answered here.
    """
    if position is None:
        yield begin(source, store, looker, first=True)
    elif not position.supported:
        if position.age > RECHECK_ACTIVITY:
            yield begin(source, store, looker, first=False)
    else:
        try:
            yield from _read(source, store, looker, position)
        except (CursorLostError, UnsupportedError):
            yield begin(source, store, looker, first=False)


def begin(source: Source, store: LeasedStore, looker: Looker, *, first: bool) -> Batch:
    """Make sure changes are recorded, go to the end of the stream, and only then lay the ledger out or walk it anew."""
    cursor: Cursor | None = None
    supported = True
    try:
        source.start_activity()
        cursor, served_at = _drain(source, store)
    except (UnsupportedError, CursorLostError):
        # Said of an account that does not answer either, it means nothing.
        served_at = looker.account()[0].served_at
        supported = False
    # By the upstream's clock, as windows end by it, too (faults.md U36).
    change = LedgerChange(put=ledger.first(served_at)) if first else LedgerChange(walk_all=True)
    return Batch(stream="activity", cursor=CursorMove(cursor, supported), polled=True, ledger=change)


def _drain(source: Source, store: LeasedStore) -> tuple[Cursor, datetime]:
    """Follow cursors from the oldest kept event to the end; what they tell is listed by the windows anyway.

    Returns the last cursor, and the upstream's time when it was given.
    """
    cursor: Cursor | None = None
    passed: set[Cursor] = set()
    while True:
        store.renew()
        page = source.activity(cursor)
        moved = page.cursor is not None and page.cursor not in passed
        if page.cursor is not None:
            cursor = page.cursor
            passed.add(cursor)
        if page.count == 0 or not moved:
            break
    if cursor is None:
        message = "The activity stream gave no cursor, not even at its end."
        raise UnreadableError(message)
    return cursor, page.served_at


def _read(source: Source, store: LeasedStore, looker: Looker, position: Position) -> Stream:
    cursor = position.cursor
    delivered = 0
    began = store.now()
    while True:
        store.renew()
        page = source.activity(cursor)
        delivered += page.count
        stuck = page.count > 0 and page.cursor in (cursor, None)
        at_end = page.count == 0
        changes = fold(page.events)
        look, done = looker.some([c.message_id for c in changes[:PIECE]])
        while done < len(changes):
            yield _batch(store, looker, page.served_at, changes[:done], look)
            changes = changes[done:]
            look, done = looker.some([c.message_id for c in changes[:PIECE]])
        # A machine that slept in the middle of a poll has been away as long as one that did not poll.
        age = position.age + (store.now() - began).total_seconds()
        anew = bool(page.rejected) or (at_end and (age > SAFE_AGE or delivered >= RETENTION))
        moves = not stuck and page.cursor is not None and page.cursor != cursor
        yield _batch(
            store,
            looker,
            page.served_at,
            changes,
            look,
            problems=_unreadable(page, stuck=stuck),
            solved=() if stuck else (STUCK,),
            cursor=CursorMove(page.cursor) if moves else None,
            polled=at_end,
            ledger=LedgerChange(walk_all=anew),
        )
        if at_end or stuck:
            return
        cursor = page.cursor


def _batch(
    store: LeasedStore,
    looker: Looker,
    served_at: datetime,
    changes: tuple[Change, ...],
    look: Look,
    *,
    problems: tuple[Problem, ...] = (),
    solved: tuple[tuple[ProblemKind, str], ...] = (),
    cursor: CursorMove | None = None,
    polled: bool = False,
    ledger: LedgerChange = LedgerChange(),  # noqa: B008  # frozen, so sharing it is safe
) -> Batch:
    by_id = {c.message_id: c for c in changes}
    fresh = [a for a in look.absent if _fresh(by_id[a[0]], served_at)]
    fresh = _unseen(store, fresh)
    gone = looker.gone([a for a in look.absent if a not in fresh], "event")
    return Batch(
        stream="activity",
        fetched=look.fetched,
        gone=gone,
        problems=(*problems, *look.problems, *map(_pending, fresh)),
        solved=solved,
        cursor=cursor,
        polled=polled,
        ledger=ledger,
    )


def _fresh(change: Change, served_at: datetime) -> bool:
    """Whether a 404 may only mean that the upstream is not ready to show the message yet (faults.md U29)."""
    return not change.deletion_announced and (change.newest is None or served_at - change.newest < FRESH)


def _unseen(store: LeasedStore, absent: Sequence[Absent]) -> list[Absent]:
    """Those of which no live message is mirrored: what has been shown before is not merely late."""
    live = store.live_among([id_ for id_, _ in absent])
    return [a for a in absent if a[0] not in live]


def _pending(absent: Absent) -> Problem:
    cause = "Announced by an event, but the upstream does not show it yet."
    return Problem(kind="pending", subject=absent[0], cause=cause, retry_in=RETRY_FRESH)


def _unreadable(page: ActivityPage, *, stuck: bool) -> tuple[Problem, ...]:
    problems = tuple(map(_event_problem, page.rejected))
    if stuck:
        cause = f"The activity stream gave {page.count} events but its cursor did not move."
        problems += (Problem(kind=STUCK[0], subject=STUCK[1], cause=cause),)
    return problems


def _event_problem(rejected: Rejected) -> Problem:
    return Problem(kind="event", subject=rejected.subject, cause=rejected.reason, raw=rejected.raw)


class Retries:
    """The pending stream: messages that could not be had earlier and are due to be asked for again."""

    def __init__(self, store: LeasedStore, looker: Looker) -> None:
        self._store = store
        self._looker = looker

    def batches(self) -> Stream:
        """Ask again for what is due, oldest first, until nothing is."""
        asked: set[str] = set()
        while True:
            due = [p for p in self._store.pending(PIECE) if p.subject not in asked]
            if not due:
                return
            ages = {p.subject: p.age for p in due}
            look, done = self._looker.some(list(ages))
            ages = dict(itertools.islice(ages.items(), done))
            asked.update(ages)
            early = _unseen(self._store, [a for a in look.absent if ages[a[0]] < FRESH.total_seconds()])
            gone = self._looker.gone([a for a in look.absent if a not in early], "event")
            settled = {f.message.id for f in look.fetched} | {g.message_id for g in gone}
            yield Batch(
                stream="pending",
                fetched=look.fetched,
                gone=gone,
                problems=(*look.problems, *map(_pending, early)),
                solved=tuple((p.kind, p.subject) for p in due if p.subject in settled),
            )
