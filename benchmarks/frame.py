"""Contestants in one run: short slices in turn, CPU of client and server, ratios to the reference of the same round.

A machine that others use too makes wall clocks lie and CPU times drift. Both contestants of a round meet the same
minute, so their ratio does not; the median over the rounds forgets the worst of them.
"""

import gc
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
SETTLE = 0.02
"""Seconds until a backend that was just left is reaped, and so counted."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU of this process and of the server, and of the clock."""

    client: float
    server: float
    wall: float

    @property
    def cpu(self) -> float:
        return self.client + self.server

    def __sub__(self, before: "Cost") -> "Cost":
        return Cost(self.client - before.client, self.server - before.server, self.wall - before.wall)


class Elsewhere(float):
    """What work that ran in another process says of its own CPU seconds; this process only waited for it."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads what has been used so far by this process and by a server with all its processes."""

    server: int | None
    """Process id of the server's first process; None counts the client alone."""

    def read(self) -> Cost:
        used = resource.getrusage(resource.RUSAGE_SELF)
        server = 0.0 if self.server is None else tree(self.server)
        return Cost(used.ru_utime + used.ru_stime, server, time.perf_counter())

    def measure(self, work: Callable[[], object]) -> Cost:
        gc.collect()
        gc.disable()
        try:
            before = self.read()
            said = work()
            after = self.read()
        finally:
            gc.enable()
        client = float(said) if isinstance(said, Elsewhere) else after.client - before.client
        if self.server is not None:
            time.sleep(SETTLE)
        return Cost(client, self.read().server - before.server, after.wall - before.wall)


def tree(pid: int) -> float:
    """Seconds of CPU of a process, its living children (to the nanosecond) and those that have ended."""
    stat = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    ended = (int(stat[13]) + int(stat[14])) * TICK
    children = (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()
    return ended + sum(map(_own, [str(pid), *children]))


def _own(pid: str) -> float:
    try:
        return int((PROC / pid / "schedstat").read_text().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended since; its parent counts it


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One way to do the work of a slice."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object]
    """Called before each slice, outside the measurement."""


def compete(meter: Meter, contestants: Sequence[Contestant], rounds: int) -> dict[str, list[Cost]]:
    """Let all contestants do their slice in each round, in another order each time; the first round is thrown away."""
    taken: dict[str, list[Cost]] = {one.name: [] for one in contestants}
    for number in range(rounds + 1):
        first = number % len(contestants)
        for one in (*contestants[first:], *contestants[:first]):
            one.prepare()
            cost = meter.measure(one.run)
            if number:
                taken[one.name].append(cost)
    return taken


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest value."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        known = sorted(values)
        return cls(statistics.median(known), known[0], known[-1])


def ratio(reference: Sequence[Cost], contestant: Sequence[Cost]) -> Spread:
    """How many times the contestant's CPU the reference took, round by round."""
    return Spread.of(r.cpu / c.cpu for r, c in zip(reference, contestant, strict=True))


def micros(costs: Sequence[Cost], units: int) -> dict[str, float]:
    """Median microseconds of CPU per unit of work."""
    return {
        "client_us": round(statistics.median(c.client for c in costs) / units * 1e6, 2),
        "server_us": round(statistics.median(c.server for c in costs) / units * 1e6, 2),
        "wall_us": round(statistics.median(c.wall for c in costs) / units * 1e6, 2),
    }
