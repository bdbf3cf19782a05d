"""The command as a process of its own: signals, closed pipes, the sandbox in the foreground."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.integration.cli.command import Command
from worker.sandbox import Sandbox

pytestmark = pytest.mark.server


def wait_for_lease(connection: psycopg.Connection) -> None:
    for _ in range(600):
        if connection.execute("SELECT 1 FROM sync.accounts WHERE lease_owner IS NOT NULL").fetchone():
            return
        time.sleep(0.05)
    pytest.fail("the account was never taken")


@pytest.mark.fault("P4")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sync_gives_its_lease_back(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection, sent: signal.Signals
) -> None:
    mailbox.admin("/faults", {"kind": "slow_answer", "count": None, "args": {"seconds": 0.5}})
    process = command.start("sync", "1")
    wait_for_lease(connection)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (
        130,
        "Interrupted. What was committed stays; run it again to go on.",
    )
    assert "Traceback" not in err
    assert connection.execute("SELECT lease_owner, status FROM sync.accounts").fetchone() == (None, "active")
    mailbox.admin("/faults/clear", {})
    assert command("sync", "1").code == 0


def says(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it never said: {words}")


@pytest.mark.fault("P4")
def test_an_interrupt_does_not_wait_for_the_upstream(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    command.set(MAILMIRROR_REQUEST_TIMEOUT="80")
    command("sync", "1")
    mailbox.admin("/faults", {"kind": "slow_answer", "count": None, "args": {"seconds": 75}})
    process = command.start("sync", "1")
    wait_for_lease(connection)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line for line in err.splitlines() if line.startswith(("Stop", "Interr"))] == [
        "Stopping after the commit under way. Once more, and it stops at once.",
        "Interrupted. What was committed stays; run it again to go on.",
    ]
    found = connection.execute("SELECT lease_owner, status, status_reason FROM sync.accounts").fetchone()
    assert found == (None, "active", None)


@pytest.mark.fault("P4")
def test_a_first_interrupt_lets_the_commit_finish_and_a_second_one_does_not(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection, database: str
) -> None:
    def held_up() -> "subprocess.Popen[str]":
        process = command.start("sync", "1")
        blocked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        for _ in range(600):
            if connection.execute(blocked).fetchone():
                break
            time.sleep(0.05)
        else:
            pytest.fail("nothing waits for the table")
        process.send_signal(signal.SIGINT)
        says(process, "Stopping after the commit under way")
        return process

    with psycopg.connect(database.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE mail.messages IN SHARE MODE")
        process = held_up()
        process.send_signal(signal.SIGINT)
        says(process, "Stopped at once")
        assert process.wait(60) == 130
        process.communicate()
        other.rollback()
        assert connection.execute("SELECT count(*) FROM mail.messages").fetchone() == (0,)
        other.execute("LOCK TABLE mail.messages IN SHARE MODE")
        process = held_up()
        other.rollback()
        assert process.wait(60) == 130
        process.communicate()
        assert connection.execute("SELECT count(*) > 0 FROM mail.messages").fetchone() == (True,)
    assert connection.execute("SELECT lease_owner, status FROM sync.accounts").fetchone() == (None, "active")
    assert command("sync", "1").code == 0
    assert command("verify", "1").code == 0


@pytest.mark.fault("P1")
def test_a_killed_sync_goes_on_at_once(command: Command, mailbox: Sandbox, connection: psycopg.Connection) -> None:
    mailbox.admin("/faults", {"kind": "slow_answer", "count": None, "args": {"seconds": 0.5}})
    process = command.start("sync", "1")
    wait_for_lease(connection)
    process.kill()
    process.communicate(timeout=60)
    mailbox.admin("/faults/clear", {})
    assert command("sync", "1").code == 0
    assert command("verify", "1").code == 0


def test_a_reader_that_goes_away_is_no_error(command: Command, mailbox: Sandbox) -> None:
    for arguments in (("config",), ("status", "--json"), ("status",), ("--help",)):
        process = command.start(*arguments)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert "Traceback" not in said
        assert "stumbled" not in said
        process.stderr.close()


@pytest.mark.parametrize("subcommand", ["worker", "beat"])
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "REDIS_URL is not set. Set it to"),
        ({"MAILMIRROR_PAGE_SIZE": "0"}, "MAILMIRROR_PAGE_SIZE must be"),
        ({"REDIS_URL": "http://x"}, "REDIS_URL must begin with redis://"),
    ],
)
def test_celery_without_its_settings_says_one_sentence(
    bare: Command, subcommand: str, variables: dict[str, str], words: str
) -> None:
    bare.set(**variables)
    command = [sys.executable, "-m", "celery", "-A", "worker.celery", subcommand]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(words)
    assert ran.stderr.count("\n") == 1


def shell(line: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of shell in which `mailmirror` is this one."""
    tool = f'mailmirror() {{ {sys.executable} -m worker "$@"; }}\n'
    return subprocess.run(["sh", "-c", tool + line], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("mailmirror status >&-", 0),
        ("mailmirror status --json >&- 2>&- <&-", 0),
        ("mailmirror status nobody >&-", 2),
        ("mailmirror accounts token 1 <&-", 2),
        ("mailmirror config >/dev/full", 1),
    ],
)
def test_closed_or_full_outputs_change_nothing_but_what_is_seen(
    command: Command, mailbox: Sandbox, line: str, code: int
) -> None:
    ran = shell(line)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert "Traceback" not in ran.stderr
    assert "stumbled" not in ran.stderr
    if code == 1:
        assert "could not be printed in full" in ran.stderr


def test_a_sync_whose_reader_goes_away_is_done_all_the_same(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    ran = shell("{ { mailmirror sync 2>&1; echo $? >&3; } | true; } 3>&1")
    assert ran.stdout == "0\n"
    assert connection.execute("SELECT count(*) FROM mail.live_messages").fetchone() == (60,)


def test_the_sandbox_says_how_to_connect_and_what_it_says_works(
    command: Command, connection: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "mail.mbox"
    lines = [
        "From ann@mail.example Mon Mar  3 10:00:00 2025",
        "From: Ann <ann@mail.example>",
        "Date: Mon, 3 Mar 2025 10:00:00 +0000",
        "Message-ID: <1@mail.example>",
        "Subject: Lunch",
        "",
        "At noon?",
        "",
    ]
    file.write_text("\n".join(lines))
    process = command.start("sandbox", "--mbox", str(file))
    assert process.stdout is not None
    said: list[str] = []
    while not said or not said[-1].endswith(" -m worker sync"):
        said.append(process.stdout.readline().rstrip("\n"))
        assert process.poll() is None, said
    export = next(line for line in said if line.startswith("export "))
    add = next(line for line in said if line.startswith("echo "))
    name, _, value = export.removeprefix("export ").partition("=")
    command.set(**{name: value})
    subprocess.run(["sh", "-c", add], check=True, capture_output=True)
    assert command("sync").code == 0
    assert connection.execute("SELECT subject FROM mail.live_messages").fetchone() == ("Lunch",)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.communicate()


def test_the_sandbox_can_say_it_in_json(bare: Command) -> None:
    process = bare.start("sandbox", "--accounts", "2", "--messages", "3", "--service", "imap", "--json")
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    assert [(a["id"], a["service"], a["messages"]) for a in facts["accounts"]] == [(1001, "imap", 3), (1002, "imap", 3)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert process.communicate() == ("", "")
