"""What `mailmirror status` and `accounts list` show, of one account or of all, in a few set-based queries."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from worker.records import Status
from worker.store.accounts import to_do
from worker.store.engine import translated

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Where every ledger begins."""


class AccountStatus(Struct, frozen=True, kw_only=True):
    """How one account stands."""

    id: int
    tenant_id: str
    kind: str
    service: str | None
    address: str | None
    status: Status
    status_reason: str | None
    at: datetime
    """The store's time of this answer."""
    polled_at: datetime | None
    """When changes were last read to their end."""
    lease_owner: str | None
    """Who works on it at this moment, or None."""
    live: int | None = None
    """Live messages; None where they were not counted."""
    deleted: int | None = None
    """Tombstones; None where they were not counted."""
    oldest: datetime | None = None
    """`created` of the oldest live message."""
    complete_to: datetime | None = None
    """Every window from here to the newest mail has been walked; None while not even the newest has."""
    windows_open: int = 0
    windows_done: int = 0
    windows_problem: int = 0
    """Windows walked but for a part that cannot be read."""
    problems: int = 0
    """Open problems."""
    problems_with_mail: int = 0
    """Those of them that are about mail, and not about the account as a whole."""
    held_deletes: int = 0
    """Those of them that are deletions waiting for a person."""

    @property
    def to_do(self) -> str | None:
        """What a person must do about its status; None where there is nothing to say."""
        return to_do(self.id, self.status, self.status_reason)

    @property
    def poll_age(self) -> timedelta | None:
        """Time since changes were last read to their end."""
        return None if self.polled_at is None else self.at - self.polled_at

    @property
    def complete(self) -> bool:
        """Whether the whole history has been walked."""
        return self.complete_to == BEGINNING

    @property
    def share(self) -> float | None:
        """Walked share of the time since the oldest known mail, 0 to 1; None while nothing is known."""
        if self.complete:
            return 1.0
        if self.oldest is None or self.oldest >= self.at:
            return None
        if self.complete_to is None:
            return 0.0
        return min(1.0, max(0.0, (self.at - self.complete_to) / (self.at - self.oldest)))


ACCOUNTS = sa.text(
    """
    SELECT id, tenant_id, kind, service, address, status, status_reason, sync.now() AS at, polled_at,
        CASE WHEN lease_until > sync.now() THEN lease_owner END AS lease_owner
    FROM sync.accounts
    WHERE CAST(:id AS bigint) IS NULL OR id = :id
    ORDER BY id
    """
)

LEDGER = sa.text(
    """
    -- Newest window first: a window breaks the chain when it is open, or does not reach up to the one above it.
    WITH chained AS (
        SELECT account_id, after, state,
            state = 'open' OR before IS DISTINCT FROM lag(after) OVER newest_first AS breaks
        FROM sync.windows
        WHERE CAST(:id AS bigint) IS NULL OR account_id = :id
        WINDOW newest_first AS (PARTITION BY account_id ORDER BY after DESC)
    ), walked AS (
        SELECT account_id, after, state,
            count(*) FILTER (WHERE breaks) OVER (PARTITION BY account_id ORDER BY after DESC) = 0 AS unbroken
        FROM chained
    )
    SELECT account_id, min(after) FILTER (WHERE unbroken) AS complete_to,
        count(*) FILTER (WHERE state = 'open') AS windows_open,
        count(*) FILTER (WHERE state = 'done') AS windows_done,
        count(*) FILTER (WHERE state = 'problem') AS windows_problem
    FROM walked
    GROUP BY account_id
    """
)

THROTTLES = sa.text(
    "SELECT scope, extract(epoch FROM until - sync.now())::float8, reason FROM sync.throttles WHERE until > sync.now()"
    " ORDER BY scope"
)

PROBLEMS = sa.text(
    """
    SELECT account_id, count(*) AS problems, count(*) FILTER (WHERE kind <> 'account') AS problems_with_mail,
        count(*) FILTER (WHERE kind = 'held_delete') AS held_deletes
    FROM sync.problems
    WHERE state = 'open' AND (CAST(:id AS bigint) IS NULL OR account_id = :id)
    GROUP BY account_id
    """
)

# Two index-only counts cost far less than one that reads deleted_at of every row.
MESSAGES = sa.text(
    """
    WITH every AS (
        SELECT account_id, count(*) AS n FROM mail.messages
        WHERE CAST(:id AS bigint) IS NULL OR account_id = :id GROUP BY account_id
    ), gone AS (
        SELECT account_id, count(*) AS n FROM mail.messages
        WHERE deleted_at IS NOT NULL AND (CAST(:id AS bigint) IS NULL OR account_id = :id) GROUP BY account_id
    )
    SELECT account_id, every.n - COALESCE(gone.n, 0) AS live, COALESCE(gone.n, 0) AS deleted, first.created AS oldest
    FROM every LEFT JOIN gone USING (account_id)
    LEFT JOIN LATERAL (
        SELECT created FROM mail.messages AS m
        WHERE m.account_id = every.account_id AND deleted_at IS NULL AND created IS NOT NULL
        ORDER BY m.account_id, created LIMIT 1
    ) AS first ON true
    """
)


def fleet(engine: Engine, *, count_messages: bool = True) -> list[AccountStatus]:
    """Say how every account stands, in the order of their numbers; counting messages reads a large index."""
    return _read(engine, None, count_messages=count_messages)


def one(engine: Engine, account_id: int, *, count_messages: bool = True) -> AccountStatus | None:
    """Say how one account stands; None when there is no such account."""
    return next(iter(_read(engine, account_id, count_messages=count_messages)), None)


def throttled(engine: Engine) -> list[tuple[str, float, str | None]]:
    """Kinds of accounts that all wait at this moment: the kind, the seconds left, and why."""
    with translated(), engine.connect() as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(THROTTLES)]


def _read(engine: Engine, account_id: int | None, *, count_messages: bool) -> list[AccountStatus]:
    with translated(), engine.connect() as connection:
        # One snapshot, so that the parts of an account's line agree.
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        accounts = connection.execute(ACCOUNTS, {"id": account_id}).mappings().all()
        parts = [LEDGER, PROBLEMS, *([MESSAGES] if count_messages else [])]
        facts: dict[int, dict[str, object]] = {row["id"]: dict(row) for row in accounts}
        if count_messages:
            for known in facts.values():
                known |= {"live": 0, "deleted": 0}
        for part in parts:
            _merge(connection, part, account_id, facts)
    return [AccountStatus(**known) for known in facts.values()]  # type: ignore[arg-type]  # columns of the queries above


def _merge(
    connection: Connection, part: sa.TextClause, account_id: int | None, facts: dict[int, dict[str, object]]
) -> None:
    for row in connection.execute(part, {"id": account_id}).mappings():
        values = dict(row)
        number = values.pop("account_id")
        if number in facts:
            facts[number] |= values
