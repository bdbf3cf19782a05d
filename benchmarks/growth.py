"""Part `growth`: what 4,000 new messages cost a mirror of 0, of 200,000 and of 1,000,000 messages.

Three databases on one server, each with one account. The slices take turns; the new messages stay, but for the empty
mirror's, which is emptied before each. No checkpoint lies between, so that no page is logged whole because it is
touched for the first time; what that adds right after a checkpoint is told by rows of its own. Every batch goes
through `PostgresStore.commit`, as in part `store`. What fills the mirrors has no bodies: the indexes are the same.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from statistics import median

import psycopg
from msgspec.structs import replace

from benchmarks import fill, server
from benchmarks.frame import Contestant, Cost, Meter, compete, micros, ratio
from benchmarks.report import Row
from benchmarks.store import EMPTIED, Batches, Bench
from benchmarks.upstream import decoded, one_mailbox
from worker.local.postgres import RunningPostgres
from worker.records import Message
from worker.store import accounts
from worker.store.engine import connect

SIZES = tuple(int(float(os.environ.get("BENCH_GROWTH_SCALE", "1")) * size) for size in (0, 200_000, 1_000_000))
NEW = 4000
ROUNDS = 5
AFTER = 2
"""Rounds right after a checkpoint."""
MUST, AIM = 1.15, 1.08
NUMBERS = count(1)


class Grown:
    """A mirror of some size, and a slice of new messages for it."""

    def __init__(self, bench: Bench, template: Batches, *, empty: bool) -> None:
        self.bench = bench
        self._template = template
        self._empty = empty
        self._new: Batches = ()

    def prepare(self) -> None:
        """Have messages that the mirror does not know, and a fresh lease that knows nothing of it."""
        round_ = next(NUMBERS)
        self._new = [[anew(message, round_) for message in batch] for batch in self._template]
        self.bench.close()
        if self._empty:
            self.bench.admin(f"truncate {EMPTIED}")
        self.bench.open()

    def prepare_after_checkpoint(self) -> None:
        """The same, so that every page is logged whole when it is touched first."""
        self.prepare()
        self.bench.admin("checkpoint")

    def run(self) -> None:
        self.bench.commit(self._new)


def anew(message: Message, round_: int) -> Message:
    """The same message under another id, which sorts anywhere."""
    mixed = (hash((message.id, round_)) & 0xFFFFFFFFFFFFFFFF).to_bytes(8).hex()
    return replace(message, id=f"message_{mixed}{message.id[-8:]}")


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure the two rows."""
    with one_mailbox(NEW) as box:
        template = decoded(box)
    with server.running() as postgres, ExitStack() as stack:
        mirrors = {size: stack.enter_context(_mirror(postgres, size, template)) for size in SIZES}
        meter = Meter(postgres.pid)
        between = compete(meter, [_contestant(size, one, one.prepare) for size, one in mirrors.items()], rounds)
        after = [_contestant(size, one, one.prepare_after_checkpoint) for size, one in mirrors.items()]
        return [*_rows(between), *_rows(compete(meter, after, AFTER), " right after a checkpoint")]


def _contestant(size: int, mirror: Grown, prepare: Callable[[], object]) -> Contestant:
    return Contestant(name=str(size), prepare=prepare, run=mirror.run)


@contextmanager
def _mirror(postgres: RunningPostgres, size: int, template: Batches) -> Iterator[Grown]:
    url = server.database(postgres, f"mirror_{size}")
    engine = connect(url)
    account = accounts.add(engine, kind="kloudless", upstream_id="1")
    if size:
        fill.fill(url, account.id, size, template, bodies=False)
    with psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as console:
        grown = Grown(Bench(engine, writer, console, account.id, template), template, empty=not size)
        yield grown
        grown.bench.close()
    engine.dispose()


def _rows(costs: dict[str, list[Cost]], when: str = "") -> Iterator[Row]:
    for size in SIZES[1:]:
        yield Row(
            part="growth",
            what=f"{NEW:,} new messages into a mirror of {size:,}{when}: CPU against an empty one",
            value=ratio(costs[str(size)], costs["0"]),
            must=None if when else MUST,
            aim=None if when else AIM,
            less_is_better=True,
            details={
                "by_size": {name: micros(taken, NEW) for name, taken in costs.items()},
                "messages_per_cpu_second": {
                    name: round(NEW / median(one.cpu for one in taken)) for name, taken in costs.items()
                },
            },
        )
