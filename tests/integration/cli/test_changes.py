"""`mailmirror changes`: lines, and what is acknowledged when."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from tests.integration.cli.command import Command
from tests.integration.store.mail import gone, leased, listed, message
from worker.store import feed
from worker.store.engine import connect


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = connect(database)
    with leased(opened) as store:
        store.commit(listed(message("m1"), message("m2")))
    yield opened
    opened.dispose()


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_every_change_is_a_line_and_comes_once(command: Command, engine: Engine) -> None:
    ran = command("changes", "--consumer", "etl", "--jsonl", "--at-most", "2")
    assert (ran.code, ran.err) == (0, "")
    found = lines(ran.out)
    assert [(each["kind"], each["key"]) for each in found][-2:] == [("message", "m1"), ("message", "m2")]
    assert found[-1].keys() == {"position", "kind", "account_id", "key", "deleted", "state", "changed_in"}
    assert found[-1]["state"]["people"][0]["address"] == "ann@example.com"
    again = command("changes", "--consumer", "etl", "--jsonl")
    assert (again.code, again.out, again.err) == (0, "", "")
    with leased(engine) as store:
        store.commit(gone("m1"))
    found = lines(command("changes", "--consumer", "etl", "--jsonl").out)
    assert [(each["key"], each["deleted"]) for each in found] == [("m1", True)]


def test_what_is_not_acknowledged_comes_again(command: Command, engine: Engine) -> None:
    asked = ("changes", "--consumer", "etl", "--jsonl", "--no-acknowledge", "--at-most", "3")
    first = command(*asked)
    assert len(lines(first.out)) == 7
    assert command(*asked).out == first.out
    position = lines(first.out)[4]["position"]
    assert command("changes", "--consumer", "etl", "--acknowledge", position).code == 0
    assert len(lines(command(*asked).out)) == 2
    assert len(lines(command("changes", "--consumer", "etl", "--restart", "--jsonl").out)) == 7


def test_the_status_names_consumers_and_what_holds_them_back(
    command: Command, engine: Engine, connection: psycopg.Connection
) -> None:
    assert "Nobody has read the change feed yet" in command("changes", "--status").err
    command("changes", "--consumer", "etl", "--jsonl")
    with psycopg.connect(connection.info.dsn) as long:
        long.execute("select pg_current_xact_id()")
        with leased(engine) as store:
            store.commit(gone("m1"))
        ran = command("changes", "--status")
        assert ran.out.splitlines()[1].split()[:3] == ["etl", "mailmirror_worker", "0"]
        assert "by an open transaction: app in database" in ran.err
        told = command("changes", "--status", "--json").json
        assert told["horizon"]["held_by_pid"] == long.info.backend_pid
    assert command("changes", "--status").out.splitlines()[1].split()[2] == "1"


def test_a_new_epoch_says_who_must_begin_again(command: Command, engine: Engine) -> None:
    command("changes", "--consumer", "etl", "--jsonl")
    ran = command("changes", "--new-epoch")
    assert (ran.code, ran.out.splitlines()[1]) == (
        0,
        "Let etl begin again: mailmirror changes --consumer etl --restart",
    )
    command("changes", "--consumer", "etl", "--jsonl").refused(2, "select mail.restart('etl')")
    assert len(lines(command("changes", "--consumer", "etl", "--restart", "--jsonl").out)) == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name the consumer, as in: mailmirror changes --consumer NAME --jsonl"),
        (("--consumer", "etl"), "Say how to print it: mailmirror changes --consumer etl --jsonl"),
        (("--consumer", "x" * 300, "--jsonl"), "at most 200 bytes"),
        (("--consumer", "etl", "--acknowledge", "x"), "no position of the change feed"),
        (("--consumer", "etl", "--acknowledge", ""), "no position of the change feed"),
        (("--consumer", "two\nlines", "--jsonl"), "characters that can be printed"),
        (("--consumer", "\udcff", "--jsonl"), "characters that can be printed"),
        (("--consumer", "etl", "--new-epoch"), "goes alone"),
        (("--consumer", "etl", "--restart", "--status"), "--status only shows"),
        (("--consumer", "etl", "--jsonl", "--at-most", "0"), "at-most"),
    ],
)
def test_what_is_wrong_is_one_sentence(command: Command, arguments: tuple[str, ...], words: str) -> None:
    command("changes", *arguments).refused(2, words)


def test_what_cannot_be_printed_is_not_acknowledged(command: Command, engine: Engine) -> None:
    shell = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "worker"]
    asked = ["changes", "--consumer", "etl", "--jsonl"]
    process = subprocess.Popen([*shell, *asked], stderr=subprocess.PIPE, text=True)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "stdout is closed: nothing can be printed.\n")
    assert len(lines(command(*asked).out)) == 7


def followed(command: Command, *more: str) -> "subprocess.Popen[str]":
    """Start it, and take the first lines it prints."""
    process = command.start("changes", "--consumer", "etl", "--jsonl", "--follow", *more)
    assert process.stdout is not None
    for _ in range(7):
        assert json.loads(process.stdout.readline())["kind"]
    return process


@pytest.mark.server
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_following_prints_what_comes_until_it_is_interrupted(
    command: Command, engine: Engine, sent: signal.Signals
) -> None:
    process = followed(command)
    with leased(engine) as store:
        store.commit(gone("m1"))
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["deleted"]
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines() == ["Interrupted. What was committed stays; run it again to go on."]


@pytest.mark.server
def test_a_reader_that_goes_away_ends_it_and_what_it_did_not_get_is_not_acknowledged(
    command: Command, engine: Engine
) -> None:
    """The pages are far larger than a pipe holds."""
    with leased(engine) as store:
        store.commit(listed(*(message(f"large {n}", body="x" * 100_000) for n in range(40))))
    process = command.start("changes", "--consumer", "etl", "--jsonl", "--follow", "--at-most", "10")
    assert process.stdout is not None
    for _ in range(10):
        json.loads(process.stdout.readline())
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    left = {change.key for change in feed.changes(engine, "etl")}
    assert {f"large {n}" for n in range(20, 40)} - {"large 2", "large 3"} <= left


@pytest.mark.server
def test_following_ends_when_nobody_reads_though_nothing_comes(command: Command, engine: Engine) -> None:
    process = followed(command)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert feed.changes(engine, "etl") == []
