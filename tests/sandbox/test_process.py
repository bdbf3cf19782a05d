"""The sandbox as a process of its own: one line when it is ready, a clean end, clear words on bad input."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from worker.sandbox import BadOption, SandboxError, SandboxOptions, running

COMMAND = [sys.executable, "-m", "worker.sandbox"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_cleanly(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "a.mbox").write_bytes(b"From a@b Thu Jan  4 10:00:00 2024\nSubject: one\n\nbody\n")
    command = [
        *COMMAND,
        "--mbox",
        str(tmp_path / "a.mbox"),
        "--accounts",
        "1",
        "--messages",
        "7",
        "--switch",
        "paging=offset",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        assert ready.keys() == {"url", "admin", "accounts", "api_key"}
        assert [(a["service"], a["address"], a["messages"]) for a in ready["accounts"]] == [
            ("gmail", "a@sandbox.example", 1),
            ("gmail", "user1002@sandbox.example", 7),
        ]
        headers = {"Authorization": f"Bearer {ready['accounts'][0]['token']}"}
        url = f"{ready['url']}/accounts/me/email/messages/?after=2024-01-01&before=2025-01-01"
        assert httpx.get(url, headers=headers, trust_env=False).json()["objects"][0]["subject"] == "one"
        assert httpx.get(f"{ready['admin']}/switches", trust_env=False).json()["paging"] == "offset"
        process.send_signal(how)
        rest, errors = process.communicate(timeout=20)
        assert (process.returncode, rest, errors) == (0, "", "")


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    for arguments, words in (
        (
            ["--mbox", str(tmp_path / "notes.pdf")],
            "is not an mbox, Maildir or .tar.gz of .eml files. Give a mailbox file.",
        ),
        (["--mbox", str(tmp_path / "missing.mbox")], "does not exist. Give the path of a mailbox file."),
        (["--service", "fax"], "fax is not a service."),
        (["--switch", "paging=sideways"], "No such switch or value"),
    ):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_a_taken_port_is_refused_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SandboxError, match="is taken"), running(SandboxOptions(port=taken.getsockname()[1])):
            pass


def test_options_are_checked() -> None:
    for wrong in ({"messages": -1}, {"services": ()}, {"days": 0}, {"live": -1}, {"port": 70_000}):
        with pytest.raises(BadOption):
            SandboxOptions(**wrong)


def test_it_listens_on_loopback_only(start: Any) -> None:
    sandbox = start()
    assert sandbox.url == f"http://127.0.0.1:{sandbox.port}/v1"
    host = socket.gethostbyname(socket.gethostname())
    if not host.startswith("127."):
        with pytest.raises(OSError), socket.create_connection((host, sandbox.port), timeout=1):
            pass


def test_a_live_mailbox_changes_by_itself(start: Any) -> None:
    sandbox = start(live=200.0)
    deadline = time.monotonic() + 10
    while sandbox.admin("/accounts/1001/log?limit=1")["length"] < 20:
        assert time.monotonic() < deadline
    kinds = {change["kind"] for change in sandbox.admin("/accounts/1001/log")["changes"]}
    assert kinds <= {"add", "update", "delete"}
