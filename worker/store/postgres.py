"""One account's store under a lease: `commit` writes rows, tombstones, failures and position in one transaction.

The fence is the first statement of every transaction: an UPDATE of the account's row that names our epoch. It is also
the lock. What is read and cached between commits is safe because nobody else writes the account while it holds.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

import psycopg
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from worker.errors import LeaseLostError, StoreUnavailableError
from worker.records import (
    Batch,
    Cursor,
    CursorMove,
    FoundBy,
    LedgerChange,
    Outcome,
    Pending,
    Position,
    Problem,
    Window,
)
from worker.store import sql
from worker.store.engine import driver, translated
from worker.store.rows import Projection
from worker.store.shared import Shared
from worker.store.upsert import Written, applied_ids, write

Values = Sequence[Any] | Mapping[str, Any]

LEASE_SECONDS = 90.0
RENEW_BELOW = 60.0
"""Seconds of lease left under which it is renewed before a request."""

RETRIED = frozenset({"40001", "40P01"})
ATTEMPTS = 5
BYTES_KEPT = 65_536

HELD_CAUSE = "Shown by a list after it was deleted; asked for again."

_WINDOW = tuple(Window.__struct_fields__)
PUT_WINDOW = sql.PUT_WINDOW.format(
    columns=", ".join(("account_id", *_WINDOW)),
    values=", ".join(f"%({name})s" for name in ("account_id", *_WINDOW)),
    assignments=", ".join(
        f"{name} = excluded.{name}" for name in _WINDOW if name not in {"after", "disturbed", "next_walk_at"}
    ),
)
WINDOWS = f"select {', '.join(_WINDOW)} from sync.windows where account_id = %b order by after desc"  # noqa: S608  # our own columns' names


class Opening(Struct, frozen=True):
    """What a run reads first, and so comes with its lease."""

    position: Position | None
    has_problems: bool
    """Whether any problem of the account is open."""
    read_at: datetime
    """The store's time."""


class PostgresStore:
    """The `LeasedStore` of one account; open it with a lease's epoch, close it at the end of the run."""

    def __init__(
        self,
        engine: Engine,
        account_id: int,
        epoch: int,
        projection: Projection,
        opening: Opening | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.account_id = account_id
        self._engine = engine
        self._epoch = epoch
        self._projection = projection
        self._monotonic = monotonic
        self._renewed = monotonic()
        self._time = (opening.read_at if opening else now(engine), self._renewed)
        """The store's time, and when it was read: between two fences it passes as it does here."""
        self._renewing = threading.Lock()
        self._shared = Shared(account_id)
        self._opening = opening
        """What is known of the position until the first commit."""
        self._has_problems = opening.has_problems if opening else bool(self._value(sql.OPEN_PROBLEMS, (account_id,)))
        self._connected: Connection | None = None
        self.wrote = False
        """Whether anything was committed."""
        self.polled = False
        """Whether a poll was read to its end that no commit has noted; it is noted with the release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the writing connection back."""
        if self._connected is not None:
            with translated():
                self._connected.close()

    def commit(self, batch: Batch) -> Outcome:
        """Write the batch in one transaction behind the fence, and renew the lease; see `ports.LeasedStore`.

        A batch that changes nothing is not written: idle is free.
        """
        if batch.is_bare and not self._has_problems:
            self.polled = self.polled or batch.polled
            return Outcome()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with translated(), self._writer().begin():
                    cursor = driver(self._writer()).cursor()
                    self._fence(cursor, polled=batch.polled or self.polled)
                    outcome = self._write(cursor, batch)
            except StoreUnavailableError as error:
                self._forget()
                if error.sqlstate not in RETRIED or attempt == ATTEMPTS:
                    raise
            except BaseException:
                self._forget()
                raise
            else:
                self._renewed = self._monotonic()
                self.wrote, self.polled, self._opening = True, False, None
                return outcome
        raise AssertionError  # the last attempt returned or raised

    def renew(self) -> None:
        """Renew the lease when little of it remains; see `ports.LeasedStore`."""
        with self._renewing:
            left = LEASE_SECONDS - (self._monotonic() - self._renewed)
            if left >= RENEW_BELOW:
                return
            with translated(), self._engine.begin() as connection:
                self._fence(driver(connection).cursor(), polled=False)
            self._renewed = self._monotonic()

    def position(self) -> Position | None:
        """See `ports.LeasedStore`."""
        if self._opening is not None:
            known, self._opening = self._opening, None
            return known.position
        rows = self._rows(sql.POSITION, (self.account_id,))
        return position_of(*rows[0]) if rows else None

    def windows(self) -> tuple[Window, ...]:
        """See `ports.LeasedStore`."""
        return windows_of(self._engine, self.account_id)

    def walk_due(self) -> bool:
        """See `ports.LeasedStore`."""
        return bool(self._value(sql.WALK_DUE, {"account_id": self.account_id}))

    def now(self) -> datetime:
        """See `ports.LeasedStore`."""
        read, at = self._time
        return read + timedelta(seconds=self._monotonic() - at)

    def pending(self, limit: int) -> tuple[Pending, ...]:
        """See `ports.LeasedStore`."""
        if not self._has_problems:
            return ()
        return tuple(Pending(*row) for row in self._rows(sql.PENDING, (self.account_id, limit)))

    def live_ids(self, after: datetime, before: datetime) -> set[str]:
        """See `ports.LeasedStore`."""
        return live_ids(self._engine, self.account_id, after, before)

    def any_live(self, after: datetime, before: datetime) -> bool:
        """See `ports.LeasedStore`."""
        values = {"account_id": self.account_id, "after": after, "before": before, "oldest": after.year == 1}
        return bool(self._value(sql.ANY_LIVE, values))

    def live_among(self, ids: Collection[str]) -> set[str]:
        """See `ports.LeasedStore`."""
        return {row[0] for row in self._rows(sql.LIVE_AMONG, (self.account_id, list(ids)))} if ids else set()

    def cuts(self, after: datetime, before: datetime, size: int) -> tuple[datetime, ...]:
        """See `ports.LeasedStore`."""
        values = {"account_id": self.account_id, "after": after, "before": before, "size": size}
        found = {row[0] for row in self._rows(sql.CUTS, values)}
        return tuple(sorted((cut for cut in found if after < cut < before), reverse=True))

    def unnamed_folders(self) -> tuple[str, ...]:
        """See `ports.LeasedStore`."""
        return tuple(row[0] for row in self._rows(sql.UNNAMED_FOLDERS, (self.account_id,)))

    def deletions(self, found_by: FoundBy) -> int:
        """See `ports.LeasedStore`."""
        return int(self._value(sql.DELETIONS, {"account_id": self.account_id, "found_by": found_by}))

    def live_count(self, at_most: int) -> int:
        """See `ports.LeasedStore`."""
        return int(self._value(sql.LIVE_COUNT, (self.account_id, at_most)))

    def _writer(self) -> Connection:
        """The connection that commits, from the first commit on."""
        if self._connected is None:
            self._connected = self._engine.connect()
        return self._connected

    def _fence(self, cursor: psycopg.Cursor[Any], *, polled: bool) -> None:
        values = {"account_id": self.account_id, "epoch": self._epoch, "seconds": LEASE_SECONDS, "polled": polled}
        cursor.execute(sql.FENCE, values)
        fenced = cursor.fetchone()
        if fenced is None:
            message = (
                f"The lease of account {self.account_id} was overtaken by another worker, which goes on from here."
            )
            raise LeaseLostError(message)
        self._time = (fenced[0], self._monotonic())

    def _write(self, cursor: psycopg.Cursor[Any], batch: Batch) -> Outcome:
        fetched = [f.message for f in batch.fetched]
        written = write(
            cursor, self.account_id, batch.listed, fetched, self._projection, self._shared, rewrite=batch.rewrite
        )
        if batch.folders or batch.gone_folders:
            self._shared.write_folders(cursor, batch.folders, batch.gone_folders)
        tombstoned, disturbed = self._bury(cursor, batch)
        self._problems(cursor, batch, written)
        if batch.cursor is not None:
            self._move(cursor, batch.cursor)
        self._ledger(cursor, batch.ledger)
        return Outcome(
            added=len(written.added),
            updated=len(written.content) + len(written.light),
            unchanged=len(written.equal),
            revived=len(written.revived),
            tombstoned=tombstoned,
            held=tuple(written.held),
            new_folders=written.new_folders,
            disturbed=disturbed,
        )

    def _bury(self, cursor: psycopg.Cursor[Any], batch: Batch) -> tuple[int, tuple[datetime, ...]]:
        """Write tombstones, and mark the walks they fall into."""
        if not batch.gone:
            return 0, ()
        ids, found_by = [g.message_id for g in batch.gone], [g.found_by for g in batch.gone]
        cursor.execute(sql.TOMBSTONE, (ids, found_by, self.account_id))
        created = [row[0] for row in cursor.fetchall()]
        cursor.execute(sql.TOMBSTONE_UNSEEN, (self.account_id, ids, found_by))
        unseen = cursor.rowcount
        values = {
            "account_id": self.account_id,
            "walking": list(batch.walking),
            "created": created,
            "unseen": unseen > 0,
        }
        cursor.execute(sql.DISTURB, values)
        return len(created) + unseen, tuple(row[0] for row in cursor.fetchall())

    def _problems(self, cursor: psycopg.Cursor[Any], batch: Batch, written: Written) -> None:
        """Close what this batch has put right, then record what it could not do."""
        if self._has_problems:
            settled = [*applied_ids(written), *(g.message_id for g in batch.gone)]
            if settled:
                cursor.execute(sql.CLOSE_BY_MESSAGE, (self.account_id, settled))
            if batch.solved:
                kinds, subjects = zip(*batch.solved, strict=True)
                cursor.execute(sql.CLOSE_SOLVED, (list(kinds), list(subjects), self.account_id))
            if batch.polled:
                cursor.execute(sql.CLOSE_EVENTS, (self.account_id,))
            for walked in batch.walked:
                values = {
                    "account_id": self.account_id,
                    "after": walked.span.after,
                    "before": walked.span.before,
                    "unreadable": list(walked.unreadable),
                }
                cursor.execute(sql.CLOSE_BY_WALK, values)
        held = (Problem(kind="pending", subject=id_, cause=HELD_CAUSE, retry_in=0.0) for id_ in written.held)
        record(cursor, self.account_id, (*batch.problems, *held))
        self._has_problems = self._has_problems or bool(batch.problems) or bool(written.held)

    def _move(self, cursor: psycopg.Cursor[Any], move: CursorMove) -> None:
        cursor.execute(sql.MOVE_CURSOR, (self.account_id, move.cursor, move.supported))

    def _ledger(self, cursor: psycopg.Cursor[Any], change: LedgerChange) -> None:
        if change.drop:
            cursor.execute(sql.DROP_WINDOWS, {"account_id": self.account_id, "after": list(change.drop)})
        for window in change.put:
            values = {name: getattr(window, name) for name in _WINDOW}
            cursor.execute(PUT_WINDOW, {"account_id": self.account_id, **values})
        if change.walk_all:
            cursor.execute(sql.WALK_ALL, (self.account_id,))

    def _forget(self) -> None:
        self._shared.forget()

    def _rows(self, statement: str, values: Values) -> list[tuple[Any, ...]]:
        return rows(self._engine, statement, values)

    def _value(self, statement: str, values: Values) -> Any:
        return self._rows(statement, values)[0][0]


def rows(engine: Engine, statement: str, values: Values) -> list[tuple[Any, ...]]:
    """Run one of our statements by itself and read its rows; binary parameters are allowed."""
    with translated(), engine.connect() as connection:
        cursor = driver(connection).cursor()
        cursor.execute(statement, values)
        found = cursor.fetchall()
        connection.rollback()
        return found


def position_of(cursor: str | None, supported: bool, age: float) -> Position:  # noqa: FBT001  # columns of a row
    """Read the columns of a stored position."""
    return Position(Cursor(cursor) if cursor is not None else None, supported, age)


def now(engine: Engine) -> datetime:
    """The store's time, aware UTC."""
    moment = rows(engine, "select sync.now()", ())[0][0]
    assert isinstance(moment, datetime)  # noqa: S101  # the function's type says so
    return moment


def windows_of(engine: Engine, account_id: int) -> tuple[Window, ...]:
    """The ledger of an account, newest window first."""
    found = [dict(zip(_WINDOW, row, strict=True)) for row in rows(engine, WINDOWS, (account_id,))]
    return tuple(Window(**row) for row in found)


def live_ids(engine: Engine, account_id: int, after: datetime, before: datetime) -> set[str]:
    """Ids of live mirrored messages in the window; those without a valid `created` belong to year 1."""
    values = {"account_id": account_id, "after": after, "before": before, "oldest": after.year == 1}
    return {row[0] for row in rows(engine, sql.LIVE_IDS, values)}


def record(cursor: psycopg.Cursor[Any], account_id: int, problems: Sequence[Problem]) -> None:
    """Write problems; of one kind and subject the last counts."""
    last = {(p.kind, p.subject): p for p in problems}
    if not last:
        return
    kept = [last[k] for k in sorted(last)]
    cursor.execute(
        sql.RECORD_PROBLEMS,
        (
            account_id,
            [p.kind for p in kept],
            [p.subject for p in kept],
            [p.cause for p in kept],
            [p.raw[:BYTES_KEPT] if p.raw is not None else None for p in kept],
            [p.retry_in for p in kept],
            [p.window.after if p.window else None for p in kept],
            [p.window.before if p.window else None for p in kept],
        ),
    )
