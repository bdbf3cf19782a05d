"""After a restore or a failover no position from before counts, and no row is out of sight."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from tests.conftest import PostgresServer, as_superuser, as_user, prepare
from tests.feed.rebuilding import Copy, mirrored
from tests.integration.store.mail import leased, listed, message
from worker.local.cluster import WORKER
from worker.local.postgres import THROW_AWAY, start
from worker.store import accounts, feed
from worker.store.engine import connect

Sql = psycopg.Connection[Any]
BURN = "do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$"


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = connect(database)
    yield opened
    opened.dispose()


@pytest.fixture
def fresh() -> Iterator[PostgresServer]:
    """Another server, which has seen few transactions."""
    with start(settings=THROW_AWAY) as running:
        yield PostgresServer(running)


def dumped(source: str, binaries: Path, target: str) -> None:
    """Copy a database as an operator does."""
    dump = subprocess.run([binaries / "pg_dump", as_superuser(source)], check=True, capture_output=True)
    restore: list[Path | str] = [binaries / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", as_superuser(target)]
    subprocess.run(restore, check=True, input=dump.stdout, stdout=subprocess.DEVNULL)


@pytest.mark.server
def test_a_database_restored_into_another_server_says_what_to_do_and_then_gives_everything(
    database: str, engine: Engine, connection: Sql, postgres: PostgresServer, fresh: PostgresServer
) -> None:
    with leased(engine) as store:
        store.commit(listed(message("early")))
        connection.execute(BURN)
        store.commit(listed(*(message(f"m{n}", folder_id="f1") for n in range(2500))))
    accounts.remove(engine, accounts.add(engine, kind="kloudless", upstream_id="x").id, purge=True)
    copy = Copy()
    copy.read(engine, "etl")
    before = feed.changes(engine, "another", 5)

    fresh.migrated_template()  # makes the roles
    url = fresh.url(fresh.create())
    dumped(database, postgres.running.binaries.bindir, url)
    restored = connect(url)
    with pytest.raises(feed.FeedError, match="Run once: mailmirror changes --new-epoch"):
        feed.changes(restored, "etl")
    with leased(restored) as store:  # workers go on meanwhile
        store.commit(listed(message("after")))
    assert feed.new_epoch(restored) > 2500
    with pytest.raises(feed.FeedError, match=r"Let it begin again, with an empty copy: select mail\.restart\('etl'\)"):
        feed.changes(restored, "etl")
    for position in (before[-1].position, before[0].position):
        with pytest.raises(feed.FeedError, match="before this database was restored"):
            feed.acknowledge(restored, "new", position)
    assert [(each.consumer, each.current) for each in feed.standings(restored)] == [("etl", False)]
    feed.restart(restored, "etl")
    copy = Copy()
    copy.read(restored, "etl")
    with psycopg.connect(as_superuser(url), autocommit=True) as target:
        assert copy.rows == mirrored(target)
        assert {"early", "m2499", "after"} <= {key for kind, _, key in copy.rows if kind == "message"}
    assert feed.new_epoch(restored) == 0
    restored.dispose()


def test_a_restore_into_the_same_server_begins_another_epoch(
    database: str, engine: Engine, postgres: PostgresServer
) -> None:
    with leased(engine) as store:
        store.commit(listed(message()))
    Copy().read(engine, "etl")
    name = postgres.create()
    try:
        dumped(database, postgres.running.binaries.bindir, postgres.url(name))
        restored = connect(postgres.url(name))
        with pytest.raises(feed.FeedError, match="was restored or failed over"):
            feed.changes(restored, "etl")
        restored.dispose()
    finally:
        postgres.drop(name)


def test_a_restore_of_the_tables_into_their_own_database_begins_another_epoch(
    database: str, engine: Engine, postgres: PostgresServer
) -> None:
    before, binaries = feed.horizon(engine).epoch, postgres.running.binaries.bindir
    dump = subprocess.run([binaries / "pg_dump", "--clean", as_superuser(database)], check=True, capture_output=True)
    restore: list[Path | str] = [binaries / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", as_superuser(database)]
    subprocess.run(restore, check=True, input=dump.stdout, stdout=subprocess.DEVNULL)
    assert feed.horizon(engine).epoch != before


def test_a_person_can_begin_another_epoch(engine: Engine) -> None:
    with leased(engine) as store:
        store.commit(listed(message()))
    Copy().read(engine, "etl")
    feed.new_epoch(engine)
    with pytest.raises(feed.FeedError, match="begin again"):
        feed.changes(engine, "etl")


def test_a_server_that_does_not_say_who_it_is_is_told_apart_by_the_rest(engine: Engine, connection: Sql) -> None:
    """As on some managed ones."""
    epochs = {feed.horizon(engine).epoch}
    for function in ("pg_current_wal_lsn()", "pg_control_system()"):
        connection.execute(f"revoke execute on function {function} from public".encode())
        epochs.add(feed.horizon(engine).epoch)
    assert len(epochs) == 3
    feed.new_epoch(engine)
    assert feed.horizon(engine).epoch not in epochs


@pytest.mark.server
@pytest.mark.fault("P16")
def test_a_failover_begins_another_epoch(tmp_path: Path) -> None:
    data = tmp_path / "pg"
    with start(data_dir=data, settings=THROW_AWAY) as running:
        prepare(running.url)
        engine = connect(_worker(running.url))
        with leased(engine) as store:
            store.commit(listed(message()))
        Copy().read(engine, "etl")
        before = feed.horizon(engine).epoch
        engine.dispose()
    with start(data_dir=data, settings=THROW_AWAY) as running:  # the same server again
        engine = connect(_worker(running.url))
        assert feed.horizon(engine).epoch == before
        assert feed.changes(engine, "etl") == []
        engine.dispose()
    (data / "standby.signal").touch()
    with start(data_dir=data, settings=THROW_AWAY) as running:
        engine = connect(_worker(running.url))
        assert feed.changes(engine, "etl") == [], "a standby can be read"
        with psycopg.connect(running.url, autocommit=True) as connection:
            assert connection.execute("select pg_promote()").fetchone() == (True,)
        with pytest.raises(feed.FeedError, match="was restored or failed over"):
            feed.changes(engine, "etl")
        engine.dispose()


def _worker(url: str) -> str:
    return as_user(url, WORKER).replace("postgresql://", "postgresql+psycopg://", 1)
