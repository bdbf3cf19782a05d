"""The Celery processes of a stack: their command lines, and the children of a prefork worker.

Celery itself is never imported here: it is run, as in production.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGQUIT, SIGTERM

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Workers:
    """One worker process: its name, the queues it serves and how many children it has."""

    name: str
    queues: str
    concurrency: int


BOTH_QUEUES = (Workers("live", "live", 2), Workers("backfill", "backfill", 2))
"""Each queue has children of its own: a long backfill never holds the last one."""

BEAT_SIGNALS = ((SIGTERM, 5.0), (SIGKILL, 5.0))


def worker_signals(patience: float) -> Sequence[tuple[int, float]]:
    """Warm shutdown, cold shutdown (tasks go back to the queue), the end; `patience` is for the first, in seconds."""
    return ((SIGTERM, patience), (SIGQUIT, 10.0), (SIGKILL, 5.0))


def worker_command(app: str, workers: Workers) -> list[str]:
    """Return the command line of a worker."""
    options = ["--queues", workers.queues, "--concurrency", str(workers.concurrency), "--pool", "prefork"]
    # One machine, nobody to get to know: both would only delay the start.
    options += ["--without-gossip", "--without-mingle", "--hostname", f"{workers.name}@%h", "--loglevel", "INFO"]
    # A backfill may last; a look at what has changed may not, so it gets the processors first.
    nice = shutil.which("nice") if workers.queues == "backfill" else None
    return [*([nice, "-n", "10"] if nice else []), *_celery(app), "worker", *options]


def beat_command(app: str, folder: Path) -> list[str]:
    """Return the command line of beat; its files lie in `folder`."""
    return [*_celery(app), "beat", "--schedule", str(folder / "schedule"), "--loglevel", "INFO"]


def _celery(app: str) -> list[str]:
    return [sys.executable, "-m", "celery", "--app", app]


def children_of(pid: int) -> list[int]:
    """List the child processes of a process, the one that has worked most first."""
    if not (_PROC / "self" / "stat").exists():
        return _children_by_ps(pid)
    worked = sorted(((ticks, child) for child, parent, ticks in _processes() if parent == pid), reverse=True)
    return [child for _, child in worked]


def _processes() -> Iterator[tuple[int, int, int]]:
    """Give pid, parent's pid and processor time of every process."""
    for folder in _PROC.glob("[0-9]*"):
        try:
            # The second field is a name in brackets that may hold anything.
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if fields[0] != "Z":
            yield int(folder.name), int(fields[1]), int(fields[11]) + int(fields[12])


def _children_by_ps(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout  # noqa: S607  # POSIX promises it
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]
