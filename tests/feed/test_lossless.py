"""Nothing is lost between writers who commit in any order; the usual ways of reading what changed lose rows."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from tests.conftest import PostgresServer, as_superuser
from tests.feed import load
from tests.feed.rebuilding import Copy, mirrored
from tests.integration.store.mail import INBOX, UNREAD, fetched, gone, leased, listed, message
from worker.store import feed
from worker.store.engine import connect
from worker.store.pruning import prune

Sql = psycopg.Connection[Any]


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = connect(database)
    yield opened
    opened.dispose()


def other(database: str) -> Sql:
    """A connection of its own, in a transaction."""
    return psycopg.connect(as_superuser(database))


def messages(page: list[feed.Change]) -> list[str]:
    return [change.key for change in page if change.kind == "message"]


def test_eight_writers_and_a_reader_that_crashes_end_in_the_same_mirror(database: str) -> None:
    """I9."""
    figures, copy, held = load.run(database, rounds=25, seed=7)
    assert copy.rows == held
    assert figures.rows > 300
    assert min(figures.crashes, figures.again, figures.rollbacks) > 0
    fresh, engine = Copy(), connect(database)
    fresh.read(engine, "came later")
    engine.dispose()
    assert fresh.rows == held


def test_the_usual_readers_lose_what_was_begun_first_and_committed_last(database: str, engine: Engine) -> None:
    """Two transactions by hand: the one that takes its number and its time first commits last."""
    by_time = "select message_id, changed_at from mail.messages where changed_at > %s order by changed_at"
    by_number = "select message_id, changed_in::text from mail.messages where changed_in > %s::xid8 order by changed_in"
    by_sequence = "select message_id, seq from sync.log where seq > %s order by seq"
    write = "with m as (insert into mail.messages (account_id, message_id) values (1, %s) returning message_id)"
    write += " insert into sync.log (message_id) select message_id from m"
    with other(database) as reader, other(database) as slow, other(database) as quick:
        reader.autocommit = True
        reader.execute("create table sync.log (seq bigint generated always as identity, message_id text)")
        slow.execute(write, ["slow"])
        quick.execute(write, ["quick"])
        quick.commit()
        # All read now, and remember how far they came.
        seen: dict[str, list[tuple[str, Any]]] = {}
        for query, first in ((by_time, "-infinity"), (by_number, "0"), (by_sequence, 0)):
            seen[query] = reader.execute(query, [first]).fetchall()
            assert [key for key, _ in seen[query]] == ["quick"]
        assert messages(feed.changes(engine, "etl")) == []
        # And read again, when the other one has committed: it stands before the place they remember.
        slow.commit()
        for query, rows in seen.items():
            again = reader.execute(query, [rows[-1][1]]).fetchall()
            assert again == [], "lost for ever"
        assert messages(feed.changes(engine, "etl")) == ["slow", "quick"]


def test_a_transaction_with_a_lower_number_may_write_last(database: str, engine: Engine) -> None:
    """The row stands in the older transaction then, and what that one wrote is what the feed shows."""
    with other(database) as older, other(database) as younger:
        older.execute("select pg_current_xact_id()")
        younger.execute("insert into mail.messages (account_id, message_id, subject) values (1, 'm1', 'younger')")
        younger.commit()
        assert messages(feed.changes(engine, "etl")) == []
        older.execute("update mail.messages set subject = 'older', changed_in = pg_current_xact_id()")
        older.commit()
    copy = Copy()
    copy.read(engine, "etl")
    assert copy.rows["message", 1, "m1"]["subject"] == "older"


@pytest.mark.fault("S9")
def test_a_long_transaction_in_another_database_holds_the_feed_back_and_then_all_comes(
    postgres: PostgresServer, engine: Engine, connection: Sql
) -> None:
    elsewhere = postgres.create()
    try:
        with leased(engine) as store, psycopg.connect(postgres.plain_url(elsewhere)) as long:
            store.commit(listed(message("before")))
            copy = Copy()
            copy.read(engine, "etl")
            process = long.execute("select pg_backend_pid(), pg_current_xact_id()::text").fetchone()
            assert process is not None
            for number in range(20):
                store.commit(listed(message(f"during {number}")))
            assert feed.changes(engine, "etl") == []
            told = feed.horizon(engine)
            assert (told.held_by_pid, told.horizon) == (process[0], int(process[1]))
            assert elsewhere in (told.held_by or "")
            assert told.waiting_seconds is not None
            since = connection.execute("select held_since, held_for from mail.feed_horizon").fetchone()
            assert since is not None
            assert None not in since
            long.commit()
            assert feed.horizon(engine).held_by is None
            assert len(messages(feed.changes(engine, "etl"))) == 20
            copy.read(engine, "etl")
            assert copy.rows == mirrored(connection)
    finally:
        postgres.drop(elsewhere)


def test_a_transaction_that_only_reads_holds_nothing_back(database: str, engine: Engine) -> None:
    with leased(engine) as store, other(database) as reading:
        reading.execute("set transaction isolation level repeatable read")
        reading.execute("select count(*) from mail.messages")
        store.commit(listed(message()))
        assert messages(feed.changes(engine, "etl")) == ["m1"]


@pytest.mark.fault("S7")
def test_a_consumer_that_was_away_for_weeks_gets_everything_once(engine: Engine, connection: Sql) -> None:
    clock = "create or replace function sync.now() returns timestamptz language sql stable parallel safe return "
    with leased(engine) as store:
        store.commit(listed(*(message(f"m{n}") for n in range(10))))
        copy = Copy()
        copy.read(engine, "etl")
        for day in range(1, 41):
            connection.execute(f"{clock} pg_catalog.now() + interval '{day} days'".encode())
            store.commit(fetched(message("m1", subject=f"Day {day}", labels=(INBOX,) if day % 2 else (INBOX, UNREAD))))
            store.commit(
                gone(f"m{day}"),
            )
            prune(engine)
    standing = feed.standings(engine)[0]
    assert standing.waiting_since is not None
    assert standing.acknowledged_at is not None
    assert standing.waiting_since - standing.acknowledged_at > timedelta(hours=12)
    assert standing.waiting == len(feed.changes(engine, "etl"))
    assert copy.read(engine, "etl") <= 41 + 3, "each message once, however often it changed"
    assert copy.rows == mirrored(connection)
    assert feed.standings(engine)[0].waiting == 0
