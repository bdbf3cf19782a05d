"""The two ends of the engine in memory: an upstream mailbox that misbehaves on demand, and a store without SQL.

The real ends are proven in `tests/integration` and `tests/acceptance`; here the engine alone is on trial, fast enough
for thousands of random histories.
"""

import itertools
import random
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

from worker.errors import LeaseLostError, NotFoundError, PageTokenLostError, UnreadableError, UnsupportedError
from worker.records import (
    ActivityPage,
    Batch,
    Cursor,
    Event,
    Folder,
    FoundBy,
    Message,
    MessagePage,
    Outcome,
    PageToken,
    Pending,
    Position,
    Problem,
    Profile,
    Rejected,
    Span,
    Window,
)
from worker.sync import ledger
from worker.sync.limits import END

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


class StillClock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Mailbox:
    """An upstream: messages by id, a log of changes, and faults."""

    def __init__(self, messages: dict[str, datetime], *, page: int = 10, shuffled: int | None = None) -> None:
        self.messages = dict(messages)
        self.log: list[Event] = []
        self.page = page
        self.shuffled = shuffled
        self.poison: set[str] = set()
        self.rejects: set[str] = set()
        self.addressable = True
        self.token_life: int | None = None
        self.off = (timedelta(0), timedelta(0))
        """How far it takes the two bounds of a listing otherwise than it should."""
        self.now = NOW
        self.active = True
        self.folders: dict[str, str] = {}
        """Folder of a message, by the message's id."""
        self.body: str | None = None
        self.events = 5
        """Events on a page."""
        self.hidden: set[str] = set()
        self.before_answer: Callable[[str], None] = lambda _: None
        self.listed = 0
        self.gets: list[str] = []
        self.requests = 0

    def deliver(self, id_: str, created: datetime) -> None:
        self.messages[id_] = created
        self.log.append(Event(id_, "add", NOW - timedelta(hours=1)))

    def remove(self, id_: str) -> None:
        self.messages.pop(id_, None)
        self.log.append(Event(id_, "delete", NOW))

    def profile(self) -> Profile:
        self.requests += 1
        return Profile("1", "gmail", None, self.now)

    def start_activity(self) -> None:
        self.requests += 1
        if not self.active:
            raise UnsupportedError("no activity")

    def activity(self, cursor: Cursor | None) -> ActivityPage:
        self.requests += 1
        self.before_answer("activity")
        start = int(cursor or 0)
        events = self.log[start : start + self.events]
        return ActivityPage(tuple(events), (), len(events), Cursor(str(start + len(events))), self.now)

    def window(self, after: datetime, before: datetime, page: PageToken | None, size: int) -> MessagePage:
        self.requests += 1
        self.listed += 1
        self.before_answer("window")
        size = min(size, self.page)
        offset = int(page or 0)
        if self.token_life is not None and offset >= self.token_life * size:
            raise PageTokenLostError("expired")
        after = after if after.year == 1 else after + self.off[0]
        before = before if before.year == END.year else before + self.off[1]
        found = [(c, i) for i, c in self.messages.items() if after <= c < before and i not in self.hidden]
        found.sort(key=lambda pair: (-pair[0].timestamp(), pair[1]))
        if self.shuffled is not None:
            random.Random(f"{self.shuffled}{after}{before}").shuffle(found)
        part = found[offset : offset + size]
        if any(id_ in self.poison for _, id_ in part):
            raise UnreadableError("malformed", excerpt=b"{")
        good = tuple(self._message(id_) for _, id_ in part if id_ not in self.rejects)
        bad = tuple(Rejected(id_, "wrong type", b"{}", self.addressable) for _, id_ in part if id_ in self.rejects)
        more = PageToken(str(offset + size)) if offset + size < len(found) else None
        return MessagePage(good, bad, more, self.now)

    def message(self, message_id: str) -> Message:
        self.requests += 1
        self.gets.append(message_id)
        if message_id not in self.messages:
            raise NotFoundError("no such message")
        return self._message(message_id)

    def folder(self, folder_id: str) -> Folder:
        self.requests += 1
        return Folder(folder_id, f"Name of {folder_id}")

    def close(self) -> None:
        """Nothing is open."""

    def _message(self, id_: str) -> Message:
        return Message(id=id_, created=self.messages[id_], folder_id=self.folders.get(id_), body=self.body)


class MemoryStore:
    """A mirror in memory that applies batches as the real one does; it can lose its lease on demand."""

    account_id = 1

    def __init__(self) -> None:
        self.live: dict[str, Message] = {}
        self.dead: dict[str, FoundBy] = {}
        self.problems: dict[tuple[str, str], Problem] = {}
        self.ledger: tuple[Window, ...] = ()
        self.folders: dict[str, str | None] = {}
        self.cursor: Position | None = None
        self.commits = 0
        self.overtaken_at: int | None = None

    def commit(self, batch: Batch) -> Outcome:
        self.commits += 1
        if self.overtaken_at is not None and self.commits >= self.overtaken_at:
            raise LeaseLostError("overtaken")
        held = tuple(m.id for m in batch.listed if m.id in self.dead)
        seen = [m for m in batch.listed if m.id not in self.dead] + [f.message for f in batch.fetched]
        added = sum(1 for m in seen if m.id not in self.live)
        for message in seen:
            self.live[message.id] = message
            self.dead.pop(message.id, None)
            for kind in ("pending", "message", "held_delete"):
                self.problems.pop((kind, message.id), None)
        folders = {m.folder_id: None for m in seen if m.folder_id and m.folder_id not in self.folders}
        self.folders.update(folders)
        self.folders.update((folder.id, folder.name) for folder in batch.folders)
        disturbed = self._bury(batch)
        self.problems.update({(p.kind, p.subject): p for p in batch.problems})
        self.problems.update({("pending", i): Problem(kind="pending", subject=i, cause="list") for i in held})
        for solved in batch.solved:
            self.problems.pop(solved, None)
        for walked in batch.walked:
            right = [
                k for k, p in self.problems.items() if _within(p.window, walked.span) and k[1] not in walked.unreadable
            ]
            for key in right:
                del self.problems[key]
        if batch.cursor is not None:
            self.cursor = Position(batch.cursor.cursor, batch.cursor.supported, 0.0)
        self.ledger = ledger.applied(self.ledger, batch.ledger, NOW)
        assert all(newer.after == older.before for newer, older in itertools.pairwise(self.ledger)), (
            "no gap, no overlap"
        )
        return Outcome(
            added=added, tombstoned=len(batch.gone), held=held, disturbed=disturbed, new_folders=len(folders)
        )

    def _bury(self, batch: Batch) -> tuple[datetime, ...]:
        walking = [w for w in self.ledger if (w.state == "open" and w.pages) or w.after in batch.walking]
        for gone in batch.gone:
            self.live.pop(gone.message_id, None)
            self.dead[gone.message_id] = gone.found_by or "event"
        return tuple(w.after for w in walking) if batch.gone else ()

    def renew(self) -> None:
        """The lease lasts."""

    def position(self) -> Position | None:
        return self.cursor

    def windows(self) -> tuple[Window, ...]:
        return self.ledger

    def walk_due(self) -> bool:
        return any(w.state == "open" or (w.next_walk_at and w.next_walk_at <= NOW) for w in self.ledger)

    def now(self) -> datetime:
        return NOW

    def pending(self, limit: int) -> tuple[Pending, ...]:
        due = [
            k
            for k, p in self.problems.items()
            if k[0] in {"pending", "message"} and p.retry_in is None and not p.window
        ]
        return tuple(Pending(kind, subject, 1, 3600.0) for kind, subject in due[:limit])  # type: ignore[arg-type]

    def live_ids(self, after: datetime, before: datetime) -> set[str]:
        return {i for i, m in dict(self.live).items() if m.created is not None and after <= m.created < before}

    def any_live(self, after: datetime, before: datetime) -> bool:
        return bool(self.live_ids(after, before))

    def live_among(self, ids: Collection[str]) -> set[str]:
        return self.live.keys() & set(ids)

    def cuts(self, after: datetime, before: datetime, size: int) -> tuple[datetime, ...]:
        times = sorted(
            (m.created for m in dict(self.live).values() if m.created and after < m.created < before), reverse=True
        )
        return tuple(dict.fromkeys(times[size::size]))

    def unnamed_folders(self) -> tuple[str, ...]:
        return tuple(id_ for id_, name in self.folders.items() if name is None)

    def deletions(self, found_by: FoundBy) -> int:
        return list(self.dead.values()).count(found_by)

    def live_count(self, at_most: int) -> int:
        return min(len(self.live), at_most)


def _within(span: Span | None, walked: Span) -> bool:
    """Whether two spans overlap."""
    if span is None:
        return False
    return (walked.before is None or span.after < walked.before) and (span.before is None or walked.after < span.before)
