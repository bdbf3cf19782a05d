"""The queue is away for long, and a giant stands beside small accounts: the others hardly notice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.stage import Upstream
from tests.acceptance.workers.fleet import QUICK, SHIFTED, Fleet, Servers, running, wait_until
from tests.acceptance.workers.queues import watching
from tests.conftest import prepare

HOUR = 3600
ACCOUNTS = 6
LOOK_SECONDS = float(QUICK["MAILMIRROR_DISPATCH_SECONDS"])


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    found = Servers(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def fleet(calm_upstream: Upstream, servers: Servers, tmp_path: Path) -> Iterator[Fleet]:
    with running(Fleet(prepare(servers.postgres.url), servers.valkey.url, calm_upstream.url, tmp_path)) as made:
        yield made


def turns(fleet: Fleet) -> int:
    return int(fleet.one("select sum(lease_epoch) from sync.accounts"))


@pytest.mark.thorough
@pytest.mark.fault("P13")
def test_after_an_hour_without_a_queue_everybody_goes_on_and_nobody_is_rung_for_twice(
    calm_upstream: Upstream, servers: Servers, fleet: Fleet
) -> None:
    boxes = [calm_upstream.mailbox(20) for _ in range(ACCOUNTS)]
    for box in boxes:
        fleet.add(box)
    processes = fleet.worker(), fleet.beat()
    fleet.wait_for_rest()

    servers.kill_valkey()
    wait_until(lambda: "Error" in processes[0].log.read_text(), "the worker to notice")
    for seed, box in enumerate(boxes):
        box.churn(5, seed)
    fleet.sql(SHIFTED.format(HOUR))
    before = turns(fleet)
    time.sleep(6)  # twenty looks that a scheduler could want to make up for
    assert turns(fleet) == before, "somebody rang"

    servers.start_valkey()
    back = fleet.one("select sync.now()")
    with watching(fleet.redis_url) as watched:
        fleet.wait_for_polls("the return of the queue")
        fleet.wait_for_rest()
        seconds = (fleet.one("select sync.now()") - back).total_seconds()
    assert all(process.running for process in processes)
    fleet.must_be_equal()
    rung = watched.arguments("mailmirror.sync_account")
    # A ring is a turn, but where the account has one from the other queue already.
    assert len(rung) <= turns(fleet) - before + 2 * ACCOUNTS, "I8"
    assert len(watched.arguments("mailmirror.dispatch")) <= seconds / LOOK_SECONDS + 5, "I8: looks were made up for"


@pytest.mark.thorough
@pytest.mark.fault("S2")
def test_small_accounts_are_as_current_beside_a_giant(calm_upstream: Upstream, fleet: Fleet) -> None:
    boxes = [calm_upstream.mailbox(20) for _ in range(ACCOUNTS)]
    small = [fleet.add(box) for box in boxes]
    workers = [fleet.worker(queue) for queue in ("live", "backfill")]
    fleet.beat()
    fleet.wait_for_rest()
    giant = fleet.add(calm_upstream.mailbox(1_000_000, days=4000))
    wait_until(lambda: fleet.count(giant) > 1000, "the giant's backfill")
    epoch = "select lease_epoch from sync.accounts where id = %s"
    for _ in range(3):
        read = fleet.count(giant)
        for account, box in zip(small, boxes, strict=True):
            polls = fleet.one(epoch, account)
            [message] = box.deliver()
            there = "select count(*) from mail.live_messages where account_id = %s and message_id = %s"
            wait_until(lambda: fleet.one(there, account, message), "the new message")  # noqa: B023  # waited for here
            assert fleet.one(epoch, account) <= polls + 2, "the next poll brings it"
        wait_until(lambda: fleet.count(giant) > read, "the giant to go on as well")  # noqa: B023  # waited for here
    assert fleet.one("select count(*) from sync.windows where account_id = %s and state = 'open'", giant) > 0
    for worker in workers:
        assert all(child.memory_info().rss < 300e6 for child in worker.children()), "U38: memory is bounded"
    del fleet.boxes[giant]
    fleet.must_be_equal()
