"""One call brings up everything on one machine; what dies is started again; nothing outlives its starter."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from tests.local.processes import OURS, gone, ordinary_python, wait_until
from tests.local.stacks import copy_libraries, owner, write_app
from worker.config import Settings, from_environment
from worker.local import cluster
from worker.local.errors import LocalError
from worker.local.part import FIRST_PAUSE
from worker.local.stack import BOTH_QUEUES, Stack, Workers
from worker.local.valkey import RunningValkey
from worker.local.workers import children_of

pytestmark = pytest.mark.server

ELSEWHERE = "postgresql://nowhere.invalid/none"
ONE = (Workers("live", "live", 1),)


def discard_database(data: Path) -> None:
    """Remove what root's PostgreSQL keeps elsewhere, because pytest's folders are closed to it."""
    link = data / "postgres"
    if link.is_symlink():
        cluster.discard([link.readlink().parent])


def version_of(program: str) -> tuple[int, ...]:
    answer = subprocess.run(
        [program, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=True
    )
    return tuple(map(int, answer.stdout.split()))


def children(but: Collection[psutil.Process] = ()) -> list[psutil.Process]:
    """Processes below this one, without those that were there before (servers of other tests) and their own."""
    before = {process.pid for process in but}
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a passing one of those others
            if process.pid not in before and process.ppid() not in before:
                found.append(process)
    return found


def test_everything_is_brought_up_and_nothing_is_left(tmp_path: Path) -> None:
    environ, trace = write_app(tmp_path)
    others = children()
    with Stack(Settings(), keep=False, app="tiny", environ={**os.environ, **environ}) as stack:
        stack.start_workers()
        with psycopg.connect(stack.owner_url or "") as database, redis.Redis.from_url(stack.redis_url) as broker:
            assert database.execute("SELECT 1").fetchone() == (1,)
            assert broker.ping()
        wait_until(lambda: bool(trace.lines()))
        assert trace.lines()[0].split()[1:] == [stack.database_url, str(stack.folder.path), "None"]
        assert "//mailmirror_worker:" in stack.database_url
        assert stack.worker_pids.keys() == {workers.name for workers in BOTH_QUEUES}
        family = children(but=others)
        assert {stack.beat_pid, *stack.worker_pids.values()} <= {process.pid for process in family}
        killed = stack.kill_worker_child("live")
        assert killed not in stack.worker_pids.values()
        wait_until(lambda: gone(killed))
        trace.clear()
        wait_until(lambda: bool(trace.pids() - {killed}))
    assert all(gone(process.pid) for process in family)
    assert not stack.folder.path.exists()


def test_what_the_settings_name_is_used_as_it_is(valkey: RunningValkey, tmp_path: Path) -> None:
    environ, trace = write_app(tmp_path)
    settings = Settings(database_url=ELSEWHERE, redis_url=valkey.url, data=tmp_path / "data")
    others = children()
    with Stack(settings, workers=ONE, app="tiny", environ={**os.environ, **environ}) as stack:
        stack.start_workers()
        wait_until(lambda: bool(trace.lines()))
        assert (stack.database_url, stack.redis_url) == (ELSEWHERE, valkey.url)
        assert stack.owner_url is None
        assert not stack.folder.database_url_file.exists()
        assert not stack.folder.owner_url_file.exists()
        ours = [process.name() for process in children(but=others)]
        assert [name for name in ours if name.startswith(("postgres", "valkey"))] == []
    assert valkey.running


def test_kept_data_keeps_its_address_and_is_closed_to_others(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    try:
        with Stack(settings) as first, psycopg.connect(first.owner_url or "") as database:
            url, owner_url = first.database_url, first.owner_url
            database.execute("CREATE TABLE kept ()")
            with redis.Redis.from_url(first.redis_url) as broker:
                broker.set("kept", "yes")
            with (
                pytest.raises(LocalError, match=f"in use by another mailmirror .process {os.getpid()}."),
                Stack(settings),
            ):
                pass
        with Stack(settings) as second:
            assert (second.database_url, second.owner_url) == (url, owner_url)
            # What the files say is what another shell needs.
            files = {
                "DATABASE_URL_FILE": second.folder.database_url_file,
                "MAILMIRROR_OWNER_URL_FILE": second.folder.owner_url_file,
            }
            told = from_environment({name: str(path) for name, path in files.items()})
            assert (told.database_url, told.owner_url) == (url, owner_url)
            assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
            with psycopg.connect(owner_url or "") as database, redis.Redis.from_url(second.redis_url) as broker:
                assert database.execute("SELECT count(*) FROM kept").fetchone() == (0,)
                assert broker.get("kept") == b"yes"
            assert second.settings.data == tmp_path / "data"
    finally:
        discard_database(tmp_path / "data")


def test_what_dies_is_started_again_and_told(tmp_path: Path) -> None:
    environ, trace = write_app(tmp_path)
    told: list[str] = []
    settings = Settings(database_url=ELSEWHERE, data=tmp_path / "data")
    with Stack(settings, workers=ONE, app="tiny", tell=told.append, environ={**os.environ, **environ}) as stack:
        stack.start_workers()
        wait_until(lambda: bool(trace.lines()))
        before = stack.redis_url
        victims = [stack.valkey_pid, stack.beat_pid, stack.worker_pid, *children_of(stack.worker_pid)]
        for pid in victims[:3]:
            os.kill(pid, signal.SIGKILL)

        def all_run_again() -> bool:
            stack.poll()
            return sum(sentence.endswith("runs again.") for sentence in told) == 3

        wait_until(all_run_again)
        wait_until(lambda: all(map(gone, victims)))
        assert stack.redis_url == before
        assert stack.beat_pid not in victims
        trace.clear()
        wait_until(lambda: bool(trace.pids()))
        assert not trace.pids() & set(victims)
    assert (
        f"Beat ended unexpectedly; it is started again in {FIRST_PAUSE:.0f} s. Log: {tmp_path}/data/log/beat.log"
        in told
    )
    assert told[-1].startswith("Stopping")


def test_a_kept_database_that_dies_comes_back_where_it_was(tmp_path: Path) -> None:
    told: list[str] = []
    try:
        settings = Settings(redis_url="redis://nowhere.invalid", data=tmp_path / "data")
        with Stack(settings, tell=told.append) as stack:
            url, owner_url, killed = stack.database_url, stack.owner_url or "", stack.postgres_pid
            with psycopg.connect(owner_url) as database:
                database.execute("CREATE TABLE kept ()")
            os.kill(killed, signal.SIGKILL)

            def runs_again() -> bool:
                stack.poll()
                return "PostgreSQL runs again." in told

            wait_until(runs_again)
            assert (stack.database_url, stack.owner_url, stack.postgres_pid != killed) == (url, owner_url, True)
            with psycopg.connect(owner_url) as database:
                assert database.execute("SELECT count(*) FROM kept").fetchone() == (0,)
            with pytest.raises(LocalError, match="Valkey was not started here"):
                _ = stack.valkey_pid
    finally:
        discard_database(tmp_path / "data")


def test_a_throw_away_database_that_dies_is_the_end() -> None:
    with Stack(Settings(redis_url="redis://nowhere.invalid"), keep=False) as stack:
        os.kill(stack.postgres_pid, signal.SIGKILL)
        wait_until(lambda: not stack._servers_run())
        with pytest.raises(LocalError, match="PostgreSQL ended unexpectedly, and its data was temporary"):
            stack.poll()


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGHUP", "a closed pipe"])
def test_nothing_outlives_its_starter(end: str, tmp_path: Path) -> None:
    environ, trace = write_app(tmp_path)
    with owner(OURS, {**environ, "DATABASE_URL": ELSEWHERE}) as started:
        wait_until(lambda: bool(trace.lines()))
        family = started.family()
        assert len(family) >= 3 * 2 + 1  # each under its supervisor, and a child of the worker
        if end == "a closed pipe":
            assert started.process.stdout is not None
            started.process.stdout.close()
        else:
            started.process.send_signal(signal.Signals[end])
        wait_until(lambda: all(gone(process.pid) for process in family))
        assert started.process.wait() != 0
        assert not started.folder.exists()


def test_a_stack_comes_up_at_once_after_one_that_was_killed(tmp_path: Path) -> None:
    environ, trace = write_app(tmp_path)
    environ |= {"DATABASE_URL": ELSEWHERE, "MAILMIRROR_DATA": str(tmp_path / "data")}
    with owner(OURS, environ, ["keep"]) as first:
        wait_until(lambda: bool(trace.lines()))
        family = first.family()
        first.process.kill()
        first.process.wait()
        with owner(OURS, environ, ["keep"]) as second:
            assert all(gone(process.pid) for process in family)
            assert second.folder == first.folder
            again = second.family()
    wait_until(lambda: all(gone(process.pid) for process in again))


def test_an_ordinary_user_has_one_below_a_closed_home() -> None:
    with ordinary_python() as python:
        account = python.account
        folder = cluster.temporary_folder(account)
        try:
            environ, trace = write_app(folder)
            if account:  # another Python, which has nothing of ours
                if version_of(python.program) != sys.version_info[:2]:
                    pytest.skip("the Python of an ordinary user has another version: our libraries do not fit")
                copy_libraries(folder)
                environ["PYTHONPATH"] = f"{folder}:{python.environment['PYTHONPATH']}"
            home = folder / "home"
            home.mkdir(mode=0o700)
            for path in (folder, home):
                cluster.give(path, account)
            environ["MAILMIRROR_DATA"] = str(home / "data")
            with owner(python, environ, ["keep"]) as started:
                wait_until(lambda: bool(trace.lines()))
                family = started.family()
                assert {process.uids() for process in family} == {psutil.Process(started.process.pid).uids()}
                assert all(process.uids().real != 0 for process in family)
                assert (home / "data" / "postgres" / "PG_VERSION").exists()
                started.process.kill()
                wait_until(lambda: all(gone(process.pid) for process in family))
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
        finally:
            cluster.discard([folder])


@pytest.mark.skipif(sys.platform != "linux", reason="compares two ways that only Linux has both of")
def test_children_are_found_with_and_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    by_proc = set(children_of(os.getppid()))
    monkeypatch.setattr("worker.local.workers._PROC", Path("/nowhere"))
    by_ps = set(children_of(os.getppid()))
    assert os.getpid() in by_proc & by_ps
