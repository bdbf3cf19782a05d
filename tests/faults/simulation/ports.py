"""The ports with the baton: each call waits for it, and each answer travels until it comes again."""

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from typing import Self, TypeVar

from tests.faults.simulation.baton import Baton
from tests.faults.simulation.invariants import Invariants
from worker.errors import MailmirrorError
from worker.ports import Source
from worker.records import (
    ActivityPage,
    Batch,
    Cursor,
    Folder,
    FoundBy,
    Message,
    MessagePage,
    Outcome,
    PageToken,
    Pending,
    Position,
    Profile,
    Window,
)
from worker.store.postgres import PostgresStore

T = TypeVar("T")


class PassingSource:
    """`ports.Source`: the real one, asked when the baton comes; the answer travels until it comes again."""

    def __init__(self, baton: Baton, inner: Source, has_open_transaction: Callable[[], bool]) -> None:
        self._baton = baton
        self._inner = inner
        self._has_open_transaction = has_open_transaction

    @property
    def requests(self) -> int:
        """See `ports.Source`."""
        return self._inner.requests

    def profile(self) -> Profile:
        """See `ports.Source`."""
        return self._ask("profile", self._inner.profile)

    def start_activity(self) -> None:
        """See `ports.Source`."""
        self._ask("start activity", self._inner.start_activity)

    def activity(self, cursor: Cursor | None) -> ActivityPage:
        """See `ports.Source`."""
        return self._ask(f"activity after {cursor}", lambda: self._inner.activity(cursor))

    def window(self, after: datetime, before: datetime, page: PageToken | None, size: int) -> MessagePage:
        """See `ports.Source`."""
        place = f"list {after:%Y-%m-%d %H:%M:%S} to {before:%Y-%m-%d %H:%M:%S}{' further' if page else ''}"
        return self._ask(place, lambda: self._inner.window(after, before, page, size))

    def message(self, message_id: str) -> Message:
        """See `ports.Source`."""
        return self._ask(f"get {message_id}", lambda: self._inner.message(message_id))

    def folder(self, folder_id: str) -> Folder:
        """See `ports.Source`."""
        return self._ask(f"folder {folder_id}", lambda: self._inner.folder(folder_id))

    def close(self) -> None:
        """See `ports.Source`."""
        self._inner.close()

    def _ask(self, what: str, ask: Callable[[], T]) -> T:
        baton = self._baton
        baton.hand_over(what)
        if self._has_open_transaction():
            baton.violated(f"I13: a transaction is open while the upstream is asked: {what}")
        try:
            answer = ask()
        except MailmirrorError as error:
            baton.note(f"{what}: {type(error).__name__}")
            baton.time += 0.03
            baton.hand_over(f"error of {what}")
            raise
        baton.note(f"{what}: {_digest(answer)}")
        baton.time += 0.05
        baton.hand_over(f"answer to {what}")
        return answer


class PassingStore:
    """`ports.LeasedStore`: the real one; what a commit leaves is compared with the truth before anybody else acts."""

    def __init__(self, baton: Baton, invariants: Invariants, epoch: int, inner: PostgresStore) -> None:
        self._baton = baton
        self._invariants = invariants
        self._epoch = epoch
        self._inner = inner
        self.account_id = inner.account_id

    def __enter__(self) -> Self:
        return self

    @property
    def wrote(self) -> bool:
        """See `PostgresStore`."""
        return self._inner.wrote

    @property
    def polled(self) -> bool:
        """See `PostgresStore`."""
        return self._inner.polled

    def __exit__(self, *_: object) -> None:
        with suppress(*([MailmirrorError] if self._baton.actor.life.dead else [])):
            self._inner.close()

    def commit(self, batch: Batch) -> Outcome:
        """See `ports.LeasedStore`."""
        self._baton.hand_over("commit")
        try:
            outcome = self._inner.commit(batch)
        except MailmirrorError as error:
            self._baton.note(f"commit of {batch.stream}: {type(error).__name__}")
            self._invariants.committed(self._epoch, batch, failed=True)
            raise
        self._baton.note(f"commit of {batch.stream}: {_words(batch, outcome)}")
        self._invariants.committed(self._epoch, batch)
        self._baton.hand_over("answer to commit")
        return outcome

    def renew(self) -> None:
        """See `ports.LeasedStore`."""
        self._baton.hand_over("renew")
        self._inner.renew()

    def position(self) -> Position | None:
        """See `ports.LeasedStore`."""
        return self._read("position", self._inner.position)

    def windows(self) -> tuple[Window, ...]:
        """See `ports.LeasedStore`."""
        return self._read("windows", self._inner.windows)

    def walk_due(self) -> bool:
        """See `ports.LeasedStore`."""
        return self._read("walk due", self._inner.walk_due)

    def now(self) -> datetime:
        """See `ports.LeasedStore`."""
        return self._read("now", self._inner.now)

    def pending(self, limit: int) -> tuple[Pending, ...]:
        """See `ports.LeasedStore`."""
        return self._read("pending", lambda: self._inner.pending(limit))

    def live_ids(self, after: datetime, before: datetime) -> set[str]:
        """See `ports.LeasedStore`."""
        return self._read("live ids", lambda: self._inner.live_ids(after, before))

    def any_live(self, after: datetime, before: datetime) -> bool:
        """See `ports.LeasedStore`."""
        return self._read("any live", lambda: self._inner.any_live(after, before))

    def live_among(self, ids: Collection[str]) -> set[str]:
        """See `ports.LeasedStore`."""
        return self._read("live among", lambda: self._inner.live_among(ids))

    def cuts(self, after: datetime, before: datetime, size: int) -> tuple[datetime, ...]:
        """See `ports.LeasedStore`."""
        return self._read("cuts", lambda: self._inner.cuts(after, before, size))

    def unnamed_folders(self) -> tuple[str, ...]:
        """See `ports.LeasedStore`."""
        return self._read("unnamed folders", self._inner.unnamed_folders)

    def deletions(self, found_by: FoundBy) -> int:
        """See `ports.LeasedStore`."""
        return self._read("deletions", lambda: self._inner.deletions(found_by))

    def live_count(self, at_most: int) -> int:
        """See `ports.LeasedStore`."""
        return self._read("live count", lambda: self._inner.live_count(at_most))

    def _read(self, what: str, read: Callable[[], T]) -> T:
        self._baton.hand_over(what)
        return read()


def _digest(answer: object) -> str:
    if isinstance(answer, MessagePage):
        more = "more to come" if answer.next_page else "the end"
        return f"{' '.join(m.id[-6:] for m in answer.messages)} ({len(answer.rejected)} rejected, {more})"
    if isinstance(answer, ActivityPage):
        return f"{' '.join(f'{e.kind} {e.message_id[-6:]}' for e in answer.events)} -> {answer.cursor}"
    return "" if answer is None else type(answer).__name__


def _words(batch: Batch, outcome: Outcome) -> str:
    said = [f"{name} {count}" for name, count in _counts(outcome) if count]
    said += [f"gone {g.message_id[-6:]}" for g in batch.gone]
    said += [f"{p.kind} {p.subject[-20:]}" for p in batch.problems]
    said += [f"cursor {batch.cursor.cursor}"] if batch.cursor else []
    said += ["polled"] if batch.polled else []
    said += ["walk all"] if batch.ledger.walk_all else []
    said += [f"window {w.after:%m-%d %H:%M:%S} {w.state}" for w in batch.ledger.put]
    return ", ".join(said)


def _counts(outcome: Outcome) -> list[tuple[str, int]]:
    return [(name, getattr(outcome, name)) for name in ("added", "updated", "unchanged", "tombstoned", "revived")] + [
        ("held", len(outcome.held))
    ]
