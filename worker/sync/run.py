"""One account's run under its lease: which stream gets its turn, what is committed, when to stop.

The streams are driven from one thread: it alone commits. Windows are walked side by side, each walk asking for its
next page in a pool thread; while they do, activity is polled every few seconds, so that a mailbox stays current
however long its backfill takes.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from worker.ports import Clock, LeasedStore, Source
from worker.records import Batch, LedgerChange, Outcome, Window
from worker.sync import ledger
from worker.sync.activity import Retries, follow
from worker.sync.brake import brake
from worker.sync.joining import joined, together
from worker.sync.limits import LEAF, Limits
from worker.sync.looks import Looker
from worker.sync.names import name_folders
from worker.sync.observations import Observations
from worker.sync.windows import Stream, Surroundings, Walk

CLOSING_WAITS = 1.0
"""Seconds since the last poll before one is made only because windows wait to be closed while others are read."""

LIGHT = 4_194_304
"""Characters of mail on a page up to which its walk reads on before it is committed; memory is bounded so."""

MOST_WALKS = 10
"""How often a run walks one window again: where messages are deleted all the time, no walk is undisturbed."""


class Totals(Struct, frozen=True, kw_only=True):
    """What a run has done so far."""

    commits: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    tombstoned: int = 0
    revived: int = 0
    problems: int = 0
    walks: int = 0
    complete_back_to: datetime | None = None
    open_windows: int = 0

    @property
    def read(self) -> int:
        """Messages looked at."""
        return self.added + self.updated + self.unchanged + self.revived


class Run:
    """Keeps one account current: activity, what is pending, and the windows of its ledger."""

    def __init__(
        self,
        source: Source,
        store: LeasedStore,
        clock: Clock,
        limits: Limits,
        observe: Callable[[Totals], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._limits = limits
        self._observe = observe
        self._seen = Observations()
        self._fetches = ThreadPoolExecutor(limits.parallel_fetches, thread_name_prefix="fetch")
        self._walks = ThreadPoolExecutor(limits.parallel_windows, thread_name_prefix="walk")
        self._looker = Looker(source, store, clock, self._fetches, self._seen)
        self._windows: tuple[Window, ...] = ()
        self._active: dict[Future[Batch | None], tuple[Walk, Stream]] = {}
        """Steps of walks that are being made, or are over and not looked at yet; those of one walk in their order."""
        self._turning = threading.Lock()
        """Held while steps begin or are taken off, which the threads of walks do, too."""
        self._halted = False
        """Whether walks are no longer to go on by themselves."""
        self._walking: list[Walk] = []
        self._closing: list[tuple[Walk, Stream]] = []
        """Walks that have read their last page and go on after the next poll."""
        self._walked_again: Counter[datetime] = Counter()
        self.windows_only = False
        """Whether the account has no activity, as the last poll found."""
        self._look_at_head = False
        """Whether the head is still to be walked in this run, because only lists tell of new mail."""
        self._polled = clock.monotonic()
        self._new_folders = False
        """Whether a commit of this run showed a folder whose name was not asked for yet."""
        self.totals = Totals()

    def close(self) -> None:
        """End the pools; whatever is still being asked for is waited for, and dropped."""
        self._walks.shutdown(cancel_futures=True)
        self._fetches.shutdown(cancel_futures=True)

    def until_quiet(self, stop: Callable[[], bool]) -> bool:
        """Run to quiescence: activity empty, nothing pending that is due, no open window, no walk due.

        Returns False when `stop` came first. Raises what the source and the store raise; all that was committed stays.
        """
        while not stop():
            self.poll()
            if self._new_folders:
                self._name_folders()
            walks = self.totals.walks
            if not self._look_at_head and not self._store.walk_due():
                return True
            self.walk(stop)
            if self.totals.walks == walks and not stop():
                return True
            self._name_folders()
        return False

    def changes(self, stop: Callable[[], bool]) -> bool:
        """Read what has changed, and nothing else; where only lists tell, that is one walk of the head."""
        self.poll()
        if self._look_at_head and not stop():
            self.walk(stop, head_alone=True)
        if self._new_folders:
            self._name_folders()
        return not self._look_at_head

    def poll(self) -> None:
        """Read the activity stream to its end, and ask again for what is pending."""
        position = self._store.position()
        if position is not None:
            self._told_by_lists_alone(not position.supported)
        self._drive(follow(self._source, self._store, self._looker, position))
        self._drive(Retries(self._store, self._looker).batches())
        self._polled = self._clock.monotonic()

    def _name_folders(self) -> None:
        self._new_folders = False
        self._drive(name_folders(self._source, self._store))

    def walk(self, stop: Callable[[], bool], *, head_alone: bool = False) -> None:
        """Walk what is open or due, newest first and several at once, until nothing is left or `stop` says so."""
        self._windows = self._store.windows()
        self._halted = False
        try:
            while True:
                if not stop() and (self._look_at_head or not head_alone):
                    self._begin_walks(1 if head_alone else self._limits.parallel_windows)
                self._poll_beside_walks(idle=not self._active)
                if not self._active:
                    return
                ready, _ = wait(list(self._active), return_when=FIRST_COMPLETED)
                self._advance(ready, stop)
        finally:
            self._abandon()

    def _advance(self, ready: Collection[Future[Batch | None]], stop: Callable[[], bool]) -> None:
        """Commit what walks have brought, as much together as fits; meanwhile they read on."""
        brought, ended, failed = self._brought(ready)
        self._halted = bool(failed) or stop()
        for walk, stream, batch in brought:
            if not (self._halted or walk in ended or self._reading(walk) or walk.closing) and batch.weight <= LIGHT:
                self._go_on(walk, stream)
        for group in together([walk.settled(batch, self._store.now()) for walk, _, batch in brought]):
            self._commit(*group)
        if failed:
            raise failed[0]
        for walk in ended:
            self._walking.remove(walk)
            self.totals = replace(self.totals, walks=self.totals.walks + 1)
        for walk, stream in {walk: stream for walk, stream, _ in brought if walk not in ended}.items():
            if self._reading(walk):
                continue
            if walk.closing:
                self._closing.append((walk, stream))
            elif self._halted and not walk.again:
                # A later walk keeps its place in memory alone, so it is let finish: one leaf is short.
                self._walking.remove(walk)
                stream.close()
            else:
                self._go_on(walk, stream)

    def _brought(
        self, ready: Collection[Future[Batch | None]]
    ) -> tuple[list[tuple[Walk, Stream, Batch]], list[Walk], list[BaseException]]:
        """Take off the steps that are over: what they have given in its order, walks at their end, and failures."""
        brought: list[tuple[Walk, Stream, Batch]] = []
        ended: list[Walk] = []
        failed: list[BaseException] = []
        with self._turning:
            over = {future: self._active.pop(future) for future in list(self._active) if future in ready}
        for future, (walk, stream) in over.items():
            error = future.exception()
            if error is not None:
                failed.append(error)
            elif (batch := future.result()) is None:
                ended.append(walk)
            else:
                brought.append((walk, stream, batch))
        return brought, ended, failed

    def _go_on(self, walk: Walk, stream: Stream) -> None:
        with self._turning:
            future = self._walks.submit(_step, stream)
            self._active[future] = (walk, stream)
        future.add_done_callback(self._read_on)

    def _read_on(self, future: Future[Batch | None]) -> None:
        """Let a walk go on as soon as its page is there, though the one before it may still be being committed.

        Called in the walk's thread. Never more than one page waits, and one is asked for, behind the one in the commit.
        """
        with self._turning:
            known = self._active.get(future)
            if known is None or self._halted or future.cancelled() or future.exception() is not None:
                return
            walk, stream = known
            batch = future.result()
            waiting = sum(1 for each, _ in self._active.values() if each is walk)
            if batch is None or walk.closing or waiting > 1 or batch.weight > LIGHT:
                return
            further = self._walks.submit(_step, stream)
            self._active[further] = known
        further.add_done_callback(self._read_on)

    def _reading(self, walk: Walk) -> bool:
        with self._turning:
            return any(each is walk for each, _ in self._active.values())

    def _poll_beside_walks(self, *, idle: bool) -> None:
        """Poll when it is time, and let the walks go on that waited for it; several of them share a poll."""
        since = self._clock.monotonic() - self._polled
        if since <= self._limits.poll_while_walking and not (self._closing and (idle or since > CLOSING_WAITS)):
            return
        waited, self._closing = self._closing, []
        self.poll()
        for walk, stream in waited:
            self._go_on(walk, stream)

    def _begin_walks(self, parallel: int) -> None:
        while len(self._walking) - len(self._closing) < parallel:
            self._plan()
            window = self._next_window()
            if window is None:
                return
            walk = Walk(window, self._surroundings())
            stream = walk.batches()
            self._walking.append(walk)
            self._go_on(walk, stream)

    def _plan(self) -> None:
        """Lay out the next windows of the backfill, and tidy what closing the head has left."""
        target, busy = self._limits.window_messages, self._busy()
        change = ledger.lay_out(self._windows, target, self._limits.parallel_windows, busy)
        if change is None:
            change = ledger.merged(self._windows, target, busy)
        if change is not None:
            self._commit(Batch(stream="windows", ledger=change))

    def _next_window(self) -> Window | None:
        busy = self._busy()
        free = [w for w in self._windows if w.after not in busy]
        if self._look_at_head and free and free[0].before is None:
            self._look_at_head = False
            return free[0]
        last = ledger.at_last_stretch(self._windows, self._limits.window_messages)
        for window in free:
            if window.state == "open" and (last or not ledger.is_frontier(window)):
                return window
        now = self._store.now()
        for window in free:
            due = window.next_walk_at is not None and window.next_walk_at <= now
            if window.state != "open" and due and self._walked_again[window.after] < MOST_WALKS:
                self._walked_again[window.after] += 1
                return window if window.seen <= LEAF else self._leaf(window)
        return None

    def _leaf(self, window: Window) -> Window:
        """Cut a large window before it is walked again, and give its newest part."""
        cuts = self._store.cuts(window.after, window.before or window.after, self._limits.window_messages)
        if not cuts:
            return window
        change = ledger.pieces(window, cuts)
        self._commit(Batch(stream="windows", ledger=change))
        return max(change.put, key=lambda w: w.after)

    def _busy(self) -> set[datetime]:
        return {walk.window.after for walk in self._walking}

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            source=self._source,
            store=self._store,
            looker=self._looker,
            seen=self._seen,
            limits=self._limits,
            upstream_now=self._upstream_now,
            windows_only=self.windows_only,
        )

    def _upstream_now(self) -> datetime:
        """The upstream's own time: windows end by its clock, never by ours (faults.md U36)."""
        profile, asked_at = self._looker.account()
        return profile.served_at + timedelta(seconds=self._clock.monotonic() - asked_at)

    def _drive(self, stream: Stream) -> None:
        for batch in stream:
            self._commit(batch)

    def _commit(self, *batches: Batch) -> None:
        """Write these in one transaction, and note what follows from it."""
        walking = tuple(walk.window.after for walk in self._walking)
        batch = self._braked(replace(joined([self._seen.admit(each) for each in batches]), walking=walking))
        outcome = self._store.commit(batch)
        self._new_folders = self._new_folders or outcome.new_folders > 0
        for each in batches:
            self._seen.settle(each.asked, *(f.asked for f in each.fetched), *(g.asked for g in each.gone))
        for walk in self._walking:
            # What was drained away with a lost cursor may have changed what a walk has passed already.
            if walk.window.after in outcome.disturbed or batch.ledger.walk_all:
                walk.disturb()
        if batch.ledger != LedgerChange() and self._windows:
            self._windows = ledger.applied(self._windows, batch.ledger, self._store.now())
        if batch.cursor is not None:
            self._told_by_lists_alone(not batch.cursor.supported)
        self._count(batch, outcome)

    def _told_by_lists_alone(self, windows_only: bool) -> None:  # noqa: FBT001  # the name says it
        self._look_at_head = self._look_at_head or (windows_only and not self.windows_only)
        self.windows_only = windows_only

    def _braked(self, batch: Batch) -> Batch:
        """Hold what would be too many deletions; decided here, where commits come one after another."""
        if not batch.gone:
            return batch
        verdict = brake(self._store, batch.gone)
        return replace(batch, gone=verdict.gone, problems=(*batch.problems, *verdict.held))

    def _count(self, batch: Batch, outcome: Outcome) -> None:
        totals = self.totals
        self.totals = replace(
            totals,
            commits=totals.commits + 1,
            added=totals.added + outcome.added,
            updated=totals.updated + outcome.updated,
            unchanged=totals.unchanged + outcome.unchanged,
            tombstoned=totals.tombstoned + outcome.tombstoned,
            revived=totals.revived + outcome.revived,
            problems=totals.problems + len(batch.problems) + len(outcome.held),
            complete_back_to=ledger.complete_back_to(self._windows),
            open_windows=sum(1 for w in self._windows if w.state == "open"),
        )
        self._observe(self.totals)

    def _abandon(self) -> None:
        """Wait for the requests that are still out, and drop their walks."""
        with self._turning:
            self._halted = True
        wait(list(self._active))
        for _, stream in (*self._active.values(), *self._closing):
            stream.close()
        self._active.clear()
        self._closing.clear()
        self._walking.clear()


def _step(stream: Stream) -> Batch | None:
    """Let a stream go on; None at its end."""
    return next(stream, None)
