"""The lease on an account: who works on it, under which fence, and how a run ends.

A lease is taken with a new `lease_epoch`. Every transaction of the run begins with an UPDATE of the account's row
`WHERE lease_epoch = mine`: a worker that was overtaken changes no row, and stops.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from models import Account, Throttle
from worker.errors import LeaseHeldError, NotDueError, UsageError
from worker.records import Outcome, Problem, Queue, Status
from worker.store.accounts import COLUMNS, AccountRow, account_of, unknown
from worker.store.engine import NOW, retry_transaction, translated
from worker.store.postgres import driver, record

LEASE_SECONDS = 90


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


HOLDER = sa.text(
    "SELECT status, lease_owner, extract(epoch FROM lease_until - clock.now)::float8 AS seconds"
    " FROM sync.accounts, (SELECT sync.now() AS now) AS clock WHERE id = :id"
)

RELEASE = sa.text(
    """
    UPDATE sync.accounts
    SET lease_owner = NULL, lease_until = NULL,
        queued_until = CASE WHEN :queue = 'backfill' THEN queued_until END,
        backfill_queued_until = CASE WHEN :queue = 'live' THEN backfill_queued_until END,
        failures = CASE WHEN :clean THEN 0 ELSE failures END,
        next_due_at = sync.now() + make_interval(secs => :due_in * (1 + 0.1 * random())),
        backfill_due_at = (
            SELECT greatest(sync.now() + make_interval(secs => :backfill_in), ledger.due_at)
            FROM (SELECT CASE
                WHEN EXISTS (SELECT FROM sync.windows WHERE account_id = :id AND state = 'open') THEN sync.now()
                ELSE (SELECT min(next_walk_at) FROM sync.windows WHERE account_id = :id) END) AS ledger (due_at)
            WHERE ledger.due_at IS NOT NULL
        ),
        poll_seconds = COALESCE(:poll_seconds, poll_seconds),
        status = COALESCE(:status, status),
        status_reason = CASE WHEN CAST(:status AS text) IS NULL THEN status_reason ELSE :reason END,
        changed_in = CASE
            WHEN CAST(:status AS text) IS NULL OR (status, status_reason) IS NOT DISTINCT FROM (:status, :reason)
            THEN changed_in ELSE pg_current_xact_id() END
    WHERE id = :id AND lease_epoch = :epoch
    """
)

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


AT_WORK = (
    Account.status.in_(("active", "backing_off", "degraded")),
    sa.not_(sa.exists().where(Throttle.scope == Account.kind, Throttle.until > NOW)),
)
DUE: dict[Queue, tuple[sa.ColumnElement[bool], ...]] = {
    "live": (*AT_WORK, Account.next_due_at <= NOW),
    "backfill": (*AT_WORK, Account.backfill_due_at <= NOW),
}
"""What must still hold when a task gets its turn: it may have waited long."""


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
    conditions = DUE[queue] if queue is not None else ()
    try:
        return _take(engine, account_id, owner, seconds, conditions)
    except LeaseHeldError as held:
        if not dead(held.owner):
            raise
        return _take(engine, account_id, owner, seconds, conditions, abandoned_by=held.owner)


def _take(
    engine: Engine,
    account_id: int,
    owner: str,
    seconds: int,
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    abandoned_by: str | None = None,
) -> Lease:
    statement = (
        sa.update(Account)
        .where(
            Account.id == account_id,
            Account.status != "paused",
            sa.or_(
                Account.lease_until.is_(None),
                Account.lease_until <= NOW,
                Account.lease_owner == abandoned_by if abandoned_by else sa.false(),
            ),
            *conditions,
        )
        .values(
            lease_epoch=Account.lease_epoch + 1,
            lease_owner=owner,
            lease_until=NOW + timedelta(seconds=seconds),
            failures=Account.failures + 1,
        )
        .returning(*COLUMNS, NOW.label("taken_at"))
    )

    def work(connection: Connection) -> Lease:
        row = connection.execute(statement).mappings().one_or_none()
        if row is None:
            raise _refused(connection, account_id)
        account = account_of(row)
        return Lease(
            account=account,
            account_id=account.id,
            epoch=account.lease_epoch,
            owner=owner,
            taken_at=row["taken_at"],
            seconds=seconds,
        )

    return retry_transaction(engine, work)


def release(engine: Engine, lease: Lease, ending: Ending, run: Run | None = None) -> bool:
    """Give the account back and note the run, in one transaction; False when the lease had been overtaken."""

    def work(connection: Connection) -> bool:
        ended = connection.execute(
            RELEASE,
            {
                "id": lease.account_id,
                "epoch": lease.epoch,
                "clean": ending.clean,
                "due_in": ending.due_in,
                "backfill_in": ending.backfill_in,
                "poll_seconds": ending.poll_seconds,
                "queue": ending.queue,
                "status": ending.status,
                "reason": ending.reason,
            },
        )
        if run is not None:
            _record(connection, lease, run)
        if ended.rowcount != 1:
            return False
        if ending.problem is not None:
            record(driver(connection).cursor(), lease.account_id, (ending.problem,))
        elif ending.clean and lease.account.failures > 1:
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


def _refused(connection: Connection, account_id: int) -> UsageError | LeaseHeldError | NotDueError:
    row = connection.execute(HOLDER, {"id": account_id}).one_or_none()
    if row is None:
        return unknown(account_id)
    if row.status == "paused":
        return UsageError(f"Account {account_id} is paused. Start it again: mailmirror accounts resume {account_id}")
    if row.seconds is None or row.seconds <= 0:
        return NotDueError(f"Account {account_id} is not due.")
    owner = row.lease_owner or "another worker"
    seconds = max(0.0, row.seconds or 0.0)
    message = f"Account {account_id} is being worked on by {owner}. Try again in {seconds:.0f} seconds."
    return LeaseHeldError(message, owner=owner, seconds=seconds)
