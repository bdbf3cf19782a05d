"""`mailmirror up` brings everything up, says what to type next, and takes everything with it when it ends."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.local.processes import OURS, gone, wait_until
from worker.cli.up import summary
from worker.local import cluster

pytestmark = pytest.mark.server

COMMAND = [sys.executable, "-m", "worker", "up", "--live", "1", "--backfill", "1"]


@contextmanager
def up(data: Path, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run `mailmirror up` on a data folder; killed at the end, if it still runs then."""
    usual = {name: text for name, text in OURS.environment.items() if not re.match("(DATABASE|REDIS)_URL", name)}
    process = subprocess.Popen(
        COMMAND,
        env={**usual, "MAILMIRROR_DATA": str(data), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def introduction(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C stops everything" in line:
            break
    return said


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A folder for data below a closed one; for root the database's lies elsewhere."""
    yield tmp_path / "data"
    link = tmp_path / "data" / "postgres"
    if link.is_symlink():
        cluster.discard([link.readlink().parent])


def test_it_says_where_the_data_is_and_what_to_type_next(data: Path) -> None:
    with up(data) as process:
        said = introduction(process)
        assert f"Kept in {data}: database, queue, key file, logs." in said
        assert f"export DATABASE_URL_FILE={data}/database_url" in said
        assert f"{sys.executable} -m worker accounts add kloudless" in said
        assert f"{sys.executable} -m worker status\n" in said
        with psycopg.connect((data / "database_url").read_text().strip()) as connection:
            assert connection.execute("SELECT count(*) FROM mail.live_messages").fetchone() == (0,)
            assert connection.execute("SELECT session_user::text").fetchone() == ("mailmirror_worker",)
        assert (data / "keyring").exists()
        # A second one is refused in one sentence.
        second = subprocess.run(
            COMMAND,
            env={**OURS.environment, "MAILMIRROR_DATA": str(data)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (second.returncode, second.stdout) == (2, "")
        assert f"{data} is in use by another mailmirror (process {process.pid})" in second.stderr
        for name in ("worker-live", "worker-backfill"):
            log = data / "log" / f"{name}.log"
            wait_until(lambda log=log: " ready." in log.read_text())  # type: ignore[misc]  # bound at once
        wait_until(lambda: "mailmirror.dispatch" in (data / "log" / "worker-live.log").read_text())
        with psycopg.connect((data / "owner_url").read_text().strip(), autocommit=True) as owner:
            who = "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name = 'mailmirror'"
            wait_until(lambda: owner.execute(who).fetchall() == [("mailmirror_worker",)])
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        rest = process.communicate()[0]
        assert process.returncode == 0, rest
        assert "unexpectedly" not in rest
        assert f"Stopped. The data stays in {data}." in rest
        assert all(gone(child.pid) for child in family)


def test_it_comes_up_again_in_the_shell_that_took_its_advice(data: Path) -> None:
    for told in ({}, {"DATABASE_URL_FILE": str(data / "database_url")}):
        with up(data, **told) as process:
            assert f"Kept in {data}: database, queue, key file, logs." in introduction(process)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


@pytest.mark.parametrize("end", ["SIGTERM", "SIGHUP", "a closed pipe"])
def test_it_ends_in_order_however_it_is_asked_to(end: str, data: Path, database: str) -> None:
    with up(data, DATABASE_URL=database) as process:
        said = introduction(process)
        assert "DATABASE_URL was given and is used as it is." in said
        assert database not in said
        wait_until(lambda: len(psutil.Process(process.pid).children(recursive=True)) >= 4)
        family = psutil.Process(process.pid).children(recursive=True)
        if end == "a closed pipe":
            assert process.stdout is not None
            process.stdout.close()
        else:
            process.send_signal(signal.Signals[end])
        process.wait()
        assert all(gone(child.pid) for child in family)
        assert not (data / "postgres").exists()
        if end != "a closed pipe":
            assert process.returncode == 0


def test_settings_that_cannot_be_are_refused_before_anything_starts(data: Path) -> None:
    with up(data, MAILMIRROR_PAGE_SIZE="many") as process:
        said = process.communicate()[0]
    assert process.returncode == 2
    assert said.count("\n") == 1
    assert "MAILMIRROR_PAGE_SIZE" in said
    assert not os.path.lexists(data)


def test_without_accounts_the_status_line_says_so() -> None:
    assert summary([]) == "no accounts yet"
