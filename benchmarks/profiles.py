"""Part `profiles`: where the time of one commit and of one idle poll goes, and what a message takes on disk.

The clock of the process' own CPU interrupts it every few milliseconds, and the stack is noted: unlike a tracing
profiler this does not make small functions look dear. A sample belongs to the innermost function of the worker.
"""

import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg

from benchmarks import server
from benchmarks.frame import Cost, Meter, Spread
from benchmarks.idle import Idle
from benchmarks.report import Row
from benchmarks.store import Bench
from benchmarks.upstream import decoded, one_mailbox, upstream
from tests.acceptance.stage import Mirrored
from worker.local.postgres import RunningPostgres
from worker.store import accounts
from worker.store.engine import connect

EVERY = 0.001
MESSAGES = 3000
LOADS = 8
POLLS = 500
SHOWN = 12
OURS = Path(__file__).resolve().parents[1] / "worker"
SIZES = """
    select c.relname, pg_total_relation_size(c.oid)::float8 from pg_class c join pg_namespace n on n.oid = relnamespace
    where nspname = 'mail' and relkind = 'r' order by 2 desc
"""


class Samples:
    """Stacks, counted by the worker's function and the library it was in."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take samples for the length of a with block."""
        before = signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def _note(self, _signal: int, frame: FrameType | None) -> None:
        library = "" if frame is None else _library(frame)
        while frame is not None and not frame.f_code.co_filename.startswith(str(OURS)):
            frame = frame.f_back
        if frame is not None:  # else it was the bench itself
            self.counted[_name(frame), library] += 1

    def shares(self) -> list[tuple[str, str, float]]:
        """Function, library and share of all, the most first; what is left out comes last as one line."""
        total = self.counted.total()
        found = [(name, library, count / total) for (name, library), count in self.counted.most_common(SHOWN)]
        return [*found, ("everything else", "", 1 - sum(share for *_, share in found))]


def _library(frame: FrameType) -> str:
    """The package a frame is of: what a function of ours spends in itself is Python, or C called from it."""
    parts = Path(frame.f_code.co_filename).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "" if frame.f_code.co_filename.startswith(str(OURS)) else "Python's own"


def _name(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename).relative_to(OURS).with_suffix("")
    return f"{'.'.join(path.parts)}.{frame.f_code.co_qualname}"


def run(rounds: int = 1) -> list[Row]:
    """Take both profiles."""
    return [*_commits(LOADS * rounds), _idle(POLLS * rounds)]


def _commits(loads: int) -> list[Row]:
    with one_mailbox(MESSAGES) as box:
        batches = decoded(box)
    with server.running() as postgres:
        url = server.database(postgres, "bench")
        engine = connect(url)
        account = accounts.add(engine, kind="kloudless", upstream_id="1")
        with psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as console:
            bench = Bench(engine, writer, console, account.id, batches)
            samples, costs = Samples(), []
            for number in range(loads + 1):
                bench.empty()
                if number:
                    costs.append(_measured(postgres, lambda: bench.commit(batches), samples))
                else:
                    bench.commit(batches)
            bench.close()
            sizes: dict[str, float] = dict(console.execute(SIZES).fetchall())
        engine.dispose()
    count = loads * len(batches)
    bytes_each = {name: round(size / MESSAGES) for name, size in sizes.items() if size > MESSAGES}
    return [
        _row(f"commit of {len(batches[0])} new messages, CPU", costs, count, samples),
        Row(
            part="profiles",
            what="disk a message, tables and indexes",
            value=Spread.of([sum(sizes.values()) / MESSAGES]),
            unit="B",
            details={"tables": bytes_each, "json": 8150},
        ),
    ]


def _idle(polls: int) -> Row:
    with (
        tempfile.TemporaryDirectory() as folder,
        server.running() as postgres,
        upstream("--messages", "300") as sandbox,
    ):
        url = server.database(postgres, "bench")
        mirrored = Mirrored(url, sandbox.served()[0], Path(folder))
        try:
            mirrored.sync(60)
            with psycopg.connect(url, autocommit=True) as console:
                console.execute("vacuum analyze")
                idle, samples = Idle(mirrored, console), Samples()
                idle.polls(50)
                cost = _measured(postgres, lambda: idle.polls(polls), samples)
                # Making it due is no part of a poll.
                cost -= _measured(postgres, lambda: idle.dues(polls), Samples())
        finally:
            mirrored.close()
    return _row("idle poll, CPU", [cost], polls, samples)


def _measured(postgres: RunningPostgres, work: Callable[[], object], samples: Samples) -> Cost:
    def sampled() -> None:
        with samples.taken():
            work()

    return Meter(postgres.pid).measure(sampled)


def _row(what: str, costs: list[Cost], count: int, samples: Samples) -> Row:
    each = count / len(costs)
    details: dict[str, Any] = {
        "client_ms": round(sum(c.client for c in costs) / count * 1e3, 3),
        "server_ms": round(sum(c.server for c in costs) / count * 1e3, 3),
        "wall_ms": round(sum(c.wall for c in costs) / count * 1e3, 3),
        "samples": samples.counted.total(),
        "where": samples.shares(),
    }
    value = Spread.of(c.cpu / each * 1e3 for c in costs)
    return Row(part="profiles", what=what, value=value, unit="ms", note="worker and Postgres", details=details)
