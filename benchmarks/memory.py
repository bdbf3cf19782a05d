"""Part `memory`: what a worker process takes, where its mirror is large, where mail is, and after many jobs.

The process is a child of a real `celery worker`; jobs come to it through a real Valkey, one at a time. Peaks are the
kernel's own (VmHWM).
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from celery import Celery

from benchmarks import fill, server
from benchmarks.frame import Spread
from benchmarks.large import LARGE, Scene, scenes
from benchmarks.report import Row
from benchmarks.scene import READY
from benchmarks.upstream import decoded, one_mailbox, upstream
from tests.acceptance.workers.fleet import Fleet, Process, running, wait_until
from worker.local.postgres import RunningPostgres
from worker.local.valkey import RunningValkey, start_valkey
from worker.records import Queue

MIRROR = int(os.environ.get("BENCH_MEMORY_MIRROR", "1000000"))
FEW, JOBS = 1000, int(os.environ.get("BENCH_MEMORY_JOBS", "2000"))
"""Among all parts, and where the part was asked for."""
HISTORY = 20_000
"""Messages that the large account has still to fetch."""
SMALL = 20
"""Accounts besides, with a few messages each."""
TEMPLATE = 2000
WARM_UP = 5
"""Hundreds of jobs after which the process should grow no more."""
PATIENCE = 180.0
KEPT = ("--max-tasks-per-child", "1000000", "--max-memory-per-child", "8000000")
"""The one process is to be watched for long, so it is not replaced."""
LEDGER = """
delete from sync.windows where account_id = {account} and (before is null or before > '{until}' or after < '{since}');
insert into sync.windows (account_id, after, before, state, walked_at, next_walk_at) values
    ({account}, sync.today(), null, 'done', sync.now(), sync.now()),
    ({account}, '{until}', sync.today(), 'done', sync.now(), '2100-01-01'),
    ({account}, '0001-01-01', '{since}', 'open', null, null)
""".replace("sync.today()", "date_trunc('day', sync.now())")


class Watched:
    """One worker process with a queue of its own, job by job."""

    def __init__(self, fleet: Fleet, process: Process) -> None:
        self._fleet = fleet
        self._sender = Celery(broker=fleet.redis_url)
        self._queue = redis.Redis.from_url(fleet.redis_url)
        self._queue.flushdb()
        # Before that its children may be others, which are gone at once.
        wait_until(lambda: READY in process.log.read_text(errors="replace"), "the worker to be ready", PATIENCE)
        self._pid = process.children()[0].pid

    def work(self, queue: Queue, accounts: Sequence[int]) -> None:
        """Give it a job for each account, and wait until all are done."""
        self._fleet.sql("update sync.accounts set next_due_at = sync.now(), backfill_due_at = sync.now()")
        for account in accounts:
            self._sender.send_task("mailmirror.sync_account", (account,), queue=queue, ignore_result=True)
        wait_until(self._is_done, f"{len(accounts)} jobs", PATIENCE)

    def _is_done(self) -> bool:
        """Whether nothing is queued and nothing at work; a job is in neither place for a moment while it is taken."""
        for _ in range(3):
            if self._queue.llen("live") or self._queue.llen("backfill") or self._queue.hlen("unacked"):
                return False
            time.sleep(0.01)
        return True

    def megabytes(self, name: str) -> float:
        """VmHWM, the peak, or VmRSS, what it has now."""
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6


@contextmanager
def watched(fleet: Fleet) -> Iterator[Watched]:
    """Have a worker process for the length of a with block."""
    process = fleet.worker("live,backfill", *KEPT, concurrency=1)
    try:
        yield Watched(fleet, process)
    finally:
        process.stop()


def alone(rounds: int = 1) -> list[Row]:
    """Measure over more jobs."""
    return run(rounds, JOBS)


def run(rounds: int = 1, jobs: int = FEW) -> list[Row]:  # noqa: ARG001  # a peak needs no rounds
    """Measure the rows."""
    with server.running() as postgres, start_valkey() as valkey:
        return [*_many(postgres, valkey, jobs), *(_large(postgres, valkey, scene) for scene in scenes())]


def _many(postgres: RunningPostgres, valkey: RunningValkey, jobs: int) -> list[Row]:
    with one_mailbox(TEMPLATE) as box:
        template = decoded(box)
    url = server.database(postgres, "many")
    more = ("--accounts", str(SMALL), "--messages", "300", "--until", "2009-12-01", "--live", "10")
    with (
        tempfile.TemporaryDirectory() as folder,
        upstream(*more, module="benchmarks.shelf") as api,
        running(Fleet(url, valkey.url, api.url, Path(folder))) as fleet,
    ):
        small = [fleet.add(box) for box in api.served()]
        large = fleet.add(api.mailbox(HISTORY, "outlook_email"))
        fleet.mirror.take_turn(large, "live")
        fleet.sql("delete from sync.windows")
        fill.fill(url, large, MIRROR, template, bodies=False)
        for statement in LEDGER.format(account=large, since=fill.SINCE, until=fill.UNTIL).split(";"):
            fleet.sql(statement)
        with watched(fleet) as process:
            _backfill(fleet, process, large)
            process.work("backfill", small)
            process.work("live", [large, *small])
            peak = process.megabytes("VmHWM")
            samples = list(_sampled(fleet, process, [large, *small], jobs))
            later = process.megabytes("VmHWM")
    settled = samples[WARM_UP:] if len(samples) > WARM_UP + 1 else samples
    slope = statistics.linear_regression(range(len(settled)), settled).slope * 1e3
    return [
        Row(
            part="memory",
            what=f"peak of a worker process, a mirror of {MIRROR:,} messages",
            value=Spread(peak, peak, later),
            unit="MB",
            must=150.0,
            aim=100.0,
            less_is_better=True,
            note="after its backfill; the most over all jobs is the spread's end",
        ),
        Row(
            part="memory",
            what="growth over many jobs, for each hundred",
            value=Spread(slope, slope, slope),
            unit="kB",
            must=50.0,
            aim=20.0,
            less_is_better=True,
            note=f"{jobs:,} jobs; slope after the first {WARM_UP * 100}",
            details={"megabytes_by_hundred": [round(sample, 1) for sample in samples]},
        ),
    ]


def _backfill(fleet: Fleet, process: Watched, account: int) -> None:
    """Fetch the history to its end, then walk the same windows again."""
    open_ = f"select count(*) from sync.windows where account_id = {account} and state = 'open'"
    until = time.monotonic() + PATIENCE
    while fleet.one(open_):
        process.work("backfill", [account])
        if time.monotonic() > until:
            raise SystemExit(f"The backfill of {HISTORY:,} messages did not end:\n{fleet.log()[-2000:]}")
    fleet.sql(
        f"update sync.windows set next_walk_at = sync.now() where account_id = {account} and before <= '2010-01-01'"
    )
    process.work("backfill", [account])


def _sampled(fleet: Fleet, process: Watched, accounts: Sequence[int], jobs: int) -> Iterator[float]:
    """Do all jobs: polls, some of which find changes, and now and then a walk; megabytes after each hundred."""
    done = 0
    while done < jobs:
        fleet.sql("update sync.windows set next_walk_at = sync.now() where account_id = any(%s) and state = 'done'",
                  list(accounts[-2:]))  # fmt: skip
        process.work("backfill", accounts[-2:])
        process.work("live", accounts[:18])
        before, done = done, done + 20
        if before // 100 < done // 100:
            yield process.megabytes("VmRSS")


def _large(postgres: RunningPostgres, valkey: RunningValkey, scene: Scene) -> Row:
    url = server.database(postgres, scene.name)
    with (
        tempfile.TemporaryDirectory() as folder,
        upstream("--accounts", "0") as api,
        running(Fleet(url, valkey.url, api.url, Path(folder))) as fleet,
    ):
        box = scene.box(api)
        account = fleet.add(box)
        with watched(fleet) as process:
            for queue in scene.play(box):
                process.work(queue, [account])
            peak = process.megabytes("VmHWM")
        stored = fleet.one("select count(*) from mail.messages where body_size > %s", LARGE // 2)
        if stored != scene.count:
            raise SystemExit(f"{stored} of {scene.count} large messages were stored:\n{fleet.log()[-2000:]}")
    return Row(
        part="memory",
        what=f"peak with four messages of 50 MB {scene.words}",
        value=Spread(peak, peak, peak),
        unit="MB",
        must=400.0,
        aim=300.0,
        less_is_better=True,
    )
