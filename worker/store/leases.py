"""The lease on an account: who works on it, under which fence, and how a run ends.

A lease is taken with a new `lease_epoch`. Every transaction of the run begins with an UPDATE of the account's row
`WHERE lease_epoch = mine`: a worker that was overtaken changes no row, and stops.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from worker.errors import LeaseHeldError, NotDueError, UsageError
from worker.records import Outcome, Problem, Queue, Status
from worker.store import credentials, owners
from worker.store.accounts import AccountRow, account_of, unknown
from worker.store.credentials import Sealed
from worker.store.engine import driver, once, retry_transaction, translated
from worker.store.postgres import Opening, position_of, record

LEASE_SECONDS = 90
LONGEST_WAIT = 3600.0
"""Seconds; no account and no app is ever left alone for longer, except for a tenth more and for a pace that was set."""


class Lease(Struct, frozen=True, kw_only=True):
    """The right to write one account's rows."""

    account: AccountRow
    """The account as it was when the lease was taken."""
    account_id: int
    epoch: int
    owner: str
    taken_at: datetime
    """The store's time, not this machine's."""
    seconds: int
    """How long it lasts from each renewal."""
    sealed: Sealed | None = None
    """The account's token."""
    opening: Opening | None = None


class Ending(Struct, frozen=True, kw_only=True):
    """How a run leaves its account."""

    clean: bool
    """Whether the run ended as it should: clears the count of failures."""
    due_in: float
    """Seconds until the account is polled again, and up to a tenth more."""
    backfill_in: float = 0.0
    """Seconds that work on its history waits at least; else it is due when the ledger says so."""
    poll_seconds: float | None = None
    """Seconds between polls from now on; None leaves them."""
    queue: Queue | None = None
    """The queue whose task this was; None for a person's command, which makes every queued task needless."""
    status: Status | None = None
    """A new status; None leaves it as it is."""
    reason: str | None = None
    """Why the new status is not active."""
    problem: Problem | None = None
    """What went wrong with the account as a whole; a clean end closes such problems."""
    polled: bool = False
    """Whether activity was read to its end and no commit has noted that."""
    idle: bool = False
    """Whether nothing was written, so that work on the history is due when it was."""


class Run(Struct, frozen=True, kw_only=True):
    """What a run did, for `sync.runs`."""

    outcome: Literal["done", "partial", "failed"]
    changes: Outcome = Outcome()
    requests: int = 0
    windows_walked: int = 0
    error_kind: str | None = None
    error: str | None = None

    @property
    def notable(self) -> bool:
        """Whether it changed, failed or walked something; other runs leave no row."""
        changed = (self.changes.added, self.changes.updated, self.changes.tombstoned, self.changes.revived)
        return self.outcome == "failed" or self.windows_walked > 0 or any(changed)


BACKFILL_DUE = """backfill_due_at = (
            SELECT greatest(sync.now() + make_interval(secs => %(backfill_in)s),
                least(ledger.due_at, sync.now() + make_interval(secs => %(longest)s)))
            FROM (SELECT CASE
                WHEN EXISTS (SELECT FROM sync.windows WHERE account_id = %(id)s AND state = 'open') THEN sync.now()
                ELSE (SELECT min(next_walk_at) FROM sync.windows WHERE account_id = %(id)s) END) AS ledger (due_at)
            WHERE ledger.due_at IS NOT NULL
        ),"""

RELEASE = """
    UPDATE sync.accounts
    SET lease_owner = NULL, lease_until = NULL,
        queued_until = CASE WHEN %(queue)s = 'backfill' THEN queued_until END,
        backfill_queued_until = CASE WHEN %(queue)s = 'live' THEN backfill_queued_until END,
        failures = CASE WHEN %(clean)s THEN 0 ELSE failures END,
        polled_at = CASE WHEN %(polled)s THEN sync.now() ELSE polled_at END,
        next_due_at = sync.now() + make_interval(secs => %(due_in)s * (1 + 0.1 * random())),
        {backfill}
        poll_seconds = COALESCE(%(poll_seconds)s, poll_seconds),
        status = COALESCE(%(status)s, status),
        status_reason = CASE WHEN CAST(%(status)s AS text) IS NULL THEN status_reason ELSE %(reason)s END,
        changed_in = CASE
            WHEN CAST(%(status)s AS text) IS NULL
                OR (status, status_reason) IS NOT DISTINCT FROM (%(status)s, %(reason)s)
            THEN changed_in ELSE pg_current_xact_id() END
    WHERE id = %(id)s AND lease_epoch = %(epoch)s
    RETURNING id
    """
RELEASE_IDLE = RELEASE.format(backfill="")
RELEASE_AFTER_WORK = RELEASE.format(backfill=BACKFILL_DUE)

PUT_RIGHT = sa.text(
    "UPDATE sync.problems SET state = 'closed', closed_at = sync.now(), not_before = NULL"
    " WHERE account_id = :id AND kind = 'account' AND state = 'open'"
)

FAILING_FOR = sa.text(
    "SELECT extract(epoch FROM sync.now() - first_seen_at)::float8 FROM sync.problems"
    " WHERE account_id = :id AND kind = 'account' AND subject = :subject AND state = 'open'"
)

RECORD = sa.text(
    """
    INSERT INTO sync.runs (account_id, epoch, began_at, ended_at, outcome, error_kind, error, requests, added,
        updated, unchanged, tombstoned, revived, windows_walked)
    SELECT id, :epoch, :began_at, sync.now(), :outcome, :error_kind, :error, :requests, :added,
        :updated, :unchanged, :tombstoned, :revived, :windows_walked
    FROM sync.accounts WHERE id = :id
    """
)


AT_WORK = """a.status in ('active', 'backing_off', 'degraded')
      and not exists (
          select from sync.throttles t
          where t.scope in (a.kind, a.kind || '/' || coalesce(a.service, '')) and t.until > sync.now()
      )"""
"""Whether anything may be done for the account `a` now, unless a person asks for it."""

DUE: dict[Queue | None, str] = {
    "live": f"{AT_WORK} and a.next_due_at <= sync.now()",
    "backfill": f"{AT_WORK} and a.backfill_due_at <= sync.now()",
    None: "true",
}
"""What must still hold when a task gets its turn: it may have waited long."""

TAKE = """
update sync.accounts a
set lease_epoch = a.lease_epoch + 1, lease_owner = %(owner)s, failures = a.failures + 1,
    lease_until = sync.now() + make_interval(secs => %(seconds)s)
from sync.accounts seen
left join sync.credentials k on k.account_id = seen.id and k.purpose = %(purpose)s
left join sync.cursors c on c.account_id = seen.id and c.stream = 'activity'
where a.id = %(id)s and seen.id = a.id and seen.xmin = a.xmin and a.status <> 'paused' and {due}
  and (a.lease_until is null or a.lease_until <= sync.now() or a.lease_owner = %(abandoned_by)s
       or a.lease_until > sync.now() + make_interval(secs => %(longest)s))
returning {columns}, sync.now() as taken_at, k.key_id, k.nonce, k.ciphertext,
    c.account_id is not null as positioned, c.cursor, c.supported,
    extract(epoch from sync.now()
        - case when c.supported then coalesce(a.polled_at, c.moved_at) else c.moved_at end)::float8 as age,
    exists (select from sync.problems p where p.account_id = a.id and p.state = 'open') as has_problems
"""
"""The lease, and all that a run reads first: an idle poll is this statement and the release.

`seen` is the row as the statement's snapshot has it. Every commit of a run changes the row, so where it is still the
newest version nothing was committed since, and what is read beside it is as the last run left it. A lease longer than
any can be was taken before the database's clock went back.
"""

TAKES = {
    queue: TAKE.format(due=due, columns=", ".join(f"a.{name}" for name in AccountRow.__struct_fields__))
    for queue, due in DUE.items()
}

HOLDERS = {
    queue: "select a.status, a.lease_owner, a.lease_until,"  # noqa: S608  # our own conditions
    f" extract(epoch from a.lease_until - sync.now())::float8 as seconds, {due} as due"
    " from sync.accounts a where a.id = %(id)s"
    for queue, due in DUE.items()
}

TRIES = 3
"""How often a lease is asked for that is free but could not be had: its row was changed just then."""


def take_lease(
    engine: Engine,
    account_id: int,
    owner: str,
    seconds: int = LEASE_SECONDS,
    *,
    dead: Callable[[str], bool] = lambda _: False,
    queue: Queue | None = None,
) -> Lease:
    """Take the account for `seconds`; counts as a failure until it is released cleanly.

    `dead` tells of an owner that it runs no more: its lease is taken over at once. For a task from a `queue` the
    account must still be due. Raises LeaseHeldError while another worker has it, NotDueError, UsageError for an unknown
    or paused account.
    """
    try:
        return _take(engine, account_id, owner, seconds, queue)
    except LeaseHeldError as held:
        if not dead(held.owner):
            raise
        return _take(engine, account_id, owner, seconds, queue, abandoned_by=held.owner)


def _take(
    engine: Engine,
    account_id: int,
    owner: str,
    seconds: int,
    queue: Queue | None,
    *,
    abandoned_by: str | None = None,
) -> Lease:
    values = {
        "id": account_id,
        "owner": owner,
        "seconds": seconds,
        "longest": max(seconds, LEASE_SECONDS),
        "abandoned_by": abandoned_by,
        "purpose": credentials.TOKEN,
    }
    for _ in range(TRIES):
        for row in once(engine, TAKES[queue], values):
            return _lease(row, owner, seconds)
        refused = _refused(engine, account_id, queue)
        overtaken = isinstance(refused, LeaseHeldError) and refused.owner == abandoned_by
        if refused is not None and not overtaken:
            raise refused
    raise LeaseHeldError(f"Account {account_id} is being changed all the time. Try again.", owner="", seconds=0.0)


def _lease(row: Mapping[str, Any], owner: str, seconds: int) -> Lease:
    account = account_of(row)
    sealed = None if row["key_id"] is None else Sealed(row["key_id"], row["nonce"], row["ciphertext"])
    position = position_of(row["cursor"], row["supported"], row["age"]) if row["positioned"] else None
    return Lease(
        account=account,
        account_id=account.id,
        epoch=account.lease_epoch,
        owner=owner,
        taken_at=row["taken_at"],
        seconds=seconds,
        sealed=sealed,
        opening=Opening(position, row["has_problems"], row["taken_at"]),
    )


def release(engine: Engine, lease: Lease, ending: Ending, run: Run | None = None) -> bool:
    """Give the account back and note the run, in one transaction; False when the lease had been overtaken."""
    values = {
        "id": lease.account_id,
        "epoch": lease.epoch,
        "clean": ending.clean,
        "polled": ending.polled,
        "due_in": ending.due_in,
        "poll_seconds": ending.poll_seconds,
        "queue": ending.queue,
        "status": ending.status,
        "reason": ending.reason,
    }
    statement = RELEASE_AFTER_WORK
    if ending.idle:
        statement = RELEASE_IDLE
    else:
        values |= {"backfill_in": ending.backfill_in, "longest": LONGEST_WAIT}
    notable = run is not None and run.notable
    rights = ending.clean and lease.account.failures > 1
    if ending.problem is None and not notable and not rights:
        return bool(once(engine, statement, values))

    def work(connection: Connection) -> bool:
        cursor = driver(connection).cursor()
        ended = cursor.execute(statement.encode(), values).fetchone()
        if run is not None:
            _record(connection, lease, run)
        if ended is None:
            return False
        if ending.problem is not None:
            record(cursor, lease.account_id, (ending.problem,))
        elif rights:
            connection.execute(PUT_RIGHT, {"id": lease.account_id})
        return True

    return retry_transaction(engine, work)


def failing_for(engine: Engine, account_id: int, subject: str) -> float:
    """Seconds for which an account has failed in this way without a clean run; 0 when it has not."""
    with translated(), engine.connect() as connection:
        found = connection.execute(FAILING_FOR, {"id": account_id, "subject": subject}).scalar_one_or_none()
    return float(found or 0.0)


def _record(connection: Connection, lease: Lease, run: Run) -> None:
    if not run.notable:
        return
    connection.execute(
        RECORD,
        {
            "id": lease.account_id,
            "epoch": lease.epoch,
            "began_at": lease.taken_at,
            "outcome": run.outcome,
            "error_kind": run.error_kind,
            "error": run.error,
            "requests": run.requests,
            "windows_walked": run.windows_walked,
            "added": run.changes.added,
            "updated": run.changes.updated,
            "unchanged": run.changes.unchanged,
            "tombstoned": run.changes.tombstoned,
            "revived": run.changes.revived,
        },
    )


def _refused(engine: Engine, account_id: int, queue: Queue | None) -> UsageError | LeaseHeldError | NotDueError | None:
    """Why there was no lease; None when nothing speaks against it by now."""
    row = next(iter(once(engine, HOLDERS[queue], {"id": account_id})), None)
    if row is None:
        return unknown(account_id)
    if row["status"] == "paused":
        return UsageError(f"Account {account_id} is paused. Start it again: mailmirror accounts resume {account_id}")
    seconds = row["seconds"] or 0.0
    if seconds > 0:
        owner = row["lease_owner"] or "another worker"
        until = f"until {row['lease_until'].astimezone(UTC):%H:%M:%S} UTC, or longer while it gets on"
        message = f"Account {account_id} is being worked on by {owners.shown(owner)} {until}."
        return LeaseHeldError(message, owner=owner, seconds=seconds)
    return None if row["due"] else NotDueError(f"Account {account_id} is not due.")
