"""The change feed: reading it page by page, moving a consumer, and what a restore makes necessary.

The feed itself is SQL (`mail.changes` and its sisters, revision 0005), so that every client reads the same; here are
the calls. See docs/feed.md and docs/decisions/0013-row-state-feed.md.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Engine

from models import Account, Erasure, Folder, Label, Message, Person
from models.base import Base
from models.feed import Feed
from worker.errors import UsageError
from worker.store.engine import NOW, XACT, driver, retry_transaction, translated

__all__ = [
    "MOST",
    "Change",
    "FeedError",
    "Horizon",
    "Standing",
    "acknowledge",
    "changes",
    "horizon",
    "new_epoch",
    "note_erased",
    "position",
    "restart",
    "standings",
]

MOST = 10_000
"""Rows of a page at most: a page is made in one piece on the server."""

RENEW_STEP = 1000
"""Rows per transaction when rows of another server are given places here. All of a step stand in one place, and a
page that begins in the middle of a place reads that place from its beginning."""

CHANGED: dict[type[Base], str] = {
    Account: "changed_in",
    Folder: "changed_in",
    Label: "changed_in",
    Person: "changed_in",
    Message: "changed_in",
    Erasure: "erased_in",
}
"""What the feed consists of, and the column that says where each row stands in it."""

Progress = Callable[[int], None]


class FeedError(UsageError):
    """The feed refuses what was asked of it; the sentence says what to do. `code` is one of mailmirror's SQLSTATEs."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class Change(Struct, frozen=True):
    """One row of the feed: what it is, where it stands, and how it looks now."""

    position: str
    kind: str
    """account, folder, label, person, message or erasure."""
    account_id: int
    key: str
    deleted: bool
    state: str
    """JSON."""
    changed_in: int


class Standing(Struct, frozen=True):
    """How far one consumer has read: a row of `mail.feed_status`."""

    consumer: str
    login: str
    current: bool
    acknowledged_at: datetime | None
    waiting: int
    """Counted up to 10,000."""
    waiting_since: datetime | None


class Horizon(Struct, frozen=True):
    """How far the feed reaches: the row of `mail.feed_horizon`."""

    epoch: str
    horizon: int
    next: int
    held_by_pid: int | None
    held_by: str | None
    held_since: datetime | None
    held_seconds: float | None
    waiting_seconds: float | None
    """Age of the oldest message that cannot be given out yet."""


CHANGES = """
select position, kind, account_id, key, deleted, state::text, changed_in::text::bigint
from mail.changes(%s, %s, %s)
"""

STANDINGS = """
select consumer, login, current, acknowledged_at, waiting, waiting_since from mail.feed_status order by consumer
"""

HORIZON = """
select epoch, horizon::text::bigint, next::text::bigint, held_by_pid, held_by, held_since,
       extract(epoch from held_for)::float8, extract(epoch from sync.now() - waiting_since)::float8
from mail.feed_horizon
"""


def changes(engine: Engine, consumer: str, at_most: int = 1000, after: str | None = None) -> list[Change]:
    """Read the next page of a consumer: behind what it has acknowledged, or behind the position `after`.

    Fewer than `at_most` where rows are large; none means that there is nothing new. Raises FeedError.
    """
    return [Change(*row) for row in _rows(engine, CHANGES, (consumer, min(at_most, MOST), after))]


def acknowledge(engine: Engine, consumer: str, position: str) -> bool:
    """Move a consumer forward to a position it was given; False where it stands there or further. Raises FeedError."""
    return bool(_rows(engine, "select mail.acknowledge(%s, %s)", (consumer, position))[0][0])


def restart(engine: Engine, consumer: str) -> None:
    """Let a consumer begin again, with every row there is. Raises FeedError."""
    _rows(engine, "select mail.restart(%s)", (consumer,))


def position(connection: Connection) -> str:
    """The position behind all that the transaction's snapshot holds: for an export, in a repeatable-read one."""
    with _refused():
        found: str = connection.exec_driver_sql("select mail.feed_position()").scalar_one()
        return found


def standings(engine: Engine) -> list[Standing]:
    """Read how far each consumer is, by name."""
    return [Standing(*row) for row in _rows(engine, STANDINGS)]


def horizon(engine: Engine) -> Horizon:
    """Read how far the feed reaches and what holds it back."""
    return Horizon(*_rows(engine, HORIZON)[0])


def new_epoch(engine: Engine, progress: Progress = lambda _: None) -> int:
    """Make a restored database ready for the feed: refuse all positions from before; returns how many rows moved.

    Rows that came from another server, and bear transactions this one has yet to come to, get places of here, some at a
    time. Workers may go on meanwhile; cut short, it is done by calling it again.
    """
    renewed = 0
    while _rows(engine, "select mail.feed_foreign()")[0][0]:
        for table, column in CHANGED.items():
            while moved := retry_transaction(engine, _renewal(table, column)):
                renewed += moved
                progress(renewed)
    raise_it = sa.update(Feed).values(epoch=Feed.epoch + 1, raised_at=NOW)
    retry_transaction(engine, lambda connection: connection.execute(raise_it))
    return renewed


def note_erased(connection: Connection, account_id: int, kind: str, keys: Sequence[str]) -> None:
    """Tell consumers that these rows are erased for good; in the transaction that deletes them.

    `kind` is account (its number is the key), message or person. The account's own row must still be there.
    """
    place: dict[str, Any] = {"erased_in": XACT, "erased_at": NOW}
    key = sa.func.unnest(sa.cast(list(keys), sa.ARRAY(sa.Text))).column_valued("key")
    tenant = sa.select(Account.tenant_id).where(Account.id == account_id).scalar_subquery()
    kinds = (sa.literal(account_id, sa.BigInteger), sa.literal(kind), key, sa.func.coalesce(tenant, ""))
    statement = insert(Erasure).from_select(["account_id", "kind", "key", "tenant_id"], sa.select(*kinds))
    unique = [Erasure.account_id, Erasure.kind, Erasure.key]
    connection.execute(statement.on_conflict_do_update(index_elements=unique, set_=place))


def _renewal(table: type[Base], column: str) -> Callable[[Connection], int]:
    """Give some rows of another server the place of this transaction."""
    ctid: sa.ColumnElement[Any] = sa.literal_column("ctid")
    bound: sa.ColumnElement[Any] = sa.literal_column("pg_snapshot_xmax(pg_current_snapshot())")
    some = sa.select(ctid).select_from(table).where(table.__table__.c[column] >= bound).limit(RENEW_STEP)
    statement = (
        sa.update(table).where(ctid == sa.func.any(sa.func.array(some.scalar_subquery()))).values({column: XACT})
    )
    return lambda connection: connection.execute(statement).rowcount


def _rows(engine: Engine, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    with _refused(), engine.begin() as connection:
        cursor = driver(connection).cursor()
        cursor.execute(statement.encode(), values)
        return cursor.fetchall()


@contextmanager
def _refused() -> Iterator[None]:
    """Let the feed's own sentences through; they hold no contents of rows."""
    with translated():
        try:
            yield
        except (psycopg.Error, sa.exc.DBAPIError) as error:
            found = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            if not isinstance(found, psycopg.Error) or not (found.sqlstate or "").startswith("MM"):
                raise
            raise FeedError(found.diag.message_primary or "", code=found.sqlstate or "") from None
