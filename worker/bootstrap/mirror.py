"""Composition root: settings and an account become source, store and engine; a run becomes what it leaves behind."""

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from msgspec.structs import replace

from worker.bootstrap.turns import Report, SystemClock, Turn
from worker.config import HOSTED_URL, Settings
from worker.errors import CredentialRefusedError, LeaseLostError, MailmirrorError, StoreUnavailableError
from worker.ports import Clock, Source
from worker.records import Profile, Queue
from worker.sources import kloudless, open_source
from worker.store import accounts, audits, credentials, dispatch, leases, owners, postgres, problems, pruning
from worker.store.accounts import AccountRow
from worker.store.credentials import KeyRing
from worker.store.engine import Engine, connect, translated
from worker.store.judge import PostgresJudge
from worker.store.leases import Ending, Lease
from worker.store.leases import Run as RunRow
from worker.store.migrations import require_current
from worker.store.rows import Projection
from worker.sync.confirm import Confirmed
from worker.sync.endings import is_app_wide, pause
from worker.sync.repair import Repaired
from worker.sync.run import Totals
from worker.sync.verify import Verdict, Verification

PRUNE_EVERY = 3600.0
"""Seconds between two looks of one process for what is past its time."""
CLOCK_EVERY = 60.0
"""Seconds between two looks, each at every account, whether the database's clock has gone back."""

UPSTREAM = "kloudless_url"
"""Under this name an account's settings keep the root of the API that it was added with."""


class Mirror:
    """Everything a process needs for its accounts; make one per process, after a fork."""

    def __init__(self, settings: Settings, engine: Engine, keys: KeyRing) -> None:
        self.settings = settings
        self.engine = engine
        self.keys = keys
        self.clock: Clock = SystemClock()
        self.projection = Projection.of(settings)
        self.requests = 0
        """Requests that finished runs have sent, those that failed among them."""
        self._owed: deque[Callable[[], object]] = deque(maxlen=1000)
        """Leases and marks to give back that Postgres was away for."""
        self._done_at: dict[str, float] = {}

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

    def source(self, account: AccountRow, token: str | None) -> Source:
        """Open the account's source; raises UsageError when it cannot be used as it is set."""
        settings = self._settings_of(account)
        return open_source(
            account.kind, settings, upstream_id=account.upstream_id, token=token, service=account.service
        )

    def _settings_of(self, account: AccountRow) -> Settings:
        """The settings in force for an account: where nothing else is set, its upstream is the one it was added with.

        So a worker that was not told of the upstream asks it all the same, and never another one.
        """
        url = account.settings.get(UPSTREAM)
        if self.settings.kloudless_url != HOSTED_URL or not isinstance(url, str):
            return self.settings
        return replace(self.settings, kloudless_url=url)

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
        with self._turn(account_id) as turn:
            return turn.run(stop, observe)

    def take_turn(self, account_id: int, queue: Queue) -> Report:
        """Do what a task from this queue is for, for one slice of time; raises as `sync`.

        `live` reads what has changed; `backfill` also walks what is open or due, and polls meanwhile.
        """
        end = self.clock.monotonic() + self.settings.slice_seconds
        try:
            with self._turn(account_id, queue) as turn:
                return turn.run(lambda: self.clock.monotonic() >= end)
        except StoreUnavailableError:
            # Without a lease nothing ends the task's mark, which would keep the account out of the queue.
            self._owed.append(functools.partial(self.unmark, account_id, queue))
            raise

    def verify(self, account_id: int, observe: Callable[[int, int], None] = lambda _checked, _found: None) -> Verdict:
        """Compare the whole mailbox with its mirror, field by field, and keep what was found in `sync.audits`."""
        account = accounts.get(self.engine, account_id)
        source = self.source(account, credentials.load_token(self.engine, self.keys, account_id))
        began_at = postgres.now(self.engine)
        try:
            verdict = Verification(
                source,
                PostgresJudge(self.engine, account_id, self.projection),
                postgres.windows_of(self.engine, account_id),
                page_size=self.settings.page_size,
                polled_at=account.polled_at,
                observe=observe,
            ).run()
        finally:
            source.close()
        audits.record(self.engine, account_id, _finding(verdict, began_at))
        return verdict

    def repair(self, account_id: int, verdict: Verdict, observe: Callable[[int], None] = lambda _: None) -> Repaired:
        """Fetch and write only what the verdict names, under a lease; raises as `sync`."""
        with self._turn(account_id) as turn:
            return turn.repair((*verdict.missing, *verdict.stale, *verdict.extra), observe)

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
            settings={UPSTREAM: self.settings.kloudless_url},
            token=token,
            keys=self.keys,
        )

    def set_token(self, account: AccountRow, token: str) -> None:
        """Give an account a new token, after the upstream has said that it is good and this account's."""
        ask_upstream(self._settings_of(account), account.kind, account.upstream_id, token)
        self.keys = credentials.load_keys(self.settings, make=True)
        accounts.set_token(self.engine, account.id, token, self.keys)

    def tidy(self) -> Sequence[int]:
        """Free what dead workers or a clock that went back hold up, and prune; returns the ids of accounts freed."""
        self._make_up()
        if self._once_in("prune", PRUNE_EVERY):
            pruning.prune(self.engine)
        freed = dispatch.forget_what_lies_too_far(self.engine) if self._once_in("clock", CLOCK_EVERY) else ()
        return [*freed, *dispatch.free_abandoned(self.engine, owners.is_dead)]

    def _once_in(self, what: str, seconds: float) -> bool:
        """Whether it is time again for this, and so done by the caller."""
        now = self.clock.monotonic()
        last = self._done_at.get(what)
        if last is not None and now - last < seconds:
            return False
        self._done_at[what] = now
        return True

    def pick(self, queue: Queue, waiting: int = 0) -> Sequence[int]:
        """Mark due accounts as queued, as many as the settings allow beside the rings `waiting`; gives their ids."""
        settings = self.settings
        slots = settings.live_slots if queue == "live" else settings.backfill_slots
        return dispatch.pick(self.engine, queue, slots, waiting)

    def unmark(self, account_id: int, queue: Queue) -> None:
        """Let an account be picked again whose task found another worker at work."""
        dispatch.unmark(self.engine, account_id, queue)

    def throttle(self, account_id: int, error: MailmirrorError) -> None:
        """Let all accounts of the same app wait when the error is about the app; one alone waits already."""
        if is_app_wide(error):
            seconds = pause(error, 1, self.settings.back_off)
            refused = isinstance(error, CredentialRefusedError)
            reason = f"{error} Correct MAILMIRROR_KLOUDLESS_API_KEY." if refused else str(error)
            dispatch.throttle(self.engine, accounts.get(self.engine, account_id).kind, seconds, reason)

    def confirm_deletes(self, account_id: int, observe: Callable[[int], None] = lambda _: None) -> Confirmed:
        """Ask the upstream again for every deletion that is held, and apply those it confirms, under a lease.

        Raises as `sync`.
        """
        held = problems.held_ids(self.engine, account_id)
        with self._turn(account_id) as turn:
            return turn.confirm(held, observe)

    def _release(self, lease: Lease, ending: Ending, row: RunRow) -> None:
        """Give the account back; where Postgres is away, at this process's next turn."""
        try:
            leases.release(self.engine, lease, ending, row)
        except StoreUnavailableError:
            self._owed.append(functools.partial(leases.release, self.engine, lease, ending, row))
            raise

    def _make_up(self) -> None:
        """Give back what could not be given back before; the epoch keeps it from harming anybody."""
        for _ in range(len(self._owed)):
            try:
                owed = self._owed.popleft()
            except IndexError:  # another thread took the last
                return
            try:
                owed()
            except StoreUnavailableError:
                self._owed.appendleft(owed)
                raise

    @contextmanager
    def _turn(self, account_id: int, queue: Queue | None = None) -> Iterator[Turn]:
        """Hold the lease and the source for a turn, and leave the account as the turn ended."""
        self._make_up()
        if queue is None:
            # A person's shell may have other settings than the workers, and what is wrong there is not the account's.
            account = accounts.get(self.engine, account_id)
            self.source(account, credentials.load_token(self.engine, self.keys, account_id)).close()
        lease = leases.take_lease(self.engine, account_id, owners.this_process(), dead=owners.is_dead, queue=queue)
        turn = Turn(
            engine=self.engine,
            lease=lease,
            projection=self.projection,
            settings=self.settings,
            clock=self.clock,
            queue=queue,
        )
        try:
            # Inside, so that a token that cannot be opened is noted on the account.
            turn.source = self.source(lease.account, credentials.token_of(self.keys, account_id, lease.sealed))
            yield turn
        except LeaseLostError:
            raise
        except MailmirrorError as error:
            self._release(lease, turn.failed(error), turn.row(error))
            raise
        except Exception as error:
            # A fault of ours: the account waits longer each time, so that it cannot keep others from their turn.
            fault = MailmirrorError(f"An unexpected {type(error).__name__} ended the run.")
            self._release(lease, turn.failed(fault), turn.row(fault))
            raise
        except BaseException:
            # Interrupted by a person or a signal: nothing is wrong with the account, and it is due at once.
            self._release(lease, Ending(clean=True, due_in=0.0, queue=queue), turn.row(None))
            raise
        else:
            self._release(lease, turn.ending(), turn.row(None))
        finally:
            self.requests += turn.requests
            if turn.source is not None:
                turn.source.close()


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


def _finding(verdict: Verdict, began_at: datetime) -> audits.Finding:
    kept = audits.KEPT_IDS
    return audits.Finding(
        began_at=began_at,
        checked=verdict.checked,
        missing=len(verdict.missing),
        stale=len(verdict.stale),
        extra=len(verdict.extra),
        not_checked=len(verdict.unchecked) + verdict.newer,
        equal=verdict.equal,
        report={
            "missing": [d.message_id for d in verdict.missing[:kept]],
            "stale": {d.message_id: d.fields for d in verdict.stale[:kept]},
            "extra": [d.message_id for d in verdict.extra[:kept]],
            "not_checked": verdict.unchecked[:kept],
            "newer": verdict.newer,
            "excused": verdict.excused,
        },
    )
