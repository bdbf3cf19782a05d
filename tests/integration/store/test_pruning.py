"""What nobody needs any more is deleted in small steps; all else stays."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from worker.store import accounts, pruning
from worker.store.engine import connect

Sql = psycopg.Connection[Any]


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine on a fresh database with two accounts."""
    opened = connect(database)
    for upstream_id in ("1", "2"):
        accounts.add(opened, kind="kloudless", upstream_id=upstream_id)
    yield opened
    opened.dispose()


def days(connection: Sql, table: str, column: str) -> list[tuple[int, int]]:
    """What is left: account and age in days."""
    return connection.execute(
        f"select account_id, (extract(epoch from now() - {column}) / 86400)::int from sync.{table} order by 1, 2"
    ).fetchall()


def test_runs_are_kept_for_thirty_days(engine: Engine, connection: Sql) -> None:
    connection.execute(
        "insert into sync.runs (account_id, epoch, began_at, ended_at, outcome)"
        " select 1, 1, now() - n * interval '1 day', now() - n * interval '1 day', 'done' from generate_series(1, 60) n"
    )
    assert pruning.prune(engine, batch=7) == 31
    assert days(connection, "runs", "began_at") == [(1, age) for age in range(1, 30)]
    assert pruning.prune(engine) == 0


def test_closed_problems_are_kept_for_thirty_days_and_open_ones_for_ever(engine: Engine, connection: Sql) -> None:
    connection.execute(
        "insert into sync.problems (account_id, kind, subject, cause, state, first_seen_at, last_seen_at, closed_at)"
        " values (1, 'message', 'open', '-', 'open', now() - interval '99 days', now() - interval '99 days', null),"
        " (1, 'message', 'late', '-', 'closed', now() - interval '99 days', now(), now() - interval '29 days'),"
        " (1, 'message', 'old', '-', 'closed', now() - interval '99 days', now(), now() - interval '31 days')"
    )
    assert pruning.prune(engine) == 1
    left = connection.execute("select subject from sync.problems order by 1").fetchall()
    assert left == [("late",), ("open",)]


def test_the_last_audits_of_an_account_are_kept(engine: Engine, connection: Sql) -> None:
    connection.execute(
        "insert into sync.audits (account_id, began_at, equal)"
        " select 1, now() - n * interval '1 day', true from generate_series(1, 25) n"
        " union all select 2, now() - n * interval '1 day', true from generate_series(80, 100, 4) n"
        " union all select 2, now() - interval '200 days', true"
    )
    pruning.prune(engine, batch=2)
    kept = [(1, age) for age in range(1, 21)] + [(2, 80), (2, 84), (2, 88)]
    assert days(connection, "audits", "began_at") == kept
    connection.execute("update sync.audits set began_at = now() - interval '300 days' where account_id = 2")
    pruning.prune(engine)
    assert len(days(connection, "audits", "began_at")) == 21, "the last one always stays"
