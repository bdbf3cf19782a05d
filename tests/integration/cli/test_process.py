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
    for arguments in (("config",), ("status", "--json"), ("--help",)):
        process = command.start(*arguments)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(60)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()


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
    while not said or said[-1] != "mailmirror sync":
        said.append(process.stdout.readline().rstrip("\n"))
        assert process.poll() is None, said
    export = next(line for line in said if line.startswith("export "))
    add = next(line for line in said if line.startswith("echo "))
    name, _, value = export.removeprefix("export ").partition("=")
    command.set(**{name: value})
    tool = f'mailmirror() {{ {sys.executable} -m worker "$@"; }}\n'
    subprocess.run(["sh", "-c", tool + add], check=True, capture_output=True)
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
