"""Everything that a fleet stands on dies while mailboxes change all the time: it goes on by itself, and ends equal.

MAILMIRROR_TEST_MESSAGES makes the big mailbox larger. MAILMIRROR_TEST_PATIENT=1 never moves the mirror's clock: marks
of tasks that were lost wear off by themselves, which takes up to 75 seconds each.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.acceptance.stage import Mailbox, Upstream
from tests.acceptance.test_moving_mailbox import churning
from tests.acceptance.workers.fleet import PATIENCE, Fleet, Process, Servers, running, wait_until
from tests.conftest import prepare

MESSAGES = int(os.environ.get("MAILMIRROR_TEST_MESSAGES", "3000"))
AWAY_SECONDS = 2.0
"""How long the broker is away: longer than a worker's first attempt to come back, shorter than a turn."""
PATIENT = bool(os.environ.get("MAILMIRROR_TEST_PATIENT"))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    found = Servers(tmp_path)
    yield found
    found.stop()


@contextlib.contextmanager
def all_changing(boxes: list[Mailbox]) -> Iterator[None]:
    """Change every mailbox several times a second."""
    with contextlib.ExitStack() as stack:
        for seed, box in enumerate(boxes):
            stack.enter_context(churning(box, seed, at_once=1, every=0.3))
        yield


class Story:
    """One fleet and what befalls it."""

    def __init__(self, fleet: Fleet, servers: Servers, big: int) -> None:
        self.fleet, self.servers, self.big = fleet, servers, big
        self.waits: dict[str, float] = {}

    def goes_on(self, after: str) -> None:
        """Every account is polled again."""
        began = time.monotonic()
        self.fleet.wait_for_polls(after, PATIENCE + 150 * PATIENT)
        self.waits[after] = time.monotonic() - began

    def backfill_grows(self) -> None:
        """Some more pages were written; the backfill still has some to go."""
        before = self.fleet.count(self.big)
        wait_until(lambda: self.fleet.count(self.big) >= before + 60, "the backfill to go on", PATIENCE + 150 * PATIENT)
        assert self.fleet.one("select count(*) from sync.windows where state = 'open'") > 0, "it was over too soon"

    def next_turn(self) -> None:
        """The turn that the big mailbox has now is over, and another one has begun."""
        epoch = "select lease_epoch from sync.accounts where id = %s"
        before = self.fleet.one(epoch, self.big)
        if not PATIENT:
            self.fleet.let_marks_wear_off()
        wait_until(lambda: self.fleet.one(epoch, self.big) > before, "the next turn", PATIENCE + 150 * PATIENT)

    def flush(self) -> None:
        with redis.Redis.from_url(self.servers.valkey.url) as client:
            client.flushall()


@contextlib.contextmanager
def told(upstream: Upstream, servers: Servers, folder: Path, messages: int) -> Iterator[Story]:
    """Three accounts, the first of them big and served slowly."""
    url = prepare(servers.postgres.url)
    fleet = Fleet(
        url, servers.valkey.url, upstream.url, folder, MAILMIRROR_PAGE_SIZE="20", MAILMIRROR_SLICE_SECONDS="8"
    )
    fleet.hurry = not PATIENT
    with running(fleet):
        # The small ones are large enough for the deletion brake to let half an hour of changes pass.
        boxes = [upstream.mailbox(messages), upstream.mailbox(800, "outlook_email"), upstream.mailbox(800)]
        boxes[0].arm("slow_answer", route="list", count=None, args={"seconds": 1.0})
        big, *_ = [fleet.add(box) for box in boxes]
        with all_changing(boxes):
            story = Story(fleet, servers, big)
            yield story
            upstream.post("/faults/clear")
        # The mailboxes rest from here on.
        fleet.wait_for_rest(PATIENCE + 150 * PATIENT)
        fleet.must_be_equal()
        # Shown by pytest -rP: how long each loss kept the last account from its next poll.
        sys.stdout.writelines(f"{seconds:6.1f} s after {what}\n" for what, seconds in story.waits.items())


@pytest.mark.fault("P5", "P6", "P12", "P15")
def test_whatever_dies_the_mirror_goes_on_and_ends_equal(
    calm_upstream: Upstream, servers: Servers, tmp_path: Path
) -> None:
    with told(calm_upstream, servers, tmp_path, MESSAGES) as story:
        fleet = story.fleet
        workers: dict[str, Process] = {queue: fleet.worker(queue) for queue in ("live", "backfill")}
        fleet.beat()
        story.backfill_grows()

        workers["backfill"].kill()
        workers["live"].kill()
        workers = {queue: fleet.worker(queue) for queue in ("live", "backfill")}
        story.goes_on("kill -9 of both workers with their children")
        story.backfill_grows()

        story.flush()
        story.goes_on("FLUSHALL")

        for worker in workers.values():
            worker.children()[0].kill()
        story.goes_on("kill -9 of a child of each worker")
        story.backfill_grows()

        servers.restart_valkey(away=AWAY_SECONDS)
        # The task that was under way tells its end to a broker that knows nothing of it.
        story.next_turn()
        story.goes_on("the restart of an empty Valkey")

        servers.restart_postgres(signal.SIGINT)
        story.goes_on("a fast restart of Postgres")
        servers.restart_postgres(signal.SIGQUIT)
        story.goes_on("an immediate restart of Postgres")
        story.backfill_grows()
        assert all(process.running for process in fleet.processes[-3:]), "a process gave up"


@pytest.mark.fault("P5", "P12", "P15")
def test_threads_in_place_of_processes_end_equal_too(calm_upstream: Upstream, servers: Servers, tmp_path: Path) -> None:
    with told(calm_upstream, servers, tmp_path, 1000) as story:
        fleet = story.fleet
        worker = fleet.worker(pool="threads", concurrency=4)
        fleet.beat()
        story.backfill_grows()
        worker.kill()
        worker = fleet.worker(pool="threads", concurrency=4)
        story.goes_on("kill -9 of the worker")
        story.backfill_grows()
        servers.restart_valkey(away=AWAY_SECONDS)
        story.next_turn()
        servers.restart_postgres(signal.SIGQUIT)
        story.goes_on("restarts of an empty Valkey and of Postgres")
        assert worker.running
