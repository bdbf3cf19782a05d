"""The views keep their contract: columns, comments, and who may read them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.conftest import PostgresServer
from tests.migration import catalog

Sql = psycopg.Connection[Any]

CONTRACT = Path(__file__).with_name("contract_1.txt")
OWNERS_RIGHTS = {"own_addresses", "freshness"}
"""Views that show a few harmless columns of schema sync to those who may not read it."""
FUNCTIONS = [
    "analytics.business_seconds(now(), now(), 'UTC', '09:00', '17:00', '{1}')",
    "analytics.volumes_by_day('UTC', '2026-01-01', '2026-02-01')",
    "analytics.volumes_by_hour('UTC')",
    "analytics.labels_by_day('UTC')",
    "analytics.folders_by_day('UTC')",
    "analytics.topic('Re: x')",
    "analytics.mail_sign('a@b.example', 'x')",
    "analytics.mail_kind('bounce')",
    "analytics.folder_set_aside('Drafts')",
]


@pytest.fixture
def analyst(any_postgres: PostgresServer) -> Iterator[Sql]:
    """A connection with the rights of the analyst to a database of its own."""
    name = any_postgres.create(any_postgres.migrated_template())
    with psycopg.connect(any_postgres.plain_url(name), autocommit=True) as opened:
        opened.execute("set session authorization mailmirror_analyst")
        yield opened
    any_postgres.drop(name)


def views(sql: Sql) -> set[str]:
    """Names of all views of schema analytics."""
    found = sql.execute("select relname from pg_class where relnamespace = 'analytics'::regnamespace and relkind = 'v'")
    return {name for (name,) in found.fetchall()}


def test_every_column_of_the_contract_is_there_with_its_type(connection: Sql) -> None:
    """New lines may come at any time; one that goes or changes is a new version of the contract, and a new file."""
    lines = [f"{c.table}.{c.name} {c.type}" for c in catalog.columns(connection) if c.schema == "analytics"]
    calls = [f"{call}" for schema, call, _ in catalog.functions(connection) if schema == "analytics"]
    if os.environ.get("WRITE_DOCS"):
        CONTRACT.write_text("\n".join([*lines, *calls, ""]), encoding="utf-8")
    promised = CONTRACT.read_text(encoding="utf-8").splitlines()
    assert [line for line in promised if line not in {*lines, *calls}] == []
    assert connection.execute("select version from analytics.contract").fetchone() == (1,)


def test_every_view_column_and_function_says_what_it_means(connection: Sql) -> None:
    ours = [column for column in catalog.columns(connection) if column.schema == "analytics"]
    assert len({column.table for column in ours}) >= 16
    assert [f"{c.table}.{c.name}" for c in ours if not c.comment or not c.table_comment] == []
    assert [call for schema, call, words in catalog.functions(connection) if schema == "analytics" and not words] == []


def test_the_account_stands_first_in_every_view(connection: Sql) -> None:
    first = connection.execute(
        "select relname, attname from pg_class join pg_attribute on attrelid = pg_class.oid and attnum = 1"
        " where relnamespace = 'analytics'::regnamespace and relname <> 'contract'"
    ).fetchall()
    assert {column for _, column in first} == {"account_id"}


def test_the_views_run_with_the_readers_rights_but_for_two(connection: Sql) -> None:
    owners = connection.execute(
        "select relname from pg_class where relnamespace = 'analytics'::regnamespace"
        " and not coalesce('security_invoker=true' = any (reloptions), false)"
    ).fetchall()
    assert {name for (name,) in owners} == OWNERS_RIGHTS


def test_an_analyst_reads_every_view_and_calls_every_function(analyst: Sql) -> None:
    for view in views(analyst):
        analyst.execute(f"select * from analytics.{view}")
    for call in FUNCTIONS:
        analyst.execute(f"select * from {call}".encode())
    called = {call.partition("(")[0] for call in FUNCTIONS}
    assert called == {
        f"analytics.{call.partition('(')[0]}" for s, call, _ in catalog.functions(analyst) if s == "analytics"
    }


def test_an_analyst_reads_nothing_else_of_schema_sync(analyst: Sql) -> None:
    tables = analyst.execute(
        "select relname from pg_class where relnamespace = 'sync'::regnamespace and relkind in ('r', 'v')"
    ).fetchall()
    assert len(tables) > 5
    for (name,) in tables:
        with pytest.raises(errors.InsufficientPrivilege):
            analyst.execute(f"select * from sync.{name}")


def test_an_analyst_writes_nothing_there(analyst: Sql) -> None:
    analyst.execute("set default_transaction_read_only = off")
    for statement in (
        "insert into analytics.own_addresses values (1, '{a@b.example}')",
        "delete from analytics.messages",
        "update analytics.freshness set status = 'active'",
        "create view analytics.mine as select 1",
        "create or replace view analytics.contract as select 2 as version",
        "drop view analytics.contract",
    ):
        with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)):
            analyst.execute(statement.encode())


def test_the_views_follow_the_rights_on_the_tables(any_postgres: PostgresServer) -> None:
    name = any_postgres.create(any_postgres.migrated_template())
    url = any_postgres.plain_url(name)
    with psycopg.connect(url, autocommit=True) as owner, psycopg.connect(url, autocommit=True) as analyst:
        owner.execute("revoke select on mail.message_people from mailmirror_analyst")
        analyst.execute("set session authorization mailmirror_analyst")
        with pytest.raises(errors.InsufficientPrivilege):
            analyst.execute("select sender from analytics.messages")
    any_postgres.drop(name)


def test_the_worker_reads_them_too(any_database: str) -> None:
    with psycopg.connect(any_database.replace("+psycopg", "")) as worker:
        for view in views(worker):
            worker.execute(f"select * from analytics.{view}")
        with pytest.raises(errors.InsufficientPrivilege):
            worker.execute("create view analytics.mine as select 1")
