"""Who is due is decided in Postgres: oldest first, tenants in turn, nobody twice, no more than fit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy.engine import Engine

from worker.records import Queue
from worker.store import accounts, dispatch, leases
from worker.store.engine import connect
from worker.sync.endings import LONGEST

Sql = psycopg.Connection


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine on a fresh database."""
    opened = connect(database, pool_size=8)
    yield opened
    opened.dispose()


def add(connection: Sql, count: int, tenant: str = "default", *, due: str = "1 minute") -> None:
    """Add accounts that have been due for a while, the first the longest."""
    connection.execute(
        "insert into sync.accounts (kind, tenant_id, upstream_id, next_due_at, backfill_due_at)"
        f" select 'kloudless', '{tenant}', n::text, now() - interval '{due}' + n * interval '1 ms',"
        f" now() - interval '{due}' + n * interval '1 ms' from generate_series(1, {count}) as n"
    )


@pytest.mark.parametrize("queue", ["live", "backfill"])
def test_the_account_that_is_due_longest_comes_first_and_only_once(
    engine: Engine, connection: Sql, queue: Queue
) -> None:
    add(connection, 5)
    assert list(dispatch.pick(engine, queue, 3)) == [1, 2, 3]
    assert list(dispatch.pick(engine, queue, 3)) == []
    assert list(dispatch.pick(engine, queue, 5)) == [4, 5]


def test_the_queues_do_not_know_of_each_other(engine: Engine, connection: Sql) -> None:
    add(connection, 2)
    assert len(dispatch.pick(engine, "live", 10)) == len(dispatch.pick(engine, "backfill", 10)) == 2


@pytest.mark.fault("P12")
def test_a_mark_wears_off_so_that_a_lost_queue_loses_nothing(engine: Engine, connection: Sql) -> None:
    add(connection, 1)
    assert len(dispatch.pick(engine, "live", 1)) == 1
    connection.execute("update sync.accounts set queued_until = now() - interval '1 s'")
    assert len(dispatch.pick(engine, "live", 1)) == 1


def test_an_account_whose_task_met_another_worker_is_picked_again(engine: Engine, connection: Sql) -> None:
    add(connection, 1)
    dispatch.pick(engine, "backfill", 1)
    dispatch.unmark(engine, 1, "backfill")
    assert list(dispatch.pick(engine, "backfill", 1)) == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "update sync.accounts set next_due_at = now() + interval '1 s'",
        "update sync.accounts set status = 'paused'",
        "update sync.accounts set status = 'auth_required'",
        "update sync.accounts set status = 'gone'",
        "update sync.accounts set lease_until = now() + interval '1 s'",
        "insert into sync.throttles (scope, until) values ('kloudless', now() + interval '1 s')",
    ],
)
def test_what_is_not_due_waits_for_a_person_is_at_work_or_throttled_is_left_out(
    engine: Engine, connection: Sql, statement: str
) -> None:
    add(connection, 1)
    connection.execute(statement)
    assert list(dispatch.pick(engine, "live", 10)) == []


def test_what_a_dead_worker_holds_is_free_at_once_and_what_a_living_one_holds_is_not(
    engine: Engine, connection: Sql
) -> None:
    add(connection, 2)
    assert len(dispatch.pick(engine, "live", 2)) == 2
    leases.take_lease(engine, 1, "dead")
    leases.take_lease(engine, 2, "alive")
    assert list(dispatch.free_abandoned(engine, lambda owner: owner == "dead")) == [1]
    assert list(dispatch.pick(engine, "live", 2)) == [1]


def pass_time(connection: Sql, hours: int) -> None:
    """Set the database's clock so many hours off."""
    connection.execute(
        "create or replace function sync.now() returns timestamptz language sql stable parallel safe"
        f" return pg_catalog.now() + interval '{hours} hours'"
    )


@pytest.mark.fault("P25")
def test_a_clock_that_went_back_keeps_nobody_waiting(engine: Engine, connection: Sql) -> None:
    add(connection, 4)
    pass_time(connection, 1)
    polled, failing, picked, held = (leases.take_lease(engine, n, "other machine", queue="live") for n in (1, 2, 3, 4))
    leases.release(engine, polled, leases.Ending(clean=True, due_in=60, poll_seconds=60, queue="live"))
    leases.release(engine, failing, leases.Ending(clean=False, due_in=600, backfill_in=600, queue="live"))
    leases.release(engine, picked, leases.Ending(clean=True, due_in=0, poll_seconds=60, queue="live"))
    assert list(dispatch.pick(engine, "live", 10)) == [3]
    dispatch.throttle(engine, "kloudless", 300, "slow down")
    pass_time(connection, 0)
    assert sorted(dispatch.forget_what_lies_too_far(engine)) == [1, 2, 3, 4]
    assert sorted(dispatch.pick(engine, "live", 10)) == [1, 2, 3, 4]
    assert leases.take_lease(engine, held.account_id, "here").epoch == held.epoch + 1


@pytest.mark.fault("P25")
def test_a_lease_from_before_the_clock_went_back_is_taken_over(engine: Engine, connection: Sql) -> None:
    add(connection, 1)
    pass_time(connection, 1)
    stale = leases.take_lease(engine, 1, "other machine")
    pass_time(connection, 0)
    assert leases.take_lease(engine, 1, "here").epoch == stale.epoch + 1
    assert not leases.release(engine, stale, leases.Ending(clean=True, due_in=0))


def test_no_wait_that_was_set_lies_too_far(engine: Engine, connection: Sql) -> None:
    add(connection, 3)
    longest = LONGEST
    endings = (
        leases.Ending(clean=True, due_in=86_400, poll_seconds=86_400),
        leases.Ending(clean=False, due_in=longest, backfill_in=longest),
    )
    connection.execute(
        "insert into sync.windows (account_id, after, state, next_walk_at)"
        " values (1, '2026-01-01Z', 'done', now() + interval '30 days')"
    )
    for account_id, ending in enumerate(endings, start=1):
        leases.release(engine, leases.take_lease(engine, account_id, "here"), ending)
    leases.take_lease(engine, 3, "here")
    dispatch.throttle(engine, "kloudless", longest, "slow down")
    assert list(dispatch.forget_what_lies_too_far(engine)) == []
    assert connection.execute("select count(*) from sync.throttles").fetchone() == (1,)
    assert list(dispatch.pick(engine, "live", 10)) == list(dispatch.pick(engine, "backfill", 10)) == []


def test_a_tenant_with_many_accounts_does_not_keep_the_others_waiting(engine: Engine, connection: Sql) -> None:
    add(connection, 100, "big", due="1 hour")
    add(connection, 2, "small", due="1 minute")
    picked = set(dispatch.pick(engine, "live", 4))
    assert picked == {1, 2, 101, 102}


@pytest.mark.fault("P11")
def test_several_dispatchers_at_once_never_pick_the_same_account(engine: Engine, connection: Sql) -> None:
    add(connection, 2000)
    with ThreadPoolExecutor(4) as pool:
        rounds = [pool.submit(dispatch.pick, engine, "live", 2000) for _ in range(16)]
        picked = [account_id for done in rounds for account_id in done.result()]
    picked += dispatch.pick(engine, "live", 2000)
    assert sorted(picked) == list(range(1, 2001))


def test_the_longest_wait_of_an_app_counts(engine: Engine, connection: Sql) -> None:
    dispatch.throttle(engine, "kloudless", 60, "slow down")
    dispatch.throttle(engine, "kloudless", 5, "slow down")
    found = connection.execute("select until > now() + interval '50 s', reason from sync.throttles").fetchall()
    assert found == [(True, "slow down")]


def test_a_lease_in_between_takes_an_account_out_until_it_ends(engine: Engine, connection: Sql) -> None:
    add(connection, 1)
    lease = leases.take_lease(engine, 1, "worker")
    assert list(dispatch.pick(engine, "live", 1)) == []
    leases.release(engine, lease, leases.Ending(clean=True, due_in=0))
    assert list(dispatch.pick(engine, "live", 1)) == [1]
    assert accounts.get(engine, 1).failures == 0
