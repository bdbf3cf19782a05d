"""One turn on one account under its lease, and what it leaves behind."""

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from worker.config import Settings
from worker.errors import AccountGoneError, MailmirrorError, NeedsPersonError, StoreUnavailableError, UsageError
from worker.ports import Clock, Source
from worker.records import Difference, Outcome, Problem, Queue, Status
from worker.store import breaker
from worker.store.engine import Engine
from worker.store.leases import Ending, Lease, failing_for
from worker.store.leases import Run as RunRow
from worker.store.postgres import PostgresStore
from worker.store.rows import Projection
from worker.sync.confirm import Confirmed, confirm
from worker.sync.endings import APP_WAIT, consequence, is_app_wide, next_poll, pause, shared_wait
from worker.sync.limits import Limits
from worker.sync.repair import Repaired, repair
from worker.sync.run import Run, Totals

WITHOUT_ACTIVITY = "The upstream tells of no changes for this account; it is mirrored by listing alone."


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
    """Whether nothing was left that is due."""
    totals: Totals
    requests: int
    seconds: float


class Turn:
    """The work under one lease; `ending`, `failed` and `row` say afterwards what becomes of the account."""

    def __init__(
        self,
        *,
        engine: Engine,
        lease: Lease,
        projection: Projection,
        settings: Settings,
        clock: Clock,
        queue: Queue | None,
    ) -> None:
        self._engine = engine
        self._lease = lease
        self.source: Source | None = None
        """Opened once the lease is held; None while it could not be."""
        self._projection = projection
        self._settings = settings
        self._clock = clock
        self._queue = queue
        self._totals = Totals()
        self._quiet = False
        self._windows_only = False
        self._idle = False
        """Whether nothing was written."""
        self._polled = False
        """Whether the last poll was not noted by a commit."""
        self._aside = False
        """Whether this was no ordinary run, so that the account is due as it was."""

    def run(self, stop: Callable[[], bool], observe: Callable[[Totals], None] = lambda _: None) -> Report:
        """Keep the account current until nothing is due, or until `stop`."""
        began = self._clock.monotonic()
        settings = self._settings
        limits = Limits(
            page_size=settings.page_size,
            window_messages=settings.window_messages,
            parallel_windows=settings.parallel_windows,
            parallel_fetches=settings.parallel_fetches,
            poll_while_walking=min(Limits().poll_while_walking, settings.poll_seconds),
        )

        def note(totals: Totals) -> None:
            self._totals = totals
            observe(totals)

        with self._store() as store:
            run = Run(self._opened(), store, self._clock, limits, note)
            try:
                self._quiet = run.changes(stop) if self._queue == "live" else run.until_quiet(stop)
                self._windows_only = run.windows_only
            finally:
                run.close()
                self._idle, self._polled = not store.wrote, store.polled
        seconds = self._clock.monotonic() - began
        return Report(quiet=self._quiet, totals=self._totals, requests=self.requests, seconds=seconds)

    def confirm(self, held: Sequence[str], observe: Callable[[int], None]) -> Confirmed:
        """Ask again for what is held; says nothing of how the account is otherwise."""
        self._aside = True
        parallel = self._settings.parallel_fetches
        with self._store() as store:
            found = confirm(self._opened(), store, self._clock, held, parallel=parallel, observe=observe)
        self._quiet = True
        self._totals = Totals(tombstoned=found.deleted, updated=found.still_there)
        return found

    def repair(self, differences: Sequence[Difference], observe: Callable[[int], None]) -> Repaired:
        """Fetch and write what a verification found different; says nothing of how the account is otherwise."""
        self._aside = True
        parallel = self._settings.parallel_fetches
        with self._store() as store:
            done = repair(self._opened(), store, self._clock, differences, parallel=parallel, observe=observe)
        self._quiet = True
        self._totals = Totals(tombstoned=done.deleted, updated=done.written)
        return done

    def ending(self) -> Ending:
        """How the account goes on after a turn without an error."""
        if self._aside:
            return Ending(clean=True, due_in=0.0, queue=self._queue)
        settings, totals = self._settings, self._totals
        changed = bool(totals.added + totals.updated + totals.tombstoned + totals.revived)
        seconds = next_poll(
            self._lease.account.poll_seconds,
            changed=changed,
            fastest=settings.poll_seconds,
            slowest=settings.poll_slowest,
        )
        status: Status = "degraded" if self._windows_only else "active"
        return Ending(
            clean=True,
            due_in=seconds if self._quiet or self._queue == "backfill" else 0.0,
            poll_seconds=seconds,
            queue=self._queue,
            status=status,
            reason=WITHOUT_ACTIVITY if self._windows_only else None,
            polled=self._polled,
            idle=self._idle and self._queue == "live",
        )

    def failed(self, error: MailmirrorError) -> Ending:
        """How the account goes on after an error."""
        kind = type(error).__name__
        seconds = pause(error, self._lease.account.failures, self._settings.back_off)
        lasting, shared = self._circumstances(error)
        if shared and isinstance(error, NeedsPersonError):
            seconds = APP_WAIT
        told_once = is_app_wide(error) or (shared and isinstance(error, NeedsPersonError))
        return Ending(
            clean=False,
            due_in=seconds,
            backfill_in=seconds,
            queue=self._queue,
            status=consequence(error, lasting, shared=shared).status,
            reason=str(error),
            # What is wrong with the app stands in sync.throttles, once, and not with each of its accounts.
            problem=None if told_once else Problem(kind="account", subject=kind, cause=str(error)),
        )

    def _circumstances(self, error: MailmirrorError) -> tuple[float, bool]:
        """For how many seconds the account has failed so, and whether all of its service do; 0 and no in doubt."""
        try:
            if isinstance(error, AccountGoneError):
                return failing_for(self._engine, self._lease.account_id, type(error).__name__), False
            if (wait := shared_wait(error)) is None:
                return 0.0, False
            reason = f"All of them fail: {error}"
            return 0.0, breaker.trip(self._engine, self._lease.account, *wait, reason)
        except StoreUnavailableError:
            # The account must be given back whatever comes: that is tried again later, this is not.
            return 0.0, False

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
            requests=self.requests,
            windows_walked=totals.walks,
            error_kind=type(error).__name__ if error else None,
            error=str(error) if error else None,
        )

    @property
    def requests(self) -> int:
        """Requests sent in this turn."""
        return self.source.requests if self.source is not None else 0

    def _opened(self) -> Source:
        if self.source is None:
            raise UsageError("The account's source was not opened.")
        return self.source

    def _store(self) -> PostgresStore:
        lease = self._lease
        return PostgresStore(self._engine, lease.account_id, lease.epoch, self._projection, lease.opening)
