"""Messages to write, and a leased store to write them with."""

from datetime import UTC, datetime
from typing import Any

import psycopg
from sqlalchemy.engine import Engine

from worker.config import Settings
from worker.records import Batch, Fetched, File, Gone, Label, Message, Person
from worker.store import accounts, leases
from worker.store.postgres import PostgresStore
from worker.store.rows import Projection

DAY = datetime(2026, 3, 23, 20, 8, 50, tzinfo=UTC)
INBOX, UNREAD = Label("l1", "INBOX"), Label("l2", "UNREAD")


def message(id_: str = "m1", **changes: Any) -> Message:
    """One ordinary message, with what the test wants to be different."""
    usual: dict[str, Any] = {
        "created": DAY,
        "thread_id": "t1",
        "labels": (INBOX, UNREAD),
        "subject": "Lunch",
        "sender": Person("Ann@Example.com", "Ann"),
        "to": (Person("bob@example.com", "Bob"), Person("bob@example.com", "Bob")),
        "cc": (Person("ann@example.com", None),),
        "snippet": "At noon?",
        "text_body": "At noon?",
        "body": "<p>At noon?</p>",
        "rfc822": File("file_raw"),
        "attachments": (File("file_1", "menu.pdf", "application/pdf", 1200, "https://api.example/file_1"),),
    }
    return Message(id=id_, **{**usual, **changes})


def listed(*messages: Message, **more: Any) -> Batch:
    """A batch of a list page."""
    return Batch(stream="windows", listed=messages, **more)


def fetched(*messages: Message, **more: Any) -> Batch:
    """A batch of GETs."""
    return Batch(stream="activity", fetched=tuple(Fetched(m, 1) for m in messages), **more)


def gone(*ids: str, **more: Any) -> Batch:
    """A batch of deletions that an event announced."""
    return Batch(stream="activity", gone=tuple(Gone(id_, "event", 1) for id_ in ids), **more)


def leased(engine: Engine, settings: Settings = Settings(), *, upstream_id: str = "1001") -> PostgresStore:  # noqa: B008
    """A store under a fresh lease of the account, which is added when it is not there."""
    known = {a.upstream_id: a for a in accounts.list_all(engine)}
    account = known.get(upstream_id) or accounts.add(engine, kind="kloudless", upstream_id=upstream_id)
    lease = leases.take_lease(engine, account.id, "test", dead=lambda _: True)
    return PostgresStore(engine, account.id, lease.epoch, Projection.of(settings))


def table(connection: psycopg.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    """Rows of a query, sorted."""
    return sorted(connection.execute(statement).fetchall(), key=repr)


def writes(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows written per table of schema mail since the server's counters began."""
    connection.execute("select pg_stat_force_next_flush()")
    found = connection.execute(
        "select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables where schemaname = 'mail'"
    ).fetchall()
    return dict(found)
