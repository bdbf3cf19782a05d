"""`mailmirror web` as a person starts it: where it says it is, what it refuses, how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.web.serving import Client

pytestmark = pytest.mark.server


def environment(database: str, **more: str) -> dict[str, str]:
    ours = {name: text for name, text in os.environ.items() if not name.startswith(("MAILMIRROR_", "REDIS_URL"))}
    return ours | {"DATABASE_URL": database} | more


def start(database: str, *arguments: str, **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "web", *arguments],
        env=environment(database, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_when_asked(database: str, end: signal.Signals) -> None:
    process = start(database, "--port", "0")
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.fullmatch(r"The page is at http://127\.0\.0\.1:(\d+)/ until Ctrl-C\. It is read-only\.\n", said)
    assert found, (said, process.communicate())
    client = Client(int(found[1]))
    assert client.get("/").code == 200
    assert client.get("/readyz").code == 200
    process.send_signal(end)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "Stopped.\n")


def refused(database: str, *arguments: str, **more: str) -> str:
    process = start(database, *arguments, **more)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert len(err.splitlines()) == 1
    return err


def test_what_it_refuses_is_one_sentence() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    said = refused(nowhere, "--host", "0.0.0.0", "--port", "0")
    assert said.startswith("Everybody who reaches 0.0.0.0 could read the page. Set MAILMIRROR_WEB_TOKEN")
    short = "canary-short-token"
    said = refused(nowhere, "--port", "0", MAILMIRROR_WEB_TOKEN=short)
    assert said == "MAILMIRROR_WEB_TOKEN must have at least 20 characters.\n"
    said = refused(nowhere, "--port", "0", REDIS_URL="redis://host:canary/0")
    assert said == "REDIS_URL cannot be read. It must look like redis://host:6379/0.\n"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(nowhere, "--port", str(port))
    assert said.startswith(f"127.0.0.1:{port} cannot be listened on (Address already in use).")
