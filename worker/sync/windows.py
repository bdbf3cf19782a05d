"""Stream 2, windows: one walk of one window of the ledger → batches.

    open ──► page ──► page ──► … ──► last page ──► activity polled ──► done, walked again on its day
      │        │ a refused token, or 60 pages: what was read newest first is closed, the rest is halved
      │        │ a page that cannot be read three times: halved, down to one second, then one problem
      └────────┘ a page token stored with its rows resumes a first walk; a later walk starts over

A window is listed from one second before its lower bound, because an upstream may leave out what lies on the bound
(faults.md U35). What lies below the bound is written like all else, and otherwise not counted.
A walk is a generator of `Batch`; it may be some pages ahead of what is committed, except before its window is closed.
"""

from collections.abc import Callable, Generator
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from worker.errors import MailmirrorError, PageTokenLostError, UnreadableError, UpstreamFailedError
from worker.ports import LeasedStore, Source
from worker.records import Batch, LedgerChange, MessagePage, PageToken, Problem, Rejected, Walked, Window
from worker.sync import ledger
from worker.sync.limits import (
    AHEAD,
    BEGINNING,
    END,
    LEAF,
    LOOK_AHEAD_EVERY,
    MAX_PAGES,
    OVERLAP,
    SMALLEST,
    TRIES,
    Limits,
)
from worker.sync.looks import RETRY_UNREADABLE, Looker
from worker.sync.observations import Observations
from worker.sync.sweep import sweep

Stream = Generator[Batch, None, None]


class Surroundings(Struct, frozen=True, kw_only=True):
    """What every walk of a run shares."""

    source: Source
    store: LeasedStore
    looker: Looker
    seen: Observations
    limits: Limits
    upstream_now: Callable[[], datetime]
    windows_only: bool


class Step(Struct, frozen=True):
    """What follows from an answer that was no page: perhaps something to commit, perhaps the end of the walk."""

    batch: Batch | None
    ends: bool


class Walk:
    """One pass over one window, first or again; holds what it has read until the window is finished."""

    def __init__(self, window: Window, around: Surroundings) -> None:
        self.window = window
        self.again = window.state != "open" and window.before is not None
        self._resumed = not self.again and window.walk_before is not None
        self._around = around
        self._disturbed = False
        self._closed_undisturbed = False
        """Whether its last batch was built without knowing of any disturbance."""
        self._ids: set[str] | None = None
        self._unreadable: set[str] = set()
        self._tokens: set[PageToken] = set()
        self._tries = 0
        self._bare = window.after == BEGINNING
        """Whether the window is listed without the overlap: nothing lies below it, or nothing below it can be read."""
        self.closing = False
        """Every page is committed, and activity must be polled before the walk goes on to close its window: a message
        deleted between two pages may have made the listing skip another."""

    def disturb(self) -> None:
        """Note that a message of this window was deleted meanwhile: the listing may have skipped another."""
        self._disturbed = True

    def settled(self, batch: Batch, now: datetime) -> Batch:
        """The batch as it is to be committed: a window disturbed after its last batch was built is due at once."""
        if not (self._disturbed and self._closed_undisturbed):
            return batch
        put = tuple(w if w.state == "open" else replace(w, next_walk_at=now) for w in batch.ledger.put)
        return replace(batch, ledger=replace(batch.ledger, put=put))

    def batches(self) -> Stream:
        """Walk the window to its end, or until it is cut into smaller ones.

        Raises what the source raises, except for lost page tokens and pages that cannot be read.
        """
        if not self._resumed:
            self._start()
        ends = False
        while not ends:
            asked = self._around.seen.ask()
            try:
                page = self._page()
            except PageTokenLostError as error:
                step = self._token_lost(error)
            except UnreadableError as error:
                step = self._cannot_read(error)
            except UpstreamFailedError as error:
                yield replace(self._failed(error), asked=asked)
                raise
            else:
                step = self._take(page)
            if step.batch is None:
                self._around.seen.settle(asked)
            else:
                # Also where nothing was listed: batches are committed in the order of their requests.
                yield replace(step.batch, asked=asked)
            if self.closing:
                self.closing = False
                yield self._finish(Batch(stream="windows"))
            ends = step.ends

    def _start(self) -> None:
        """Begin the walk at its first page with both bounds pinned."""
        self._disturbed = False
        now = self._around.upstream_now()
        window = self.window
        upper, ahead = window.before or END, window.looked_ahead_at
        known_before = not self.again and self._around.store.any_live(window.after, upper)
        if window.before is None:
            if ahead is None or now - ahead >= LOOK_AHEAD_EVERY:
                ahead = now
            else:
                upper = ledger.whole(now + AHEAD)
        self._ids = set()
        self._unreadable.clear()
        self._tokens.clear()
        self.window = replace(
            window,
            state=window.state if self.again else "open",
            page=None,
            pages=0,
            seen=0,
            walk_before=upper,
            walk_began_at=now,
            reached=upper,
            looked_ahead_at=ahead,
            known_before=known_before,
        )

    def _page(self) -> MessagePage:
        window = self.window
        self._around.store.renew()
        size = window.page_size or self._around.limits.page_size
        if window.page_size == 1 or (self._tries == TRIES - 1 and window.page is None):
            # What cannot be read may lie in the overlap alone.
            self._bare = True
        after = window.after if self._bare else window.after - OVERLAP
        page = self._around.source.window(after, window.walk_before or END, window.page, size)
        if page.next_page in self._tokens:
            message = "The upstream gave the same next_page twice in one listing."
            raise PageTokenLostError(message)
        if page.next_page is not None:
            self._tokens.add(page.next_page)
        return page

    def _take(self, page: MessagePage) -> Step:
        """Turn a page into a batch; the last page finishes the window."""
        self._tries = 0
        self.window = _read(self.window, page)
        if self._ids is not None:
            self._ids.update(m.id for m in page.messages)
            self._ids.update(r.subject for r in page.rejected)
        problems = tuple(_message_problem(r, self.window) for r in page.rejected)
        self._unreadable.update(p.subject for p in problems if p.window is not None)
        batch = Batch(stream="windows", listed=page.messages, problems=problems)
        if page.next_page is None:
            self.closing = self.window.pages > 1 and not self._around.windows_only
            closed = replace(batch, ledger=self._progress()) if self.closing else self._finish(batch)
            return Step(closed, ends=True)
        if self._too_big() and (change := self._cut()) is not None:
            return Step(replace(batch, ledger=change), ends=True)
        self.window = replace(self.window, page=page.next_page)
        return Step(replace(batch, ledger=self._progress()), ends=False)

    def _too_big(self) -> bool:
        if self.again:
            return self.window.seen > 2 * LEAF
        return self.window.pages >= MAX_PAGES

    def _finish(self, batch: Batch) -> Batch:
        window, around = self.window, self._around
        if self._ids is not None:
            found = sweep(around.store, around.looker, window, self._ids)
            problems = (*batch.problems, *found.problems)
            batch = replace(batch, fetched=found.fetched, gone=found.gone, problems=problems)
            self._unreadable.update(p.subject for p in found.problems if p.window is not None)
        batch = replace(batch, ledger=self._finished(window))
        if self._resumed:
            # What its first pages held is not remembered, so this walk puts nothing right.
            return batch
        return replace(batch, walked=(Walked(ledger.span(window), tuple(sorted(self._unreadable))),))

    def _finished(self, window: Window) -> LedgerChange:
        around = self._around
        now, walked_at = window.walk_began_at or around.upstream_now(), around.store.now()
        window = self._judged(window, swept=self._ids is not None)
        change = ledger.finished(window, now, walked_at, windows_only=around.windows_only)
        if self._resumed and window.before is None:
            # The bound of a resumed walk is as old as its beginning, and nothing was swept: the head is walked again at
            # once, and where it had been walked before, so is all that stood in it.
            first = window.walked_at is None
            put = (w if first and w.before is not None else replace(w, next_walk_at=walked_at) for w in change.put)
            change = replace(change, put=tuple(put))
        return change

    def _judged(self, window: Window, *, swept: bool) -> Window:
        """The window as it is closed: to be walked again at once, if its walk may have missed something."""
        disturbed = window.disturbed or self._disturbed or (window.known_before and not swept)
        self._closed_undisturbed = not disturbed
        return replace(window, disturbed=disturbed)

    def _lists_all_passed(self) -> bool:
        """Whether every mirrored message that a newest-first listing has come past stood on it."""
        window = self.window
        if self._ids is None or window.reached is None:
            return False
        upper = window.before or window.walk_before or END
        return self._around.store.live_ids(window.reached + SMALLEST, upper) <= self._ids

    def _token_lost(self, error: PageTokenLostError) -> Step:
        """Close what was read in order; else start over once, then halve (faults.md U15, U16)."""
        attempts = self.window.attempts + 1
        if attempts > TRIES:
            # Not even one second can be listed within the life of a token.
            self._tries = TRIES
            return self._cannot_read(error)
        in_order = self.window.reached is not None and self.window.pages > 0 and not self.again
        if in_order or attempts > 1:
            change = self._cut()
            if change is not None:
                return Step(Batch(stream="windows", ledger=change), ends=True)
            self._bare = True
        self._start()
        self.window = replace(self.window, attempts=attempts)
        return Step(Batch(stream="windows", ledger=self._progress()), ends=False)

    def _cannot_read(self, error: MailmirrorError) -> Step:
        """Try again a few times, then halve down to one second, then record what is lost and go on."""
        self._tries += 1
        if self._tries < TRIES:
            return Step(None, ends=False)
        if (change := self._halves()) is not None:
            return Step(Batch(stream="windows", ledger=change), ends=True)
        if self.window.page_size != 1:
            self._tries = 0
            self.window = replace(self.window, page_size=1)
            self._start()
            return Step(None, ends=False)
        window = self.window
        change = self._finished(window)
        put = tuple(replace(w, state="problem") if w.after == window.after else w for w in change.put)
        cause = f"A page between {ledger.bounds(window)} cannot be read: {error}"
        excerpt = error.excerpt if isinstance(error, UnreadableError) else None
        problem = Problem(
            kind="page",
            subject=ledger.bounds(window),
            cause=cause,
            raw=excerpt or None,
            window=ledger.span(window),
        )
        return Step(Batch(stream="windows", ledger=replace(change, put=put), problems=(problem,)), ends=True)

    def _failed(self, error: UpstreamFailedError) -> Batch:
        """Count a failing answer; a window that fails run after run while the account answers cannot be read."""
        self.window = replace(self.window, attempts=self.window.attempts + 1)
        if self.window.attempts >= TRIES:
            self._around.source.profile()
            self._tries = TRIES
            step = self._cannot_read(error)
            if step.batch is not None:
                return step.batch
        return Batch(stream="windows", ledger=self._progress())

    def _progress(self) -> LedgerChange:
        """A walk that is repeated keeps its place in memory only."""
        if self.again:
            return LedgerChange()
        return LedgerChange(put=(replace(self.window, disturbed=self.window.disturbed or self._disturbed),))

    def _cut(self) -> LedgerChange | None:
        around = self._around
        window = self._judged(self.window, swept=self._lists_all_passed())
        now = window.walk_began_at or around.upstream_now()
        part = (
            None if self.again else ledger.read_part(window, now, around.store.now(), windows_only=around.windows_only)
        )
        return part or self._halves()

    def _halves(self) -> LedgerChange | None:
        return ledger.halves(self.window, self.window.walk_began_at or self._around.upstream_now())


def _read(window: Window, page: MessagePage) -> Window:
    """Count a page, and keep track of how far a newest-first listing has come; the overlap counts for neither."""
    reached = None if page.rejected else window.reached
    inside = [m for m in page.messages if m.created is None or m.created >= window.after]
    for message in inside:
        if reached is None or message.created is None or message.created > reached:
            reached = None
            break
        reached = message.created
    seen = window.seen + len(inside) + len(page.rejected)
    return replace(window, pages=window.pages + 1, seen=seen, reached=reached)


def _message_problem(rejected: Rejected, window: Window) -> Problem:
    return Problem(
        kind="message",
        subject=rejected.subject,
        cause=rejected.reason,
        raw=rejected.raw,
        retry_in=RETRY_UNREADABLE if rejected.addressable else None,
        window=None if rejected.addressable else ledger.span(window),
    )
