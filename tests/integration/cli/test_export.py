"""`mailmirror export` as a person runs it, and interrupts it."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.integration.cli.command import Command
from worker.sandbox import Sandbox


@pytest.fixture
def mirrored(command: Command, mailbox: Sandbox) -> Command:
    """The command over a mirror of 60 messages."""
    assert command("sync", "1").code == 0
    return command


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_it_ends_with_what_was_written(mirrored: Command, tmp_path: Path, kind: str) -> None:
    to = tmp_path / "out"
    told = mirrored("export", "--format", kind, "--to", str(to))
    assert (told.code, told.err) == (0, "")
    counts, files = told.out.splitlines()
    assert counts.startswith(f"{to}: 1 account as of 20")
    assert ": 60 messages, " in counts
    assert files.endswith(f"What is in them: {to}/manifest.json")
    assert json.loads((to / "manifest.json").read_text())["tables"]["messages"]["rows"] == 60


def test_it_hands_over_to_a_consumer_of_the_feed(
    mirrored: Command, tmp_path: Path, connection: psycopg.Connection
) -> None:
    told = mirrored("export", "--format", "jsonl", "--to", str(tmp_path / "out"), "--consumer", "etl", "--json")
    assert (told.code, told.json["feed"]["consumer"]) == (0, "etl")
    waiting = connection.execute("select waiting from mail.feed_status where consumer = 'etl'").fetchone()
    assert waiting == (0,)
    again = mirrored("export", "--format", "jsonl", "--to", str(tmp_path / "again"), "--consumer", "etl")
    assert "mailmirror changes --consumer etl --jsonl" in again.out


def test_a_consumer_does_not_go_on_behind_some_of_the_accounts(mirrored: Command, tmp_path: Path) -> None:
    asked = ("export", "--format", "csv", "--to", str(tmp_path / "out"), "--account", "1", "--consumer", "etl")
    mirrored(*asked).refused(2, "behind an export of all accounts")
    assert not (tmp_path / "out").exists()


def test_a_second_export_into_the_same_folder_is_refused(mirrored: Command, tmp_path: Path) -> None:
    to = tmp_path / "out"
    assert mirrored("export", "--format", "csv", "--to", str(to)).code == 0
    before = {path: path.stat().st_mtime_ns for path in to.rglob("*")}
    mirrored("export", "--format", "csv", "--to", str(to)).refused(2, "out is not empty")
    assert {path: path.stat().st_mtime_ns for path in to.rglob("*")} == before


def test_what_cannot_be_done_is_one_sentence(mirrored: Command, tmp_path: Path) -> None:
    to = ("--to", str(tmp_path / "out"))
    mirrored("export", "--format", "xls", *to).refused(2, "--format must be one of parquet, jsonl, csv")
    mirrored("export", "--format", "csv", *to, "--account", "7").refused(2, "no account 7")
    mirrored("export", "--format", "csv", *to, "--consumer", "x" * 201).refused(2, "1 to 200 bytes")
    mirrored("export", "--format", "csv", "--to", str(tmp_path / "no" / "out")).refused(2, "There is no folder")
    assert not (tmp_path / "out").exists()


def test_without_accounts_there_is_nothing_to_export(command: Command, tmp_path: Path) -> None:
    command("export", "--format", "csv", "--to", str(tmp_path / "out")).refused(2, "There are no accounts yet")


@contextmanager
def stuck(command: Command, connection: psycopg.Connection, to: Path) -> Iterator["subprocess.Popen[str]"]:
    """An export that has written messages and waits for a table that somebody holds."""
    with connection.transaction():
        connection.execute("lock table mail.attachments in access exclusive mode")
        running = command.start("export", "--format", "jsonl", "--to", str(to))
        try:
            while not list(to.parent.glob(f"{to.name}.partial-*/messages/*/*/part-00000.jsonl")):
                assert running.poll() is None, running.communicate()
                time.sleep(0.02)
            yield running
        finally:
            running.kill()
            running.wait()


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(
    mirrored: Command, connection: psycopg.Connection, tmp_path: Path, way: signal.Signals
) -> None:
    with stuck(mirrored, connection, tmp_path / "out") as running:
        running.send_signal(way)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, "")
    assert err == f"Interrupted. {tmp_path / 'out'} was not made.\n"
    assert not list(tmp_path.glob("out*"))


def test_a_kill_leaves_no_folder_of_that_name_and_the_next_one_says_what_lies_there(
    mirrored: Command, connection: psycopg.Connection, tmp_path: Path
) -> None:
    with stuck(mirrored, connection, tmp_path / "out") as running:
        running.kill()
        running.communicate(timeout=30)
    (left,) = tmp_path.glob("out*")
    assert left.name.startswith("out.partial-")
    told = mirrored("export", "--format", "jsonl", "--to", str(tmp_path / "out"))
    assert (told.code, str(left) in told.err) == (0, True)
    assert (tmp_path / "out" / "manifest.json").is_file()
