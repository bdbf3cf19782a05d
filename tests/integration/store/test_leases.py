"""One worker at a time holds an account, and one that was overtaken changes nothing."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from worker.errors import LeaseHeldError, NotDueError, UsageError
from worker.records import Outcome, Queue
from worker.store import accounts
from worker.store.engine import connect
from worker.store.leases import Ending, Lease, Run, release, take_lease


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = connect(database)
    yield engine
    engine.dispose()


@pytest.fixture
def account_id(engine: Engine) -> int:
    return accounts.add(engine, kind="kloudless", upstream_id="1").id


def pass_time(connection: psycopg.Connection, seconds: int) -> None:
    connection.execute(
        "CREATE OR REPLACE FUNCTION sync.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE"
        f" RETURN pg_catalog.now() + interval '{seconds} seconds'"
    )


DONE = Ending(clean=True, due_in=60)


@pytest.mark.fault("S3")
def test_a_lease_raises_the_fence_and_counts_as_a_failure_until_a_clean_end(engine: Engine, account_id: int) -> None:
    for epoch in (1, 2):
        lease = take_lease(engine, account_id, "worker 1")
        assert (lease.epoch, lease.account_id, lease.account.failures) == (epoch, account_id, epoch)
        release(engine, lease, Ending(clean=False, due_in=60))
    lease = take_lease(engine, account_id, "worker 1")
    assert release(engine, lease, DONE)
    account = accounts.get(engine, account_id)
    assert (account.failures, account.lease_owner, account.lease_until, account.lease_epoch) == (0, None, None, 3)


def test_a_held_account_names_its_holder_and_the_time_left(engine: Engine, account_id: int) -> None:
    take_lease(engine, account_id, "worker 1", seconds=90)
    with pytest.raises(LeaseHeldError, match="worker 1") as held:
        take_lease(engine, account_id, "worker 2")
    assert held.value.owner == "worker 1"
    assert 0 < held.value.seconds <= 90
    assert accounts.get(engine, account_id).lease_epoch == 1


@pytest.mark.fault("P9")
def test_a_lease_ends_with_the_databases_time_and_its_holder_is_fenced_off(
    engine: Engine, account_id: int, connection: psycopg.Connection
) -> None:
    stale = take_lease(engine, account_id, "worker 1", seconds=90)
    pass_time(connection, 91)
    current = take_lease(engine, account_id, "worker 2")
    assert current.epoch == stale.epoch + 1
    assert not release(engine, stale, DONE)
    account = accounts.get(engine, account_id)
    assert (account.lease_owner, account.failures) == ("worker 2", 2)
    assert release(engine, current, DONE)


def test_the_lease_of_a_dead_owner_is_taken_over_at_once(engine: Engine, account_id: int) -> None:
    stale = take_lease(engine, account_id, "worker 1")
    with pytest.raises(LeaseHeldError):
        take_lease(engine, account_id, "worker 2", dead=lambda owner: owner != "worker 1")
    current = take_lease(engine, account_id, "worker 2", dead=lambda owner: owner == "worker 1")
    assert current.epoch == stale.epoch + 1
    assert not release(engine, stale, DONE)


@pytest.mark.fault("P8")
def test_of_many_takers_exactly_one_wins(engine: Engine, account_id: int) -> None:
    together = threading.Barrier(6)
    won: list[Lease] = []
    lost: list[LeaseHeldError] = []

    def take(name: int) -> None:
        together.wait()
        try:
            won.append(take_lease(engine, account_id, f"worker {name}"))
        except LeaseHeldError as error:
            lost.append(error)

    threads = [threading.Thread(target=take, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 5)
    assert {error.owner for error in lost} == {won[0].owner}


def test_an_unknown_or_paused_account_has_no_lease(engine: Engine, account_id: int) -> None:
    with pytest.raises(UsageError, match="There is no account 999"):
        take_lease(engine, 999, "worker 1")
    accounts.pause(engine, account_id)
    with pytest.raises(UsageError, match=f"mailmirror accounts resume {account_id}"):
        take_lease(engine, account_id, "worker 1")


def test_the_end_of_a_run_sets_the_schedule_and_the_status(
    engine: Engine, account_id: int, connection: psycopg.Connection
) -> None:
    lease = take_lease(engine, account_id, "worker 1")
    ending = Ending(clean=True, due_in=30, poll_seconds=75, status="degraded", reason="No change events.")
    assert release(engine, lease, ending)
    account = accounts.get(engine, account_id)
    in_seconds = "SELECT extract(epoch FROM next_due_at - now()) BETWEEN 20 AND 33 FROM sync.accounts"
    assert connection.execute(in_seconds).fetchall() == [(True,)]
    assert account.poll_seconds == 75
    assert (account.status, account.status_reason) == ("degraded", "No change events.")

    release(engine, take_lease(engine, account_id, "worker 1"), DONE)
    account = accounts.get(engine, account_id)
    assert account.poll_seconds == 75
    assert (account.status, account.status_reason) == ("degraded", "No change events.")

    release(engine, take_lease(engine, account_id, "worker 1"), Ending(clean=True, due_in=1, status="active"))
    assert accounts.get(engine, account_id).status_reason is None


@pytest.mark.parametrize("queue", ["live", "backfill"])
@pytest.mark.parametrize(
    "meanwhile",
    [
        "update sync.accounts set next_due_at = now() + interval '1 h', backfill_due_at = now() + interval '1 h'",
        "update sync.accounts set status = 'auth_required'",
        "insert into sync.throttles (scope, until) values ('kloudless', now() + interval '1 h')",
    ],
)
def test_a_task_that_waited_too_long_has_no_turn(
    engine: Engine, account_id: int, connection: psycopg.Connection, queue: Queue, meanwhile: str
) -> None:
    connection.execute(meanwhile)
    with pytest.raises(NotDueError):
        take_lease(engine, account_id, "worker 1", queue=queue)
    assert take_lease(engine, account_id, "a person").epoch == 1


def test_history_is_due_when_the_ledger_says_so(
    engine: Engine, account_id: int, connection: psycopg.Connection
) -> None:
    def due_after(ending: Ending, *windows: str) -> str | None:
        connection.execute("DELETE FROM sync.windows")
        for values in windows:
            connection.execute(f"INSERT INTO sync.windows (account_id, after, before, state, next_walk_at) {values}")
        release(engine, take_lease(engine, account_id, "worker 1"), ending)
        found = connection.execute(
            "SELECT round(extract(epoch FROM backfill_due_at - now()) / 60)::int::text FROM sync.accounts"
        ).fetchone()
        assert found is not None
        return found[0] and str(found[0])

    opened = f"VALUES ({account_id}, '2000-01-01Z', '2001-01-01Z', 'open', NULL)"
    later = f"VALUES ({account_id}, '2001-01-01Z', NULL, 'done', now() + interval '50 minutes')"
    assert due_after(DONE) is None
    assert due_after(DONE, later) == "50"
    assert due_after(DONE, opened, later) == "0"
    assert due_after(Ending(clean=False, due_in=60, backfill_in=600), opened, later) == "10"


@pytest.mark.parametrize(
    ("queue", "marked"), [("live", (None, True)), ("backfill", (True, None)), (None, (None, None))]
)
def test_a_turn_ends_the_wait_of_its_own_queue(
    engine: Engine, account_id: int, connection: psycopg.Connection, queue: Queue | None, marked: tuple[Any, Any]
) -> None:
    connection.execute("UPDATE sync.accounts SET queued_until = now(), backfill_queued_until = now()")
    release(engine, take_lease(engine, account_id, "worker 1"), Ending(clean=True, due_in=1, queue=queue))
    found = connection.execute(
        "SELECT nullif(queued_until IS NOT NULL, false), nullif(backfill_queued_until IS NOT NULL, false)"
        " FROM sync.accounts"
    ).fetchall()
    assert found == [marked]


def test_runs_leave_a_row_only_when_they_did_something(
    engine: Engine, account_id: int, connection: psycopg.Connection
) -> None:
    for run in (
        Run(outcome="done", changes=Outcome(unchanged=40), requests=3),
        Run(outcome="partial", changes=Outcome(added=2, updated=1), requests=4, windows_walked=1),
        Run(outcome="failed", error_kind="UnreachableError", error="No answer."),
    ):
        lease = take_lease(engine, account_id, "worker 1")
        assert release(engine, lease, Ending(clean=run.outcome != "failed", due_in=60), run)
    rows = connection.execute(
        "SELECT outcome, added, updated, requests, error_kind, epoch, ended_at >= began_at FROM sync.runs ORDER BY id"
    ).fetchall()
    assert rows == [("partial", 2, 1, 4, None, 2, True), ("failed", 0, 0, 0, "UnreachableError", 3, True)]


@pytest.mark.fault("S10")
def test_a_run_of_a_purged_account_ends_quietly(engine: Engine, account_id: int) -> None:
    lease = take_lease(engine, account_id, "worker 1")
    accounts.remove(engine, account_id, purge=True)
    assert not release(engine, lease, DONE, Run(outcome="failed"))
