"""`mailmirror demo` tells its story and ends by itself, and leaves nothing behind, however it ends."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.acceptance.stage import ROOT

SMALL = ("--messages", "300", "--accounts", "2", "--seconds", "6")
PATIENCE = 150.0
"""Seconds for a whole demo; only a broken promise takes that long."""
END_SECONDS = 40.0
"""Seconds within which a demo that is told to end has ended: five of them are the tasks', the rest a slow machine's."""
MARK = "MAILMIRROR_TEST_MARK"


@dataclass
class Demo:
    """A demo in a process of its own, and whatever it has started."""

    process: subprocess.Popen[str]
    temporary: Path
    mark: str
    family: dict[int, psutil.Process] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    logins: set[tuple[str, str | None]] = field(default_factory=set)
    """As whom Celery's processes connect to Postgres, and what they know of its owner."""

    def look(self) -> None:
        """Remember every process below the demo, and the temporary folders they work in."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self.family.setdefault(child.pid, child)
        for child in list(self.family.values()):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if "celery" in child.cmdline():
                    told = child.environ()
                    user = told["DATABASE_URL"].partition("://")[2].partition(":")[0]
                    self.logins.add((user, told.get("MAILMIRROR_OWNER_URL")))
                for text in (child.cwd(), *child.cmdline()):
                    if (found := Path(text)).name != "" and "mailmirror-" in text:
                        self.folders.add(found)

    def watch_until(self, line: str, text: "Output") -> None:
        """Look on until the demo has said something."""
        until = time.monotonic() + PATIENCE
        while line not in text.read():
            assert self.process.poll() is None, text.read()
            assert time.monotonic() < until, f"it never said {line!r}:\n{text.read()}"
            self.look()
            time.sleep(0.05)

    def wait(self, patience: float) -> int:
        """Look on until it has ended; returns its exit code."""
        until = time.monotonic() + patience
        while self.process.poll() is None:
            assert time.monotonic() < until, f"it has not ended after {patience:.0f} s"
            self.look()
            time.sleep(0.05)
        return int(self.process.returncode)

    def must_have_left_nothing(self) -> None:
        """Fail when a process or a file is left; what it does not end itself ends by itself soon after."""
        assert len(self.family) > 10, "Postgres, Valkey, workers and beat are more than that"
        until = time.monotonic() + END_SECONDS
        while left := [process for process in self.family.values() if process.is_running() and not _zombie(process)]:
            assert time.monotonic() < until, left
            time.sleep(0.05)
        assert [process for process in psutil.process_iter() if _marked(process, self.mark)] == []
        assert list(self.temporary.iterdir()) == []
        assert self.folders, "none was seen"
        assert [folder for folder in self.folders if folder.exists()] == []


@dataclass(frozen=True)
class Output:
    """What a process writes into files."""

    out: Path
    err: Path

    def read(self) -> str:
        return self.out.read_text() + self.err.read_text()


def _zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark and not _zombie(process)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@contextmanager
def demo(folder: Path, *arguments: str, stdout: int | None = None) -> Iterator[tuple[Demo, Output]]:
    """Start a demo without a terminal; it is killed at the end if it still runs."""
    temporary, output, mark = folder / "temporary", Output(folder / "out", folder / "err"), uuid.uuid4().hex
    temporary.mkdir()
    kept = {name: text for name, text in os.environ.items()
            if not name.startswith(("MAILMIRROR_", "DATABASE_URL", "REDIS_URL"))}  # fmt: skip
    with output.out.open("w") as out, output.err.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "demo", *arguments],
            cwd=ROOT, env={**kept, "TMPDIR": str(temporary), MARK: mark}, text=True,
            stdin=subprocess.DEVNULL, stdout=out if stdout is None else stdout, stderr=err,
        )  # fmt: skip
    try:
        yield Demo(process, temporary, mark), output
    finally:
        process.kill()
        process.wait()


def test_the_demo_proves_its_mirrors_equal_and_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, *SMALL) as (story, output):
        assert story.wait(PATIENCE) == 0, output.read()
        story.must_have_left_nothing()
        told = output.out.read_text()
        assert told.count("equal, field by field") == 2
        assert "NOT" not in told
        assert told.count("?\n") == 3, "it asks three questions"
        assert re.search(r"How the accounts stand, as long as this runs: http://127\.0\.0\.1:\d+/\n", told)
        assert " web (http://127.0.0.1:8025/)" in told
        assert story.logins == {("mailmirror_worker", None)}
        assert "(SIGKILL)" in output.err.read_text()
        assert "503" in output.err.read_text()
        assert "Traceback" not in output.read()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda how: how.name)
def test_a_demo_that_is_ended_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    with demo(tmp_path, "--messages", "300", "--accounts", "1", "--seconds", "600") as (story, output):
        story.watch_until("are starting", output)
        # SIGHUP comes when everything runs, the others while workers are still starting.
        time.sleep(3.5 if how is signal.SIGHUP else 0.5)
        story.look()
        story.process.send_signal(how)
        assert story.wait(END_SECONDS) != 0
        story.must_have_left_nothing()
        assert "Traceback" not in output.read()


def test_a_demo_whose_reader_goes_away_ends_and_leaves_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with demo(tmp_path, *SMALL, stdout=writing) as (story, output):
        os.close(writing)
        with os.fdopen(reading) as reader:
            assert "messages of" in reader.readline()
        # What `head -1` does after its line.
        assert story.wait(PATIENCE) in {0, 1, 128 + signal.SIGPIPE}
        story.must_have_left_nothing()
        assert "Traceback" not in output.read()


def test_a_wrong_mailbox_file_is_one_sentence(tmp_path: Path) -> None:
    with demo(tmp_path, "--mbox", str(tmp_path / "nowhere.mbox")) as (story, output):
        assert story.wait(PATIENCE) == 2
        said = output.err.read_text().strip()
        assert said.count("\n") == 0, said
        assert "nowhere.mbox" in said
        assert output.out.read_text() == ""
        assert list(story.temporary.iterdir()) == []
