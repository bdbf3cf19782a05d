"""What the web page shows of accounts, a hundred in one statement; of mail nothing but counts and the oldest date."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from worker.errors import StoreUnavailableError
from worker.records import Status
from worker.store import fleet
from worker.store.accounts import to_do
from worker.store.engine import connect, translated
from worker.store.fleet import RECENT, Fleet
from worker.store.migrations import require_current

PAGE = 100
"""Accounts on one page."""
COUNTING = "2s"
"""How long a page may take with its messages counted; a larger mirror is shown without."""
CANCELLED = "57014"
"""SQLSTATE of a statement that took too long."""
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T_co = TypeVar("T_co", covariant=True)
State = Literal["open", "done", "problem"]


class Stretch(Struct, frozen=True):
    """Neighbouring windows of the ledger in the same state."""

    after: datetime
    before: datetime | None
    """None for the head, whose end is open."""
    state: State
    windows: int


class Seen(Struct, frozen=True, kw_only=True):
    """One account as a page shows it."""

    id: int
    tenant_id: str
    kind: str
    service: str | None
    address: str | None
    status: Status
    status_reason: str | None
    polled_at: datetime | None
    late: float
    """Seconds since it should have been polled; 0 where it is not yet due, or is not polled at all."""
    leased: bool
    """Whether a worker is at work on it."""
    problems: int
    problems_with_mail: int
    held_deletes: int
    runs: int
    """Runs of the last hour."""
    written: int
    """Messages that they added, changed, deleted or revived."""
    live: int | None
    """Live messages; None where counting them took too long."""
    oldest: datetime | None
    """`created` of the oldest live message."""
    stretches: tuple[Stretch, ...]
    """The ledger, newest first."""

    @property
    def to_do(self) -> str | None:
        """What a person must do about its status; None where there is nothing to say."""
        return to_do(self.id, self.status, self.status_reason)

    @property
    def complete_to(self) -> datetime | None:
        """Every window from here to the newest mail has been walked; None while not even the newest has."""
        reached: datetime | None = None
        for stretch in self.stretches:
            if stretch.state == "open" or stretch.before != reached:
                break
            reached = stretch.after
        return reached

    @property
    def complete(self) -> bool:
        """Whether the whole history has been walked."""
        return self.complete_to == BEGINNING

    def windows(self, state: State) -> int:
        """Count the windows in this state."""
        return sum(stretch.windows for stretch in self.stretches if stretch.state == state)


class Page(Struct, frozen=True, kw_only=True):
    """One page of accounts, and what is above it."""

    fleet: Fleet
    accounts: tuple[Seen, ...]
    counted: bool
    """Whether messages were counted."""


class RunSeen(Struct, frozen=True, kw_only=True):
    """One row of `sync.runs`."""

    began_at: datetime
    ended_at: datetime
    outcome: str
    error_kind: str | None
    error: str | None
    requests: int
    added: int
    updated: int
    unchanged: int
    tombstoned: int
    revived: int
    windows_walked: int


class WindowSeen(Struct, frozen=True, kw_only=True):
    """One row of the ledger."""

    after: datetime
    before: datetime | None
    state: State
    pages: int
    seen: int
    attempts: int
    walked_at: datetime | None
    next_walk_at: datetime | None


class AuditSeen(Struct, frozen=True, kw_only=True):
    """What the last verification of an account found, in numbers."""

    began_at: datetime
    ended_at: datetime | None
    checked: int
    missing: int
    stale: int
    extra: int
    not_checked: int
    equal: bool


class Standing(Struct, frozen=True, kw_only=True):
    """One account with all that its own page shows, problems apart."""

    at: datetime
    account: Seen
    counted: bool
    windows: tuple[WindowSeen, ...]
    runs: tuple[RunSeen, ...]
    audit: AuditSeen | None


ACCOUNTS = sa.text(
    """
    WITH picked AS (
        SELECT * FROM sync.accounts
        WHERE (CAST(:id AS bigint) IS NULL OR id = :id) AND (CAST(:status AS text) IS NULL OR status = :status)
        ORDER BY id LIMIT :most OFFSET :passed
    )
    SELECT a.id, a.tenant_id, a.kind, a.service, a.address, a.status, a.status_reason, a.polled_at,
        CASE WHEN a.status IN ('active', 'backing_off', 'degraded')
            THEN greatest(0, extract(epoch FROM sync.now() - a.next_due_at)) ELSE 0 END::float8 AS late,
        COALESCE(a.lease_until > sync.now(), false) AS leased,
        trouble.problems, trouble.problems_with_mail, trouble.held_deletes, recent.runs, recent.written,
        CASE WHEN :count THEN
            (SELECT count(*) FROM mail.messages AS m WHERE m.account_id = a.id)
            - (SELECT count(*) FROM mail.messages AS m WHERE m.account_id = a.id AND m.deleted_at IS NOT NULL)
        END AS live,
        (SELECT m.created FROM mail.messages AS m
            WHERE m.account_id = a.id AND m.deleted_at IS NULL AND m.created IS NOT NULL
            ORDER BY m.account_id, m.created LIMIT 1) AS oldest,
        ledger.stretches
    FROM picked AS a
    CROSS JOIN LATERAL (
        SELECT count(*) AS problems, count(*) FILTER (WHERE kind <> 'account') AS problems_with_mail,
            count(*) FILTER (WHERE kind = 'held_delete') AS held_deletes
        FROM sync.problems WHERE account_id = a.id AND state = 'open'
    ) AS trouble
    CROSS JOIN LATERAL (
        SELECT count(*) AS runs, COALESCE(sum(added + updated + tombstoned + revived), 0)::bigint AS written
        FROM sync.runs WHERE account_id = a.id AND began_at > sync.now() - CAST(:recent AS interval)
    ) AS recent
    CROSS JOIN LATERAL (
        SELECT COALESCE(jsonb_agg(jsonb_build_array(extract(epoch FROM after)::bigint,
            extract(epoch FROM before)::bigint, state, windows) ORDER BY after DESC), '[]') AS stretches
        FROM (
            SELECT min(after) AS after, (array_agg(before ORDER BY after DESC))[1] AS before, state, count(*) AS windows
            FROM (
                SELECT after, before, state, count(*) FILTER (WHERE begins) OVER (ORDER BY after DESC) AS stretch
                FROM (
                    SELECT after, before, state,
                        state IS DISTINCT FROM lag(state) OVER newest_first
                            OR before IS DISTINCT FROM lag(after) OVER newest_first AS begins
                    FROM sync.windows WHERE account_id = a.id
                    WINDOW newest_first AS (ORDER BY after DESC)
                ) AS compared
            ) AS numbered
            GROUP BY stretch, state
        ) AS joined
    ) AS ledger
    ORDER BY a.id
    """
)

WINDOWS = sa.text(
    "SELECT after, before, state, pages, seen, attempts, walked_at, next_walk_at FROM sync.windows"
    " WHERE account_id = :id ORDER BY after DESC LIMIT :most"
)
RUNS = sa.text(
    "SELECT began_at, ended_at, outcome, error_kind, error, requests, added, updated, unchanged, tombstoned, revived,"
    " windows_walked FROM sync.runs WHERE account_id = :id ORDER BY began_at DESC, id DESC LIMIT :most"
)
AUDIT = sa.text(
    "SELECT began_at, ended_at, checked, missing, stale, extra, not_checked, equal FROM sync.audits"
    " WHERE account_id = :id ORDER BY began_at DESC, id DESC LIMIT 1"
)

SHOWN = 50
"""Windows and runs on an account's page, the newest."""


def reading(url: str) -> Engine:
    """Make an engine whose sessions cannot write and do not think for long; for pages, and for nothing else."""
    engine = connect(url, pool_size=4)
    sa.event.listen(engine, "connect", _only_read)
    return engine


def _only_read(connection: Any, _record: object) -> None:
    connection.autocommit = True
    connection.execute("SET default_transaction_read_only = on")
    connection.execute("SET default_transaction_isolation = 'repeatable read'")
    connection.execute("SET statement_timeout = '4s'")
    # Where one account holds most of the mail, the planner takes every account for such a one and would read the whole
    # table for each of a page.
    connection.execute("SET enable_seqscan = off")
    connection.autocommit = False


def ready(engine: Engine) -> None:
    """Raise what stands between a page and the database: UsageError or StoreUnavailableError."""
    with translated(), engine.connect() as connection:
        require_current(connection)


def page(engine: Engine, status: Status | None = None, number: int = 1) -> Page:
    """Read one page of accounts, in the order of their numbers, and the figures of all; two statements."""

    def work(connection: Connection, *, counted: bool) -> Page:
        place = {"id": None, "status": status, "most": PAGE, "passed": (number - 1) * PAGE}
        figures = fleet.read(connection)
        return Page(fleet=figures, accounts=_accounts(connection, place, counted=counted), counted=counted)

    return _counted_if_quick(engine, work)


def account(engine: Engine, account_id: int) -> Standing | None:
    """Read all that one account's page shows; None when there is no such account."""

    def work(connection: Connection, *, counted: bool) -> Standing | None:
        found = _accounts(connection, {"id": account_id, "status": None, "most": 1, "passed": 0}, counted=counted)
        if not found:
            return None
        asked = {"id": account_id, "most": SHOWN}
        audits = connection.execute(AUDIT, asked).mappings().all()
        return Standing(
            at=connection.execute(sa.text("SELECT sync.now()")).scalar_one(),
            account=found[0],
            counted=counted,
            windows=tuple(WindowSeen(**row) for row in connection.execute(WINDOWS, asked).mappings()),
            runs=tuple(RunSeen(**row) for row in connection.execute(RUNS, asked).mappings()),
            audit=AuditSeen(**audits[0]) if audits else None,
        )

    return _counted_if_quick(engine, work)


class _Work(Protocol[T_co]):
    def __call__(self, connection: Connection, *, counted: bool) -> T_co: ...


def _counted_if_quick(engine: Engine, work: _Work[T_co]) -> T_co:
    """Do it with messages counted, and without where that takes too long; each in one snapshot."""
    try:
        with translated(), engine.connect() as connection:
            connection.execute(sa.text("SELECT set_config('statement_timeout', :limit, true)"), {"limit": COUNTING})
            return work(connection, counted=True)
    except StoreUnavailableError as error:
        if error.sqlstate != CANCELLED:
            raise
    with translated(), engine.connect() as connection:
        return work(connection, counted=False)


def _accounts(connection: Connection, place: Mapping[str, object], *, counted: bool) -> tuple[Seen, ...]:
    found = connection.execute(ACCOUNTS, {**place, "count": counted, "recent": RECENT}).mappings()
    return tuple(Seen(**{**row, "stretches": tuple(map(_stretch, row["stretches"]))}) for row in found)


def _stretch(values: tuple[int, int | None, State, int]) -> Stretch:
    after, before, state, windows = values
    return Stretch(_moment(after), None if before is None else _moment(before), state, windows)


def _moment(seconds: int) -> datetime:
    """The instant so many seconds after 1970; the ledger begins long before."""
    return EPOCH + timedelta(seconds=seconds)
