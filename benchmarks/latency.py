"""Part `latency`: windows of one account walked side by side, under its one lease, when each answer takes 100 ms.

Wall clock: the worker sleeps most of the time. What is compared is messages per second in the middle of a first
backfill; its first steps (a head, a width found by trying) and its end, where fewer windows are left than could be
walked, are left out. Pages come from `benchmarks.shelf`.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import server
from benchmarks.frame import Spread
from benchmarks.report import Row
from benchmarks.store import EMPTIED
from benchmarks.upstream import upstream
from tests.acceptance.stage import Mailbox, Mirrored
from worker.sync.run import Totals

MESSAGES = int(os.environ.get("BENCH_LATENCY_MESSAGES", "60000"))
DELAY = 0.1
SECONDS, LONG = 5.0, 8.0
"""Of each run, unless it ends before; the longer where the part was asked for."""
ROUNDS = 3
WINDOWS = (1, 2, 4, 8, 16)
COMPARED = (1, 8)
FROM = 2500
"""Messages read before the clock starts."""
UNTIL = 0.75
"""The part of the mailbox after which it stops."""


class Course:
    """Notes how far a run is, commit by commit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.marks: list[tuple[float, int]] = []

    def note(self, totals: Totals) -> None:
        self.marks.append((time.monotonic(), totals.read))

    def over(self) -> bool:
        """Whether enough was seen."""
        if not self.marks:
            return False
        began = next((at for at, read in self.marks if read >= FROM), None)
        return self.marks[-1][1] >= UNTIL * MESSAGES or (began is not None and time.monotonic() - began > self._seconds)

    def rate(self) -> float:
        """Messages per second."""
        inside = [(at, read) for at, read in self.marks if FROM <= read <= UNTIL * MESSAGES]
        (began, first), (ended, last) = inside[0], inside[-1]
        return (last - first) / (ended - began)


class Distant:
    """One mailbox far away."""

    def __init__(self, url: str, box: Mailbox, folder: Path, console: psycopg.Connection[Any], seconds: float) -> None:
        self._seconds = seconds
        self._mirrored = Mirrored(url, box, folder)
        self._console = console

    def rate(self, windows: int) -> float:
        """Messages per second of a backfill with so many windows side by side, from nothing."""
        for statement in (f"truncate {EMPTIED}", "vacuum analyze", "checkpoint"):
            self._console.execute(statement.encode())
        self._mirrored.with_settings(parallel_windows=windows)
        course = Course(self._seconds)
        self._mirrored.mirror.sync(self._mirrored.id, stop=course.over, observe=course.note)
        return course.rate()

    def close(self) -> None:
        self._mirrored.close()


@contextmanager
def distant(seconds: float = SECONDS) -> Iterator[Distant]:
    """Serve one mailbox with `DELAY` before each answer."""
    arguments = ("--delay", str(DELAY), "--accounts", "1", "--messages", str(MESSAGES), "--service", "outlook_email")
    with (
        tempfile.TemporaryDirectory() as folder,
        server.running() as postgres,
        upstream(*arguments, module="benchmarks.shelf") as api,
        psycopg.connect(url := server.database(postgres, "bench"), autocommit=True) as console,
    ):
        one = Distant(url, api.served()[0], Path(folder), console, seconds)
        try:
            yield one
        finally:
            one.close()


def alone(rounds: int = ROUNDS) -> list[Row]:
    """Measure with longer runs."""
    return run(rounds, LONG)


def run(rounds: int = ROUNDS, seconds: float = SECONDS) -> list[Row]:
    """Measure one row; the other counts of windows are for the plot."""
    with distant(seconds) as box:
        box.rate(max(COMPARED))
        pairs = [tuple(box.rate(windows) for windows in COMPARED) for _ in range(rounds)]
        rates = {windows: [box.rate(windows)] for windows in WINDOWS if windows not in COMPARED}
    rates |= {windows: list(found) for windows, found in zip(COMPARED, zip(*pairs, strict=True), strict=True)}
    plot = {windows: round(Spread.of(rates[windows]).median) for windows in WINDOWS}
    return [
        Row(
            part="latency",
            what="8 windows of one account against one chain, 100 ms per answer",
            value=Spread.of(eight / one for one, eight in pairs),
            must=6.0,
            aim=7.5,
            note="wall clock, {:.0f} s in the middle of a backfill: {:,} and {:,} messages/s".format(
                seconds, *(plot[w] for w in COMPARED)
            ),
            details={"messages_per_second": plot, "delay": DELAY, "page": 100},
        )
    ]
