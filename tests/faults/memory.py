"""Samples of the memory that processes hold, and whether it grows."""

import contextlib
import csv
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.acceptance.workers.fleet import Process


class Memory:
    """Samples of what the worker processes hold."""

    def __init__(self, processes: Callable[[], dict[str, Process]]) -> None:
        self._processes = processes
        self._began = time.monotonic()
        self.samples: list[tuple[float, str, int, float]] = []
        """Seconds, role, pid, megabytes."""

    def take(self) -> None:
        at = round(time.monotonic() - self._began, 1)
        for role, process in self._processes().items():
            with contextlib.suppress(psutil.NoSuchProcess):
                own = psutil.Process(process.pid)
                for one in (own, *own.children()):
                    self.samples.append((at, role, one.pid, round(one.memory_info().rss / 1e6, 2)))

    def of(self, pid: int, since: float) -> list[tuple[float, float]]:
        return [(at, held) for at, _, one, held in self.samples if one == pid and at >= since]

    def save(self, path: Path) -> None:
        with path.open("w", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(("seconds", "role", "pid", "megabytes"))
            writer.writerows(self.samples)


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Megabytes a second: the median over all pairs of samples, so that an answer that was large for a moment is none.

    Theil and Sen's estimate.
    """
    pairs = itertools.combinations(samples, 2)
    return statistics.median((later[1] - early[1]) / (later[0] - early[0]) for early, later in pairs if later > early)
