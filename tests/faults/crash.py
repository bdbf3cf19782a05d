"""Runs of `Mirror.sync` in forked children that are killed at a numbered step, or at a numbered line of our code.

A step is a point before each SQL statement, COPY, commit and rollback, before each HTTP request is sent, after its
head has come, and after its body was read. With one window and one message at a time the steps of a run follow one
another as in the run before, so that a number says where it was killed. Lines are those of `worker`, counted as they
are executed in any thread; two runs differ by a few.

    server, one for many runs:   python -m tests.faults.crash
    asked, one line of JSON:     {"settings": {variable: text}, "account": 7, "kill_at": 12, "unit": "step"}
                                 (kill_at 0: let it run)
    answered, one line of JSON:  {"steps": 12, "last": "commit", "killed": true, "fresh": []}

The server imports everything once and forks for each run; a child makes its own connections.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import IO, Any, Literal

import httpx
import psycopg

from worker.bootstrap import Mirror
from worker.config import from_environment

ROOT = Path(__file__).resolve().parents[2]
OURS = str(ROOT / "worker") + os.sep
Unit = Literal["step", "line"]


class Steps:
    """Counts steps, and ends this process at one of them as a power cut would."""

    def __init__(self, kill_at: int, tell: int) -> None:
        self._kill_at = kill_at
        self._tell = tell
        self._lock = threading.Lock()
        self._seen: set[object] = set()
        self.count = 0
        self.fresh: list[int] = []
        """Numbers of the steps that were the first of their kind."""

    def pass_by(self, what: Callable[[], str], kind: object = None) -> None:
        """Note that the process is about to do this."""
        with self._lock:
            self.count += 1
            if kind not in self._seen:
                self._seen.add(kind)
                self.fresh.append(self.count)
            if self.count == self._kill_at:
                self.tell(what())
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()

    def tell(self, last: str) -> None:
        """Leave word of how far this process has come."""
        os.pwrite(self._tell, json.dumps({"steps": self.count, "last": last[:60], "fresh": self.fresh}).encode(), 0)


def count_steps(steps: Steps) -> None:
    """Wrap what talks to Postgres and to the upstream, for the rest of this process's life."""

    def before(owner: type, name: str, what: Callable[..., str]) -> None:
        inner = getattr(owner, name)

        def wrapped(self: Any, *arguments: Any, **more: Any) -> Any:
            steps.pass_by(lambda: what(*arguments))
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
        steps.pass_by(lambda: f"http send {request.url.path}")
        response = send(self, request)
        steps.pass_by(lambda: "http head")
        return response

    httpx.HTTPTransport.handle_request = sent  # type: ignore[method-assign]  # what a wrapper is


def count_lines(lines: Steps) -> None:
    """Count every line of ours that any thread of this process executes from now on."""

    def passed(code: CodeType, line: int) -> None:
        lines.pass_by(lambda: f"{code.co_filename.removeprefix(OURS)}:{line}", (code, line))

    if sys.version_info >= (3, 12):
        events = sys.monitoring

        def reached(code: CodeType, line: int) -> object:
            return passed(code, line) if code.co_filename.startswith(OURS) else events.DISABLE

        events.use_tool_id(events.COVERAGE_ID, "crash")
        events.register_callback(events.COVERAGE_ID, events.events.LINE, reached)
        events.set_events(events.COVERAGE_ID, events.events.LINE)
        return

    def traced(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            passed(frame.f_code, frame.f_lineno)
        return traced

    threading.settrace(traced)
    sys.settrace(traced)


def run(settings: dict[str, str], account: int, kill_at: int, unit: Unit, tell: int) -> None:
    """Sync the account to its rest in this process, counting its steps or lines."""
    mirror = Mirror.open(from_environment({**os.environ, **settings}))
    steps = Steps(kill_at, tell)
    (count_steps if unit == "step" else count_lines)(steps)
    try:
        mirror.sync(account, stop=lambda: False)
    finally:
        steps.tell("the end")


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
            told = json.loads(os.pread(noted.fileno(), 1 << 20, 0) or b"{}")
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            answer.write(json.dumps({"killed": killed, "code": status, **told}) + "\n")
            answer.flush()


def _child(task: dict[str, Any], tell: int) -> None:
    code = 1
    try:
        run(task["settings"], task["account"], task["kill_at"], task["unit"], tell)
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
    fresh: Sequence[int]


class Forks:
    """The server, seen from a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def sync(self, settings: dict[str, str], account: int, kill_at: int = 0, unit: Unit = "step") -> Died:
        """Sync in a child that is killed at a step; fails when the child ends in any other way than it should."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        task = {"settings": settings, "account": account, "kill_at": kill_at, "unit": unit}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        assert told["killed"] or told["code"] == 0, f"the run failed by itself: {told}"
        return Died(told["steps"], told["last"], told["killed"], told["fresh"])


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
