"""Composition root: settings and an account become source, store and engine; a run becomes what it leaves behind."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from worker.config import Settings
from worker.errors import LeaseLostError, MailmirrorError
from worker.ports import Source
from worker.records import Outcome, Profile, Status
from worker.sources import kloudless, open_source
from worker.store import accounts, credentials, leases, migrations, owners, problems, status
from worker.store.accounts import AccountRow
from worker.store.credentials import KeyRing
from worker.store.engine import Engine, connect, translated
from worker.store.judge import PostgresJudge
from worker.store.leases import Ending, Lease
from worker.store.leases import Run as RunRow
from worker.store.migrations import require_current
from worker.store.postgres import PostgresStore, windows_of
from worker.store.rows import Projection
from worker.sync.confirm import Confirmed, confirm
from worker.sync.endings import consequence, pause
from worker.sync.limits import Limits
from worker.sync.run import Run, Totals
from worker.sync.verify import Verdict, Verification

__all__ = [
    "AccountRow",
    "Confirmed",
    "Mirror",
    "Report",
    "Totals",
    "Verdict",
    "accounts",
    "ask_upstream",
    "migrate",
    "owners",
    "problems",
    "schema_revision",
    "status",
]

POLL_SECONDS = 60.0
EVERY = (1 << 31) - 1
"""A limit that is none."""


class SystemClock:
    """The machine's monotonic clock."""

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See `ports.Clock`."""
        time.sleep(seconds)


class Report(Struct, frozen=True, kw_only=True):
    """How a run ended."""

    quiet: bool
    totals: Totals
    requests: int
    seconds: float


class Mirror:
    """Everything a process needs for its accounts; make one per process, after a fork."""

    def __init__(self, settings: Settings, engine: Engine, keys: KeyRing) -> None:
        self.settings = settings
        self.engine = engine
        self.keys = keys
        self.clock = SystemClock()
        self.projection = Projection.of(settings)
        self.requests = 0
        """Requests that finished runs have sent, those that failed among them."""

    @classmethod
    def open(cls, settings: Settings, *, make_keys: bool = False) -> "Mirror":
        """Connect to the database of the settings and check that its schema is ours.

        Raises UsageError for a database or key ring that cannot be used, StoreUnavailableError while it is away.
        """
        engine = connect(settings.require_database(), pool_size=settings.parallel_windows + 2)
        try:
            with translated(), engine.connect() as connection:
                require_current(connection)
            return cls(settings, engine, credentials.load_keys(settings, make=make_keys))
        except MailmirrorError:
            engine.dispose()
            raise

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def source(self, account: AccountRow) -> Source:
        """Open the account's source; raises UsageError when its token cannot be read."""
        token = credentials.load_token(self.engine, self.keys, account.id)
        return open_source(
            account.kind, self.settings, upstream_id=account.upstream_id, token=token, service=account.service
        )

    def sync(
        self,
        account_id: int,
        *,
        stop: Callable[[], bool],
        observe: Callable[[Totals], None] = lambda _: None,
    ) -> Report:
        """Run one account to quiescence or until `stop`, under a lease of its own.

        Raises LeaseHeldError while another worker has it, UsageError for an unknown or paused one, and the error that
        ended the run after it was noted on the account.
        """
        account = accounts.get(self.engine, account_id)
        source = self.source(account)
        try:
            with self._leased(account_id) as ended:
                return ended.run(self, source, stop, observe)
        finally:
            self.requests += source.requests
            source.close()

    def verify(self, account_id: int, observe: Callable[[int, int], None]) -> Verdict:
        """Compare the whole mailbox with its mirror, field by field."""
        account = accounts.get(self.engine, account_id)
        source = self.source(account)
        try:
            return Verification(
                source,
                PostgresJudge(self.engine, account_id, self.projection),
                windows_of(self.engine, account_id),
                page_size=self.settings.page_size,
                polled_at=account.polled_at,
                observe=observe,
            ).run()
        finally:
            source.close()

    def add_account(
        self,
        kind: str,
        *,
        upstream_id: str | None,
        token: str | None,
        service: str | None = None,
        address: str | None = None,
        tenant_id: str = "default",
    ) -> AccountRow:
        """Add an account that the upstream has answered for; what is not given is taken from its answer.

        Raises what `ask_upstream` raises, and UsageError for a mailbox that is an account already.
        """
        profile = ask_upstream(self.settings, kind, upstream_id, token)
        if token is not None:
            self.keys = credentials.load_keys(self.settings, make=True)
        return accounts.add(
            self.engine,
            kind=kind,
            upstream_id=profile.upstream_id,
            service=service or profile.service,
            address=address or profile.address,
            tenant_id=tenant_id,
            token=token,
            keys=self.keys,
        )

    def set_token(self, account: AccountRow, token: str) -> None:
        """Give an account a new token, after the upstream has said that it is good and this account's."""
        ask_upstream(self.settings, account.kind, account.upstream_id, token)
        self.keys = credentials.load_keys(self.settings, make=True)
        accounts.set_token(self.engine, account.id, token, self.keys)

    def confirm_deletes(self, account_id: int, observe: Callable[[int], None] = lambda _: None) -> Confirmed:
        """Ask the upstream again for every deletion that is held, and apply those it confirms, under a lease.

        Raises as `sync`.
        """
        source = self.source(accounts.get(self.engine, account_id))
        try:
            with self._leased(account_id) as session:
                return session.confirm(self, source, observe)
        finally:
            source.close()

    @contextmanager
    def _leased(self, account_id: int) -> Iterator["_Session"]:
        lease = leases.take_lease(self.engine, account_id, owners.this_process(), dead=owners.is_dead)
        session = _Session(lease)
        try:
            yield session
        except LeaseLostError:
            raise
        except MailmirrorError as error:
            leases.release(self.engine, lease, _failed(lease, error), session.row(error))
            raise
        except Exception as error:
            # A fault of ours: the account waits longer each time, so that it cannot keep the others from their turn.
            fault = MailmirrorError(f"An unexpected {type(error).__name__} ended the run.")
            leases.release(self.engine, lease, _failed(lease, fault), session.row(fault))
            raise
        except BaseException:
            # Interrupted by a person or a signal: nothing is wrong with the account, and it is due at once.
            leases.release(self.engine, lease, Ending(clean=True, due_in=0.0, backfill_in=0.0), session.row(None))
            raise
        else:
            leases.release(self.engine, lease, session.ending(), session.row(None))


class _Session:
    """One run under its lease, and what it leaves behind."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._totals = Totals()
        self._quiet = False
        self._requests = 0
        self._windows_only = False
        self._polled = True

    def run(
        self, mirror: Mirror, source: Source, stop: Callable[[], bool], observe: Callable[[Totals], None]
    ) -> Report:
        began = mirror.clock.monotonic()
        settings = mirror.settings
        limits = Limits(
            page_size=settings.page_size,
            window_messages=settings.window_messages,
            parallel_windows=settings.parallel_windows,
            parallel_fetches=settings.parallel_fetches,
        )

        def note(totals: Totals) -> None:
            self._totals = totals
            observe(totals)

        with PostgresStore(mirror.engine, self._lease.account_id, self._lease.epoch, mirror.projection) as store:
            run = Run(source, store, mirror.clock, limits, note)
            try:
                self._quiet = run.until_quiet(stop)
                position = store.position()
                self._windows_only = position is not None and not position.supported
            finally:
                run.close()
                self._requests = source.requests
        return Report(
            quiet=self._quiet,
            totals=self._totals,
            requests=self._requests,
            seconds=mirror.clock.monotonic() - began,
        )

    def confirm(self, mirror: Mirror, source: Source, observe: Callable[[int], None]) -> Confirmed:
        """Ask again for what is held; says nothing of how the account is otherwise."""
        self._polled = False
        parallel = mirror.settings.parallel_fetches
        rows = problems.listed(mirror.engine, self._lease.account_id, kind="held_delete", limit=EVERY)
        held = [row.subject for row in rows]
        with PostgresStore(mirror.engine, self._lease.account_id, self._lease.epoch, mirror.projection) as store:
            try:
                found = confirm(source, store, mirror.clock, held, parallel=parallel, observe=observe)
            finally:
                self._requests = source.requests
        self._quiet = True
        self._totals = Totals(tombstoned=found.deleted, updated=found.still_there)
        return found

    def ending(self) -> Ending:
        """How the account goes on after a run without an error."""
        if not self._polled:
            return Ending(clean=True, due_in=0.0, backfill_in=0.0)
        condition: Status = "degraded" if self._windows_only else "active"
        reason = "The upstream tells of no changes for this account; it is mirrored by listing alone."
        return Ending(
            clean=True,
            due_in=POLL_SECONDS if self._quiet else 0.0,
            backfill_in=None if self._quiet else 0.0,
            status=condition,
            reason=reason if self._windows_only else None,
        )

    def row(self, error: MailmirrorError | None) -> RunRow:
        """The row of `sync.runs`."""
        totals = self._totals
        return RunRow(
            outcome="failed" if error else "done" if self._quiet else "partial",
            changes=Outcome(
                added=totals.added,
                updated=totals.updated,
                unchanged=totals.unchanged,
                tombstoned=totals.tombstoned,
                revived=totals.revived,
            ),
            requests=self._requests,
            windows_walked=totals.walks,
            error_kind=type(error).__name__ if error else None,
            error=str(error) if error else None,
        )


def _failed(lease: Lease, error: MailmirrorError) -> Ending:
    after = consequence(error)
    seconds = pause(error, lease.account.failures)
    return Ending(clean=False, due_in=seconds, backfill_in=seconds, status=after.status, reason=str(error))


def ask_upstream(settings: Settings, kind: str, upstream_id: str | None, token: str | None) -> Profile:
    """Ask the upstream whether the credential is good, and whose account it is for.

    Raises CredentialRefusedError, UsageError when it belongs to another account, and what `Source.profile` raises.
    """
    if kind == "kloudless" and token is not None:
        return kloudless.check_token(settings, token, upstream_id)
    source = open_source(kind, settings, upstream_id=upstream_id or kloudless.ME, token=token)
    try:
        return source.profile()
    finally:
        source.close()


def migrate(settings: Settings, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the database to `revision`; returns the revisions before and after.

    Raises UsageError for a database that cannot serve, StoreUnavailableError when it is away or a table is in use.
    """
    url = settings.require_database()
    before = migrations.current(url)
    migrations.upgrade(url, revision)
    return before, migrations.current(url)


def schema_revision(settings: Settings) -> str | None:
    """Read the revision of the database; None before the first migration."""
    return migrations.current(settings.require_database())
