"""Two and three beats do what one does: nobody is rung for twice, and the mirror is as equal."""

from contextlib import ExitStack

import pytest

from tests.acceptance.stage import Upstream
from tests.acceptance.test_moving_mailbox import churning
from tests.acceptance.workers.conftest import MakeFleet
from tests.acceptance.workers.fleet import Fleet, wait_until
from tests.acceptance.workers.watching import Watched, watching

ACCOUNTS = 4
MESSAGES = 200
AT_ONCE = """
    select a.account_id, a.epoch, b.epoch from sync.runs a join sync.runs b using (account_id)
    where a.epoch < b.epoch and b.began_at < a.ended_at
"""


def turns(fleet: Fleet) -> int:
    """How often a lease was taken."""
    return int(fleet.one("select sum(lease_epoch) from sync.accounts"))


def rings(watched: Watched) -> int:
    """How often an account was rung for."""
    return len(watched.arguments("mailmirror.sync_account"))


@pytest.mark.parametrize("beats", [2, 3])
def test_several_beats_ring_no_more_than_one(calm_upstream: Upstream, fleet_of: MakeFleet, beats: int) -> None:
    fleet = fleet_of()
    boxes = [calm_upstream.mailbox(MESSAGES) for _ in range(ACCOUNTS)]
    for box in boxes:
        fleet.add(box, tenant=f"tenant {box.id % 2}")
    with watching(fleet.redis_url) as watched:
        fleet.worker(concurrency=4)
        for _ in range(beats):
            fleet.beat()
        with ExitStack() as stack:
            for seed, box in enumerate(boxes):
                stack.enter_context(churning(box, seed, at_once=1, every=0.2))
            wait_until(lambda: fleet.one("select min(lease_epoch) from sync.accounts") >= 4, "four turns each")
        fleet.wait_for_rest()
        began = fleet.one("select sync.now()")
        before = turns(fleet)
        wait_until(lambda: fleet.one("select min(lease_epoch) from sync.accounts") >= before / ACCOUNTS + 2, "more turns")
        made, seconds = turns(fleet) - before, (fleet.one("select sync.now()") - began).total_seconds()
        for process in fleet.processes[1:]:
            process.stop()
        wait_until(lambda: fleet.one("select count(*) from sync.accounts where queued_until is not null") == 0, "an end")
    assert fleet.sql(AT_ONCE) == []
    # An account that rests is due a second after its last turn at the earliest.
    assert made <= ACCOUNTS * (seconds + 2)
    # A task that found the account in other hands would be a ring without a turn.
    assert rings(watched) == turns(fleet)
    assert len(watched.arguments("mailmirror.dispatch")) > seconds * beats
    fleet.must_be_equal()
