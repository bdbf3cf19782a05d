"""Runs of `Mirror.sync` in forked children that are killed at a numbered step.

A step is a point before each SQL statement, COPY, commit and rollback, before each HTTP request is sent, after its
head has come, and after its body was read. With one window and one message at a time the steps of a run follow one
another as in the run before, so that a number says where it was killed.

    server, one for many runs:   python -m tests.faults.crash
    asked, one line of JSON:     {"settings": {variable: text}, "account": 7, "kill_at": 12}   (0: let it run)
    answered, one line of JSON:  {"steps": 12, "last": "commit", "killed": true}

The server imports everything once and forks for each run; a child makes its own connections.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import psycopg

from worker.bootstrap import Mirror
from worker.config import from_environment

ROOT = Path(__file__).resolve().parents[2]


class Steps:
    """Counts steps, and ends this process at one of them as a power cut would."""

    def __init__(self, kill_at: int, tell: int) -> None:
        self._kill_at = kill_at
        self._tell = tell
        self._lock = threading.Lock()
        self.count = 0

    def pass_by(self, what: str) -> None:
        """Note that the process is about to do this."""
        with self._lock:
            self.count += 1
            os.pwrite(self._tell, json.dumps({"steps": self.count, "last": what[:60]}).ljust(120).encode(), 0)
            if self.count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()


def count_steps(steps: Steps) -> None:
    """Wrap what talks to Postgres and to the upstream, for the rest of this process's life."""

    def before(owner: type, name: str, what: Callable[..., str]) -> None:
        inner = getattr(owner, name)

        def wrapped(self: Any, *arguments: Any, **more: Any) -> Any:
            steps.pass_by(what(*arguments))
            return inner(self, *arguments, **more)

        setattr(owner, name, wrapped)

    def words(statement: object = "", *_: object) -> str:
        return " ".join((statement.decode() if isinstance(statement, bytes) else str(statement)).split())

    before(psycopg.Cursor, "execute", words)
    before(psycopg.Cursor, "copy", words)
    before(psycopg.Connection, "commit", lambda: "commit")
    before(psycopg.Connection, "rollback", lambda: "rollback")
    before(httpx.Response, "close", lambda: "http body")
    send = httpx.HTTPTransport.handle_request

    def sent(self: Any, request: httpx.Request) -> httpx.Response:
        steps.pass_by(f"http send {request.url.path}")
        response = send(self, request)
        steps.pass_by("http head")
        return response

    httpx.HTTPTransport.handle_request = sent  # type: ignore[method-assign]  # what a wrapper is


def run(settings: dict[str, str], account: int, kill_at: int, tell: int) -> None:
    """Sync the account to its rest in this process, counting its steps."""
    mirror = Mirror.open(from_environment({**os.environ, **settings}))
    count_steps(Steps(kill_at, tell))
    mirror.sync(account, stop=lambda: False)


def serve(asked: IO[str], answer: IO[str]) -> None:
    """Fork for each line until there are no more."""
    with os.fdopen(os.memfd_create("steps"), "r+b", buffering=0) as noted:
        for line in asked:
            task = json.loads(line)
            noted.truncate(0)
            pid = os.fork()
            if pid == 0:
                _child(task, noted.fileno())
            _, status = os.waitpid(pid, 0)
            told = json.loads(os.pread(noted.fileno(), 4096, 0) or b"{}")
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            answer.write(json.dumps({"killed": killed, "code": status, **told}) + "\n")
            answer.flush()


def _child(task: dict[str, Any], tell: int) -> None:
    code = 1
    try:
        run(task["settings"], task["account"], task["kill_at"], tell)
        code = 0
    except BaseException:  # noqa: BLE001  # a forked child ends here whatever happens; its words go to the test's output
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


@dataclass(frozen=True)
class Died:
    """Where a child's run ended."""

    steps: int
    last: str
    killed: bool


class Forks:
    """The server, seen from a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def sync(self, settings: dict[str, str], account: int, kill_at: int = 0) -> Died:
        """Sync in a child that is killed at a step; fails when the child ends in any other way than it should."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"settings": settings, "account": account, "kill_at": kill_at}) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        assert told["killed"] or told["code"] == 0, f"the run failed by itself: {told}"
        return Died(told["steps"], told["last"], told["killed"])


@contextmanager
def forks() -> Iterator[Forks]:
    """Run the server for the length of a with block."""
    command = [sys.executable, "-m", "tests.faults.crash"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            yield Forks(process)
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(30)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
