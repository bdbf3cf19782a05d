"""Two and three beats do what one does: nobody is rung for twice, and the mirror is as equal."""

from contextlib import ExitStack

import pytest

from tests.acceptance.stage import Upstream
from tests.acceptance.test_moving_mailbox import churning
from tests.acceptance.workers.conftest import MakeFleet
from tests.acceptance.workers.fleet import Fleet, wait_until
from tests.acceptance.workers.queues import watching

ACCOUNTS = 4
MESSAGES = 200
AT_ONCE = """
    select a.account_id, a.epoch, b.epoch from sync.runs a join sync.runs b using (account_id)
    where a.epoch < b.epoch and b.began_at < a.ended_at
"""


def turns(fleet: Fleet) -> int:
    """How often a lease was taken."""
    return int(fleet.one("select sum(lease_epoch) from sync.accounts"))


def at_rest(fleet: Fleet) -> None:
    """Wait until no account is marked or at work; nobody must be ringing."""
    busy = "select count(*) from sync.accounts where lease_until is not null or queued_until is not null"
    wait_until(lambda: fleet.one(busy) == 0, "an end of all turns")


@pytest.mark.fault("P11")
def test_two_and_three_beats_ring_no_more_than_one(calm_upstream: Upstream, fleet_of: MakeFleet) -> None:
    fleet = fleet_of()
    boxes = [calm_upstream.mailbox(MESSAGES) for _ in range(ACCOUNTS)]
    for box in boxes:
        fleet.add(box, tenant=f"tenant {box.id % 2}")
    fleet.worker(concurrency=4)
    first = fleet.beat()
    fleet.wait_for_rest()
    first.stop()
    at_rest(fleet)
    before, began = turns(fleet), fleet.one("select sync.now()")
    with watching(fleet.redis_url) as watched:
        several = [fleet.beat(), fleet.beat()]
        with ExitStack() as stack:
            for seed, box in enumerate(boxes):
                stack.enter_context(churning(box, seed, at_once=1, every=0.2))
            wait_until(lambda: turns(fleet) >= before + 4 * ACCOUNTS, "four turns each")
            several.append(fleet.beat())
            wait_until(lambda: turns(fleet) >= before + 8 * ACCOUNTS, "four turns more")
        fleet.wait_for_rest()
        for process in several:
            process.stop()
        at_rest(fleet)
        ended = fleet.one("select sync.now()")
    made, seconds = turns(fleet) - before, (ended - began).total_seconds()
    assert fleet.sql(AT_ONCE) == []
    # A ring without a turn would be a task that found the account in other hands.
    assert len(watched.arguments("mailmirror.sync_account")) == made
    # An account is due again a second after its last turn at the earliest.
    assert made <= ACCOUNTS * (seconds + 1)
    assert len(watched.arguments("mailmirror.dispatch")) > seconds, "the beats did not beat"
    fleet.must_be_equal()
