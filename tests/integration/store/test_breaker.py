"""When the last accounts of a service failed alike and none went well, all of them wait as one."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from worker.errors import NotDueError
from worker.records import Problem
from worker.store import accounts, breaker, dispatch, leases, status
from worker.store.engine import connect

Sql = psycopg.Connection[Any]
ERRORS = ("UpstreamFailedError", "UnreachableError")


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine on a database with seven accounts of one service and one of another."""
    opened = connect(database)
    for number in range(1, 8):
        accounts.add(opened, kind="kloudless", service="gmail", upstream_id=str(number))
    accounts.add(opened, kind="kloudless", service="imap", upstream_id="8")
    yield opened
    opened.dispose()


def fail(engine: Engine, account_id: int, error: str = "UnreachableError") -> bool:
    """End a run as an outage ends it; returns whether all accounts wait now."""
    lease = leases.take_lease(engine, account_id, "worker")
    tripped = breaker.trip(engine, lease.account, ERRORS, 60, "All of them fail: No answer.")
    problem = Problem(kind="account", subject=error, cause="No answer.")
    leases.release(engine, lease, leases.Ending(clean=False, due_in=0, status="backing_off", problem=problem))
    return tripped


@pytest.mark.fault("S5")
def test_all_accounts_of_a_service_wait_as_one_and_the_others_do_not(engine: Engine) -> None:
    assert [fail(engine, number) for number in range(1, 6)] == [False] * 5
    assert fail(engine, 6)
    assert list(dispatch.pick(engine, "live", 10)) == [8]
    with pytest.raises(NotDueError):
        leases.take_lease(engine, 7, "worker", queue="live")
    ((scope, seconds, reason),) = status.throttled(engine)
    assert (scope, 50 < seconds <= 60, reason) == ("kloudless/gmail", True, "All of them fail: No answer.")


def test_one_account_that_went_well_shows_that_it_is_not_the_service(engine: Engine, connection: Sql) -> None:
    for number in range(1, 6):
        fail(engine, number, "UpstreamFailedError")
    lease = leases.take_lease(engine, 7, "worker")
    leases.release(engine, lease, leases.Ending(clean=True, due_in=60, poll_seconds=60))
    # The end of a run shows in the account's schedule to within a tenth of its pace.
    connection.execute("update sync.accounts set next_due_at = now() + interval '66.1 s' where id = 7")
    assert not fail(engine, 6)
    connection.execute("update sync.accounts set next_due_at = now(), polled_at = now() where id = 7")
    assert not fail(engine, 6)
    connection.execute("update sync.accounts set polled_at = now() - interval '1 hour' where id = 7")
    assert fail(engine, 6)


def test_failures_of_another_sort_or_another_service_are_not_counted(engine: Engine, connection: Sql) -> None:
    for number in range(1, 5):
        fail(engine, number)
    fail(engine, 5, "UnreadableError")
    fail(engine, 8)
    assert not fail(engine, 6)
    connection.execute("update sync.problems set state = 'closed', closed_at = now() where account_id = 1")
    assert not fail(engine, 7)
