"""The Postgres behind a simulation: time that only the simulation moves, no chance of its own, and what stands in it.

`sync.now()` reads a table, and `random()` gives a half; a look at the tables is one round trip.
"""

from datetime import datetime
from typing import Any

import psycopg
from msgspec import Struct

from tests.conftest import as_superuser
from tests.faults.simulation.plan import BASE

PREPARE = """
create schema simulation;
create table simulation.clock (now timestamptz not null);
insert into simulation.clock values ('2026-11-20T12:00:00Z');
create or replace function sync.now() returns timestamptz language sql stable parallel safe
return (select now from simulation.clock);
create function simulation.random() returns float8 language sql stable parallel safe return 0.5::float8;
grant usage on schema simulation to public;
grant select on simulation.clock to public;
"""
BEHIND = "alter role mailmirror_worker in database {} set search_path = simulation, pg_catalog"
"""So that `random()` of our statements is the one above."""

TABLES = """
select string_agg(format('%I.%I', schemaname, tablename), ', ')
from pg_tables where schemaname in ('mail', 'sync') and tablename <> 'alembic_version'
"""

ACCOUNT = """
select a.lease_epoch, c.cursor, coalesce(c.supported, false),
       extract(epoch from sync.now() - coalesce(a.polled_at, c.moved_at))::float8
from sync.accounts a left join sync.cursors c on c.account_id = a.id and c.stream = 'activity'
"""
WINDOWS = "select after, before, state <> 'done' or disturbed or next_walk_at <= sync.now() from sync.windows"
PROBLEMS = "select kind, subject, window_after, window_before from sync.problems where state = 'open'"
ROWS = "select message_id, digest, deleted_at is not null, created from mail.messages"


class RowSeen(Struct, frozen=True):
    """A row of `mail.messages`."""

    digest: bytes | None
    dead: bool
    created: datetime | None


class Stand(Struct, frozen=True, kw_only=True):
    """What the tables say of the one account at a moment."""

    epoch: int
    cursor: str | None
    supported: bool
    age: float
    """Seconds since the stream was read to its end."""
    windows: tuple[tuple[datetime, datetime | None, bool], ...]
    """Bounds, and whether it is still to be walked, now or again."""
    problems: tuple[tuple[str, str, datetime | None, datetime | None], ...]
    rows: dict[str, RowSeen]


class Postgres:
    """The simulation's own session."""

    def __init__(self, url: str, *, prepare: bool = True) -> None:
        """Prepare the database, unless that is done; `url` is SQLAlchemy's for the worker, its schema the newest."""
        self.url = url
        self._connection: psycopg.Connection[Any] = psycopg.connect(as_superuser(url), autocommit=True)
        run = self._connection.execute
        if prepare:
            run(PREPARE)
            run(BEHIND.format(run("select quote_ident(current_database())").fetchall()[0][0]).encode())
        run("set search_path = simulation, pg_catalog")
        run("set time zone 'UTC'")
        self._empty = f"truncate {run(TABLES).fetchall()[0][0]} restart identity".encode()
        self._told: float | None = None

    def close(self) -> None:
        """Close the session."""
        self._connection.close()

    def clear(self) -> None:
        """Take everything away that a simulation before has left."""
        self._connection.execute(self._empty)
        self._told = None

    def tell(self, seconds: float) -> None:
        """Set the time of Postgres, when it is another than before."""
        if seconds != self._told:
            self._told = seconds
            self._connection.execute(
                "update simulation.clock set now = %s::timestamptz + make_interval(secs => %s)", (BASE, seconds)
            )

    def end_session(self, pid: int) -> None:
        """Wait until a session whose client is gone has rolled back and ended."""
        self._connection.execute("select pg_terminate_backend(%s, 10000)", (pid,))

    def stand(self) -> Stand | None:
        """Read the tables as they stand; None before there is an account."""
        with self._connection.pipeline():
            account, windows, problems, rows = (
                self._connection.execute(one) for one in (ACCOUNT, WINDOWS, PROBLEMS, ROWS)
            )
            head = account.fetchone()
            if head is None:
                return None
            epoch, cursor, supported, age = head
            return Stand(
                epoch=epoch,
                cursor=cursor,
                supported=supported,
                age=age,
                windows=tuple(windows.fetchall()),
                problems=tuple(problems.fetchall()),
                rows={id_: RowSeen(*rest) for id_, *rest in rows.fetchall()},
            )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return self._connection.execute(statement.encode()).fetchall()

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The session itself, for the judge."""
        return self._connection
