"""Who may read the feed, and who may move whom: a consumer belongs to the user who began it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.engine import Engine

from tests.conftest import as_superuser
from tests.integration.store.mail import leased, listed, message
from worker.store import feed, roles
from worker.store.engine import connect

Sql = psycopg.Connection[Any]
ANALYST = roles.Roles.named().analyst


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = connect(database)
    with leased(opened) as store:
        store.commit(listed(message()))
    yield opened
    opened.dispose()


@pytest.fixture
def analyst(database: str, connection: Sql) -> Iterator[Sql]:
    """A connection of an analyst; read-only, as analysts' logins are."""
    with psycopg.connect(as_superuser(database), autocommit=True) as opened:
        opened.execute(f"set session authorization {ANALYST}".encode())
        opened.execute("set default_transaction_read_only = on")
        yield opened


def read(sql: Sql, consumer: str) -> list[tuple[str, str]]:
    return sql.execute("select kind, position from mail.changes(%s)", [consumer]).fetchall()


def test_an_analyst_reads_the_feed_and_moves_a_consumer_of_its_own(engine: Engine, analyst: Sql) -> None:
    page = read(analyst, "dashboard")
    assert page[-1][0] == "message"
    with pytest.raises(errors.ReadOnlySqlTransaction):
        analyst.execute("select mail.acknowledge('dashboard', %s)", [page[-1][1]])
    with analyst.transaction():
        analyst.execute("set transaction read write")
        analyst.execute("select mail.acknowledge('dashboard', %s)", [page[-1][1]])
    assert read(analyst, "dashboard") == []
    shown = analyst.execute("select consumer, login, waiting from mail.feed_status").fetchall()
    assert shown == [("dashboard", ANALYST, 0)]


def test_nobody_moves_or_sees_the_consumer_of_another_but_the_worker(engine: Engine, analyst: Sql) -> None:
    position = feed.changes(engine, "etl")[-1].position
    feed.acknowledge(engine, "etl", position)
    analyst.execute("set default_transaction_read_only = off")
    for statement in (
        "select * from mail.changes('etl')",
        f"select mail.acknowledge('etl', '{position}')",
        "select mail.restart('etl')",
    ):
        with pytest.raises(psycopg.Error, match="belongs to the user mailmirror_worker") as refused:
            analyst.execute(statement.encode())
        assert refused.value.sqlstate == "MM002"
    assert analyst.execute("select * from mail.feed_status").fetchall() == []
    analyst.execute("select mail.acknowledge('dashboard', %s)", [position])
    assert [each.consumer for each in feed.standings(engine)] == ["dashboard", "etl"]
    feed.restart(engine, "dashboard")
    assert len(read(analyst, "dashboard")) == len(feed.changes(engine, "another"))


def test_the_feed_shows_no_more_than_its_reader_may_see(engine: Engine, analyst: Sql, connection: Sql) -> None:
    connection.execute("alter table mail.messages enable row level security")
    assert "message" not in {kind for kind, _ in read(analyst, "dashboard")}
    assert "message" in {change.kind for change in feed.changes(engine, "etl")}
    connection.execute(f"revoke select on mail.people from {ANALYST}".encode())
    with pytest.raises(errors.InsufficientPrivilege):
        read(analyst, "dashboard")


@pytest.mark.parametrize(
    "statement",
    [
        "select * from sync.consumers",
        "select * from sync.erasures",
        "update sync.feed set epoch = 7",
    ],
)
def test_an_analyst_reaches_nothing_behind_the_feed(engine: Engine, analyst: Sql, statement: str) -> None:
    analyst.execute("set default_transaction_read_only = off")
    with pytest.raises(errors.InsufficientPrivilege):
        analyst.execute(statement.encode())


def test_nothing_of_it_is_everybodys(connection: Sql) -> None:
    found = connection.execute(
        "select p.oid::regprocedure::text from pg_proc p where pronamespace = 'mail'::regnamespace"
        " and has_function_privilege('public', p.oid, 'execute')"
    ).fetchall()
    assert found == []


def test_what_runs_with_more_rights_than_its_caller_looks_nowhere_else(connection: Sql) -> None:
    found = connection.execute(
        "select proname, proconfig from pg_proc where pronamespace = 'mail'::regnamespace and prosecdef order by 1"
    ).fetchall()
    assert {name for name, _ in found} >= {"acknowledge", "feed_epoch", "feed_start", "restart"}
    assert all("search_path=pg_catalog, pg_temp" in (settings or []) for _, settings in found), found
