"""Mail as one moment shows it: what `mailmirror export` reads, in pieces that fit into memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any, Literal, NamedTuple

import psycopg
import sqlalchemy as sa
from msgspec import Struct

from worker.store import feed
from worker.store.engine import Engine, driver, translated

Kind = Literal["text", "integer", "boolean", "time", "texts", "json", "transaction"]
"""`texts` is a list of text; `json` comes as text; `transaction` is an xid8 as a number."""

Row = tuple[Any, ...]

ROWS = 1000
"""Rows fetched at once, and the most messages of a piece."""
BYTES = 8 * 1024 * 1024
"""Mail of a piece, as far as it is known before it is read; one message alone may be more."""
HEADS = 2000
"""Counted for each message beside its bodies."""

CANCEL_SECONDS = 5.0
"""To reach the server with the wish to cancel."""

UNKNOWN = "unknown"
"""The month of a message without a valid time."""


class Column(Struct, frozen=True):
    """A column as it is exported."""

    name: str
    kind: Kind
    required: bool
    """Whether it is never null."""


class Table(Struct, frozen=True):
    """A table as it is exported: from which relation, and in which order."""

    name: str
    source: str
    order: str
    columns: tuple[Column, ...]

    def select(self, condition: str) -> bytes:
        """The query for its rows."""
        names = ", ".join(READ_AS.get(c.kind, "{}").format(c.name) for c in self.columns)
        return f"select {names} from {self.source} where {condition} order by {self.order}".encode()  # noqa: S608  # our own names


READ_AS: dict[str, str] = {"json": "{}::text", "transaction": "{}::text::bigint"}


def _columns(written: str) -> tuple[Column, ...]:
    """Read `name kind` pairs; a kind with `!` is never null."""
    pairs = (pair.split() for pair in written.split(","))
    return tuple(Column(name, kind.rstrip("!"), kind.endswith("!")) for name, kind in pairs)  # type: ignore[arg-type]  # words of Kind


ACCOUNTS = Table(
    "accounts",
    "mail.accounts",
    "id",
    _columns("id integer!, tenant_id text!, kind text!, service text, upstream_id text!, address text, status text!,"
             "status_reason text, polled_at time, created_at time!, changed_in transaction!"),
)  # fmt: skip

MESSAGES = Table(
    "messages",
    "mail.messages",
    "created, message_id",
    _columns("account_id integer!, message_id text!, thread_id text, folder_id text, subject text, snippet text,"
             "created time, created_raw text, text_body text, body text, body_size integer, body_truncated boolean!,"
             "rfc822_file_id text, has_attachments boolean!, raw json, altered texts, folder_since time,"
             "first_seen_at time!, changed_at time!, changed_in transaction!"),
)  # fmt: skip

OF_MESSAGES = (
    MESSAGES,
    Table(
        "message_people",
        "mail.message_people",
        "message_id, role, position",
        _columns("account_id integer!, message_id text!, role text!, position integer!, address text, email text,"
                 "name text"),
    ),
    Table(
        "message_labels",
        "mail.message_labels",
        "message_id, label_id",
        _columns("account_id integer!, message_id text!, label_id text!, since time"),
    ),
    Table(
        "attachments",
        "mail.attachments",
        "message_id, position",
        _columns("account_id integer!, message_id text!, position integer!, file_id text, name text, mime_type text,"
                 "size integer, href text"),
    ),
)  # fmt: skip
"""What is read by pieces of messages."""

OF_ACCOUNTS = (
    Table(
        "people",
        "mail.people",
        "address",
        _columns("account_id integer!, address text!, name text, name_at time, name_on text, changed_in transaction!"),
    ),
    Table(
        "labels",
        "mail.labels",
        "label_id",
        _columns("account_id integer!, label_id text!, name text, gone_at time, changed_in transaction!"),
    ),
    Table(
        "folders",
        "mail.folders",
        "folder_id",
        _columns("account_id integer!, folder_id text!, name text, gone_at time, changed_in transaction!"),
    ),
)
"""What an account has once."""

TABLES = (ACCOUNTS, *OF_MESSAGES, *OF_ACCOUNTS)

BY_MESSAGE = {table.name: table.select("account_id = %s and message_id = any(%s::text[])") for table in OF_MESSAGES}
BY_ACCOUNT = {table.name: table.select("account_id = %s") for table in OF_ACCOUNTS}
CHOSEN_ACCOUNTS = ACCOUNTS.select("id = any(%s::bigint[])")

# The length of a stored text is known without reading it; that of JSON is not, only what it takes on the disk.
WEIGHED = b"""
select message_id, created, coalesce(octet_length(body), 0)::bigint + coalesce(octet_length(text_body), 0)
    + 4 * coalesce(pg_column_size(raw), 0)
from mail.messages where account_id = %s and deleted_at is null order by created, message_id
"""

# Both timeouts are for statements that hang; here a slow disk may lie between two of them.
READ_ONLY = """
set transaction isolation level repeatable read read only;
set local statement_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
"""
MOMENT = """
select sync.now(), pg_snapshot_xmin(pg_current_snapshot())::text::bigint, mail.feed_position(),
    (select version_num from sync.alembic_version)
"""
COMMENTS = """
select 'mail.' || relname, attname, col_description(c.oid, attnum)
from pg_class c join pg_attribute a on attrelid = c.oid
where relnamespace = 'mail'::regnamespace and attnum > 0 and not attisdropped
"""


class Piece(NamedTuple):
    """Messages of one account and month, few enough to be held in memory."""

    month: str
    """`2026-03`, in UTC, or `unknown`."""
    ids: list[str]


class Snapshot:
    """One moment of the database; every read shows the same, whatever is committed meanwhile."""

    def __init__(
        self, connection: psycopg.Connection[Any], moment: Row, comments: Mapping[tuple[str, str], str]
    ) -> None:
        self._connection = connection
        self._cursors = count(1)
        self._comments = comments
        self.at: datetime = moment[0]
        """The database's time."""
        self.horizon: int = moment[1]
        """What transactions below it have done is here, all of it; what others have done may be here or not."""
        self.position: str = moment[2]
        """Where the change feed goes on behind it."""
        self.revision: str = moment[3]
        """The version of the tables."""

    def cancel(self) -> None:
        """Let the statement under way fail, from another thread; nothing happens where there is none."""
        with suppress(psycopg.Error):  # the statement then ends by itself
            self._connection.cancel_safe(timeout=CANCEL_SECONDS)

    def comment(self, table: Table, column: Column) -> str:
        """What the column means."""
        return self._comments.get((table.source, column.name)) or ""

    def accounts(self, ids: Sequence[int]) -> list[Row]:
        """The rows of these accounts, as far as they are there, in the order of their numbers."""
        return self._connection.execute(CHOSEN_ACCOUNTS, (list(ids),)).fetchall()

    def pieces(self, account_id: int, *, rows: int = ROWS, size: int = BYTES) -> Iterator[Piece]:
        """All live messages, oldest first and those without a valid time last, cut by month, number and size."""
        month, ids, held = UNKNOWN, list[str](), 0
        for found in self._read(WEIGHED, (account_id,)):
            for message_id, created, weight in found:
                its_month = month_of(created)
                if ids and (its_month != month or len(ids) >= rows or held + weight > size):
                    yield Piece(month, ids)
                    ids, held = [], 0
                month = its_month
                ids.append(message_id)
                held += weight + HEADS
        if ids:
            yield Piece(month, ids)

    def of_messages(self, table: Table, account_id: int, ids: Sequence[str]) -> Iterator[list[Row]]:
        """The rows of a table of `OF_MESSAGES` for these messages, a few at a time."""
        return self._read(BY_MESSAGE[table.name], (account_id, list(ids)))

    def of_account(self, table: Table, account_id: int) -> Iterator[list[Row]]:
        """The rows of a table of `OF_ACCOUNTS`, a few at a time."""
        return self._read(BY_ACCOUNT[table.name], (account_id,))

    def _read(self, query: bytes, values: Row) -> Iterator[list[Row]]:
        """Let the server hold the result, and fetch it bit by bit."""
        with self._connection.cursor(f"export_{next(self._cursors)}") as cursor:
            cursor.execute(query, values, binary=True)
            while rows := cursor.fetchmany(ROWS):
                yield rows


@contextmanager
def snapshot(engine: Engine) -> Iterator[Snapshot]:
    """Hold one moment of the database for the length of a with block.

    It takes no transaction id, so no reader of the change feed waits for it; it does keep vacuum from what is newer.
    """
    with translated(), engine.connect() as connection:
        connection.execute(sa.text(READ_ONLY))
        opened = driver(connection)
        moment = opened.execute(MOMENT).fetchone()
        assert moment is not None  # noqa: S101  # a query without FROM has a row
        comments = {(source, name): text for source, name, text in opened.execute(COMMENTS)}
        yield Snapshot(opened, moment, comments)


def month_of(created: datetime | None) -> str:
    """The month that a message is exported in."""
    if created is None:
        return UNKNOWN
    there = created.astimezone(UTC)
    return f"{there.year:04}-{there.month:02}"


def hand_over(engine: Engine, consumer: str, position: str) -> None:
    """Let a consumer of the change feed begin again at `position`: what it has read before is replaced by an export.

    Raises FeedError. Dying between the two leaves the consumer at the beginning of the feed, which loses nothing.
    """
    feed.restart(engine, consumer)
    feed.acknowledge(engine, consumer, position)
