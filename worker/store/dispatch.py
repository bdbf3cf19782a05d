"""Who is due: accounts are picked in Postgres and marked as queued; the queue only rings.

Losing the queue loses nothing: a mark wears off, and the account is picked again. Two dispatchers never pick the same
account, because rows that are locked are skipped.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from worker.records import Queue
from worker.store.engine import retry_transaction
from worker.store.leases import AT_WORK, LEASE_SECONDS, LONGEST_WAIT

QUEUED_SECONDS: dict[Queue, int] = {"live": 30, "backfill": 75}
"""How long a mark holds: longer than a task usually waits. One that waits longer is rung for twice, to no harm."""

DUE = """
with waiting as (
    select count(*) as taken from sync.accounts
    where {mark} > sync.now()
), due as (
    select id, tenant_id, {due_at} as due_at,
           row_number() over (partition by tenant_id order by {due_at}) as turn
    from sync.accounts a
    where {at_work}
      and {due_at} <= sync.now()
      and ({mark} is null or {mark} <= sync.now())
      and (lease_until is null or lease_until <= sync.now())
), picked as (
    select a.id from sync.accounts a join due using (id)
    where ({mark} is null or {mark} <= sync.now()) and {due_at} <= sync.now()
    order by due.turn, due.due_at
    limit greatest(0, :most - greatest(:waiting, (select taken from waiting)))
    for update of a skip locked
)
update sync.accounts a
set {mark} = sync.now() + make_interval(secs => :seconds)
from picked where a.id = picked.id
returning a.id
"""
"""Oldest first, tenants in turn; as many as still fit into the queue."""

COLUMNS: dict[Queue, dict[str, str]] = {
    "live": {"due_at": "next_due_at", "mark": "queued_until"},
    "backfill": {"due_at": "backfill_due_at", "mark": "backfill_queued_until"},
}


HELD = sa.text(
    "select id, lease_owner, lease_epoch from sync.accounts where lease_until > sync.now() and lease_owner is not null"
)

FREE = sa.text(
    """
    update sync.accounts a
    set lease_owner = null, lease_until = null, queued_until = null, backfill_queued_until = null
    from unnest(cast(:ids as bigint[]), cast(:epochs as bigint[])) as abandoned (id, epoch)
    where a.id = abandoned.id and a.lease_epoch = abandoned.epoch
    returning a.id
    """
)


TOO_FAR = """
with far as (
    select id, lease_until > sync.now() + make_interval(secs => :lease) as leased,
           next_due_at > sync.now() + make_interval(secs => 1 + 1.1 * case
               when failures = 0 then coalesce(poll_seconds, :longest) else :longest end) as due,
           backfill_due_at > sync.now() + make_interval(secs => 1 + :longest) as backfill_due,
           queued_until > sync.now() + make_interval(secs => :mark) as queued,
           backfill_queued_until > sync.now() + make_interval(secs => :mark) as backfill_queued
    from sync.accounts
)
update sync.accounts a
set lease_owner = case when leased then null else lease_owner end,
    lease_until = case when leased then null else lease_until end,
    next_due_at = case when due then sync.now() else next_due_at end,
    backfill_due_at = case when backfill_due then sync.now() else backfill_due_at end,
    queued_until = case when queued then null else queued_until end,
    backfill_queued_until = case when backfill_queued then null else backfill_queued_until end
from far
where a.id = far.id and (leased or due or backfill_due or queued or backfill_queued)
returning a.id
"""
"""No wait is ever set so far ahead: the database's clock has gone back since (faults.md P25)."""

TOO_LONG = "delete from sync.throttles where until > sync.now() + make_interval(secs => :longest)"


def pick(engine: Engine, queue: Queue, most: int, waiting: int = 0) -> Sequence[int]:
    """Mark due accounts as queued, so many that at most `most` are marked, and give their ids.

    `waiting` is how many rings lie in the queue: where tasks take longer than a mark holds, it must not grow for ever.
    """
    statement = sa.text(DUE.format(at_work=AT_WORK, **COLUMNS[queue]))

    def work(connection: Connection) -> Sequence[int]:
        return (
            connection.execute(statement, {"most": most, "waiting": waiting, "seconds": QUEUED_SECONDS[queue]})
            .scalars()
            .all()
        )

    return retry_transaction(engine, work)


def unmark(engine: Engine, account_id: int, queue: Queue) -> None:
    """Let the account be picked again: its task met another worker's lease and did nothing."""
    statement = sa.text(f"update sync.accounts set {COLUMNS[queue]['mark']} = null where id = :id")  # noqa: S608  # our own column
    retry_transaction(engine, lambda connection: connection.execute(statement, {"id": account_id}).close())


def free_abandoned(engine: Engine, dead: Callable[[str], bool]) -> Sequence[int]:
    """Free accounts whose owner is `dead`, with their marks, so that they need not wait for the lease to end."""

    def work(connection: Connection) -> Sequence[int]:
        held = connection.execute(HELD).all()
        abandoned = [row for row in held if dead(row.lease_owner)]
        if not abandoned:
            return []
        values = {"ids": [row.id for row in abandoned], "epochs": [row.lease_epoch for row in abandoned]}
        return connection.execute(FREE, values).scalars().all()

    return retry_transaction(engine, work)


def forget_what_lies_too_far(engine: Engine) -> Sequence[int]:
    """Make due what is due later than it can be, and free what is leased for longer; gives the accounts' ids.

    So a clock that went back holds nobody up for as long as it went back.
    """
    statement, throttles = sa.text(TOO_FAR), sa.text(TOO_LONG)
    far = {"lease": LEASE_SECONDS, "longest": LONGEST_WAIT, "mark": max(QUEUED_SECONDS.values())}

    def work(connection: Connection) -> Sequence[int]:
        connection.execute(throttles, {"longest": LONGEST_WAIT})
        return connection.execute(statement, far).scalars().all()

    return retry_transaction(engine, work)


def throttle(engine: Engine, scope: str, seconds: float, reason: str) -> None:
    """Let no account of this scope be picked for a while; the longest wait counts."""
    statement = sa.text(
        "insert into sync.throttles as t (scope, until, reason)"
        " values (:scope, sync.now() + make_interval(secs => :seconds), :reason)"
        " on conflict (scope) do update set until = greatest(t.until, excluded.until), reason = excluded.reason"
    )
    retry_transaction(
        engine,
        lambda connection: connection.execute(
            statement, {"scope": scope, "seconds": seconds, "reason": reason}
        ).close(),
    )
