"""Part `workers`: two worker processes against one, with accounts of their own, on one Postgres.

Wall clock, at full CPU: two share the two cores with Postgres, so this says what a second worker adds where the CPU is
the limit. Pages come from `benchmarks.shelf`, which takes a few microseconds a message of its own.
"""

import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg

from benchmarks import crew, server, shelf
from benchmarks.frame import Contestant, Cost, Elsewhere, Meter, Spread, compete, tree
from benchmarks.report import Row
from benchmarks.store import EMPTIED
from benchmarks.upstream import upstream
from tests.acceptance.stage import Mirrored, settings_for

ACCOUNTS = 4
MESSAGES = int(os.environ.get("BENCH_WORKERS_MESSAGES", "6000"))
"""In each account."""
FEW, ROUNDS = 3, 5
"""Rounds among all parts, and where the part was asked for."""
NOTE = "wall clock; pages packed beforehand, by a server that takes {:.0f} µs of CPU a message of the same two cores"


class Crew:
    """Two worker processes, and the accounts that one or both of them mirror."""

    def __init__(self, members: Sequence[crew.Member], ids: Sequence[int], expected: int) -> None:
        self._members = members
        self._ids = ids
        self._expected = expected

    def work(self, count: int) -> Elsewhere:
        """Mirror all accounts with so many processes."""
        shares = [self._ids[number::count] for number in range(count)]
        for one, share in zip(self._members, shares, strict=False):
            one.begin(share)
        results = [one.result() for one in self._members[:count]]
        read = sum(messages for _, messages in results)
        if read < self._expected:
            raise SystemExit(f"Only {read} of {self._expected} messages were mirrored in the time given.")
        return Elsewhere(sum(cpu for cpu, _ in results))


def alone(rounds: int = ROUNDS) -> list[Row]:
    """Measure in more rounds."""
    return run(rounds)


def run(rounds: int = FEW) -> list[Row]:
    """Measure one row."""
    arguments = ("--accounts", str(ACCOUNTS), "--messages", str(MESSAGES), "--service", "outlook_email")
    with (
        tempfile.TemporaryDirectory() as folder,
        server.running() as postgres,
        upstream(*arguments, module="benchmarks.shelf") as api,
        psycopg.connect(url := server.database(postgres, "bench"), autocommit=True) as console,
    ):
        settings = settings_for(url, api.url, Path(folder))
        opened = [Mirrored(url, box, Path(folder)) for box in api.served()]
        for one in opened:
            one.close()
        ids = [one.id for one in opened]

        def empty() -> None:
            for statement in (f"truncate {EMPTIED}", "vacuum analyze", "checkpoint"):
                console.execute(statement.encode())

        with crew.member(settings) as first, crew.member(settings) as second:
            both = Crew([first, second], ids, ACCOUNTS * MESSAGES)
            before = tree(shelf.process().pid)
            costs = compete(
                Meter(postgres.pid),
                [
                    Contestant(name="one", prepare=empty, run=lambda: both.work(1)),
                    Contestant(name="two", prepare=empty, run=lambda: both.work(2)),
                ],
                rounds,
            )
            taken = tree(shelf.process().pid) - before
    return [_row(costs["one"], costs["two"], taken / (2 * (rounds + 1) * ACCOUNTS * MESSAGES))]


def _row(one: Sequence[Cost], two: Sequence[Cost], serving: float) -> Row:
    total = ACCOUNTS * MESSAGES
    details = {
        name: {
            "messages_per_second": round(total / statistics.median(c.wall for c in costs)),
            "client_us": round(statistics.median(c.client for c in costs) / total * 1e6, 1),
            "server_us": round(statistics.median(c.server for c in costs) / total * 1e6, 1),
            "cores": round(statistics.median(c.cpu / c.wall for c in costs), 2),
        }
        for name, costs in (("one", one), ("two", two))
    }
    return Row(
        part="workers",
        what="two worker processes against one",
        value=Spread.of(a.wall / b.wall for a, b in zip(one, two, strict=True)),
        must=1.6,
        aim=1.8,
        note=NOTE.format(serving * 1e6),
        details=details,
    )
