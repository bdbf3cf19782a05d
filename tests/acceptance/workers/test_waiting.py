"""Who has to wait waits in Postgres: one account, all accounts of an app, or until a person acts."""

import pytest

from tests.acceptance.stage import Mailbox, Upstream
from tests.acceptance.workers.conftest import MakeFleet
from tests.acceptance.workers.fleet import Fleet, wait_until
from tests.acceptance.workers.queues import everything_was_taken, put, watching


@pytest.fixture
def pair(calm_upstream: Upstream, fleet_of: MakeFleet) -> tuple[Fleet, Mailbox, int, Mailbox, int]:
    """Two mirrored mailboxes at rest, and the processes that mirror them."""
    fleet = fleet_of()
    one, other = calm_upstream.mailbox(20), calm_upstream.mailbox(20)
    ids = fleet.add(one), fleet.add(other)
    fleet.worker()
    fleet.beat()
    fleet.wait_for_rest()
    return fleet, one, ids[0], other, ids[1]


Pair = tuple[Fleet, Mailbox, int, Mailbox, int]


def epoch(fleet: Fleet, account: int) -> int:
    return int(fleet.one("select lease_epoch from sync.accounts where id = %s", account))


def status(fleet: Fleet, account: int) -> str:
    return str(fleet.one("select status from sync.accounts where id = %s", account))


def several_turns(fleet: Fleet, account: int, turns: int = 3) -> None:
    """Wait until the account had some turns more."""
    wanted = epoch(fleet, account) + turns
    wait_until(lambda: epoch(fleet, account) >= wanted, f"turns of account {account}")


def test_a_limit_lets_wait_whom_it_is_meant_for(pair: Pair) -> None:
    fleet, one, first, other, second = pair
    with watching(fleet.redis_url) as watched:
        one.arm("rate_limit", args={"error_code": "too_many_service_requests", "retry_after": 40})
        wait_until(lambda: status(fleet, first) == "backing_off", "the account to back off")
        waiting = epoch(fleet, first)
        seconds = "select extract(epoch from next_due_at - sync.now()) from sync.accounts where id = %s"
        assert 30 < fleet.one(seconds, first) <= 44
        several_turns(fleet, second)
        assert epoch(fleet, first) == waiting
        assert fleet.one("select count(*) from sync.throttles") == 0
        fleet.let_marks_wear_off()  # the clock moves on by more than the upstream has asked for
        fleet.wait_for_polls("the wait")
        assert status(fleet, first) == "active"

        one.arm("rate_limit", args={"error_code": "too_many_requests", "retry_after": 5})
        wait_until(lambda: fleet.one("select count(*) from sync.throttles where until > sync.now()"), "a throttle")
        # Who was at work already may come to an end.
        at_work = "select count(*) from sync.accounts where queued_until > sync.now()"
        wait_until(lambda: fleet.one(at_work) == 0, "an end of turns")
        look = "select sync.now() < (select min(until) from sync.throttles), array_agg(lease_epoch) from sync.accounts"
        [(still, before)] = fleet.sql(look)
        assert still, "this machine is too slow to tell"
        while still:
            [(still, now)] = fleet.sql(look)
            assert not still or now == before, "an account was polled though the whole app had to wait"
        fleet.wait_for_polls("the wait")
    assert fleet.one("select scope from sync.throttles") == "kloudless"
    assert watched.etas() == {None}
    assert (status(fleet, first), status(fleet, second)) == ("active", "active")
    other.deliver()
    fleet.wait_for_rest()
    fleet.must_be_equal()


@pytest.mark.fault("U39")
def test_an_account_that_needs_a_person_waits_for_one(calm_upstream: Upstream, pair: Pair) -> None:
    fleet, one, first, other, second = pair
    third = fleet.add(calm_upstream.mailbox(20))
    one.set(token="revoke")
    wait_until(lambda: status(fleet, first) == "auth_required", "the refusal to be noted")
    fleet.command("accounts", "pause", str(second))
    waiting = epoch(fleet, first), epoch(fleet, second)
    sent = len(one.requests()), len(other.requests())
    fleet.let_marks_wear_off()
    several_turns(fleet, third)
    assert (epoch(fleet, first), epoch(fleet, second)) == waiting
    assert (len(one.requests()), len(other.requests())) == sent, "they were asked again"

    one.set(token="renew")
    one.deliver(3)
    other.deliver(3)
    token = str(one.upstream.get(f"/accounts/{one.id}")["token"])
    fleet.command("accounts", "token", str(first), "--token-stdin", feed=token)
    fleet.command("accounts", "resume", str(second))
    fleet.wait_for_rest()
    fleet.must_be_equal()
    assert token not in fleet.log()


def test_rings_that_wait_in_the_queue_wait_too(calm_upstream: Upstream, fleet_of: MakeFleet) -> None:
    fleet = fleet_of()
    boxes = [calm_upstream.mailbox(20) for _ in range(3)]
    limited, refused, asked_already = (fleet.add(box) for box in boxes)
    fleet.sql("insert into sync.throttles (scope, until) values ('kloudless', sync.now() + interval '1 hour')")
    fleet.sql("update sync.accounts set status = 'auth_required' where id = %s", refused)
    fleet.sql("update sync.accounts set next_due_at = sync.now() + interval '1 hour' where id = %s", asked_already)
    before = [len(box.requests()) for box in boxes]
    for account in (limited, refused, asked_already):
        put(fleet, "mailmirror.sync_account", [account])
    fleet.worker()
    wait_until(lambda: everything_was_taken(fleet), "an empty queue")
    assert [len(box.requests()) for box in boxes] == before
