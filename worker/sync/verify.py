"""Proof: list the whole mailbox upstream and compare every field; writes nothing.

The time is cut as the ledger cuts it (any tiling would do). What differs is asked for once more by GET, so that a
change between listing and comparing is no finding; what only the mirror has is asked for, too. What could not be
checked is said: mail that arrived after the mirror's last poll, pages and messages that cannot be read.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from worker.errors import NotFoundError, PageTokenLostError, UnreadableError, UpstreamFailedError
from worker.ports import Judge, Source
from worker.records import Difference, Message, MessagePage, Window
from worker.sync import ledger
from worker.sync.limits import BEGINNING, END

ATTEMPTS = 3


class Verdict(Struct, frozen=True, kw_only=True):
    """What a comparison found."""

    checked: int = 0
    missing: tuple[Difference, ...] = ()
    stale: tuple[Difference, ...] = ()
    extra: tuple[Difference, ...] = ()
    excused: int = 0
    """Differences that stand in the problem ledger already."""
    newer: int = 0
    """Messages not in the mirror that arrived after its last poll; not checked."""
    unchecked: tuple[str, ...] = ()
    """What could not be compared, in words."""
    unchecked_excused: int = 0
    """How many of those stand in the problem ledger already."""

    @property
    def equal(self) -> bool:
        """Whether everything was compared and nothing differs."""
        return not (self.missing or self.stale or self.extra or self.unchecked)

    @property
    def equal_but_problems(self) -> bool:
        """Whether all that differs is recorded as an open problem."""
        found = len(self.missing) + len(self.stale) + len(self.extra)
        return found == self.excused and len(self.unchecked) == self.unchecked_excused


class Verification:
    """One comparison of one account."""

    def __init__(
        self,
        source: Source,
        judge: Judge,
        windows: Sequence[Window],
        *,
        page_size: int,
        polled_at: datetime | None,
        observe: Callable[[int, int], None] = lambda _checked, _found: None,
    ) -> None:
        self._source = source
        self._judge = judge
        self._windows = windows
        self._page_size = page_size
        self._polled_at = polled_at
        self._observe = observe
        self._checked = 0
        self._newer = 0
        self._found: list[Difference] = []
        self._unchecked: list[tuple[str, str]] = []

    def run(self) -> Verdict:
        """Compare the whole mailbox; raises what the source raises for the account as a whole."""
        self._source.profile()
        for window in self._windows or (Window(after=BEGINNING, before=None),):
            self._window(window.after, window.before or END)
        excused = self._judge.excused([*(d.message_id for d in self._found), *(s for s, _ in self._unchecked)])
        of = {kind: tuple(d for d in self._found if d.kind == kind) for kind in ("missing", "stale", "extra")}
        return Verdict(
            checked=self._checked,
            excused=sum(1 for d in self._found if d.message_id in excused),
            newer=self._newer,
            unchecked=tuple(f"{subject}: {why}" for subject, why in self._unchecked),
            unchecked_excused=sum(1 for subject, _ in self._unchecked if subject in excused),
            **of,
        )

    def _window(self, after: datetime, before: datetime) -> None:
        """Compare one window; one that cannot be listed is halved, and said when it is one second wide."""
        for attempt in range(1, ATTEMPTS + 1):
            checked, newer, found = self._checked, self._newer, len(self._found)
            try:
                listed = self._compare(after, before)
            except (PageTokenLostError, UnreadableError) as error:
                self._checked, self._newer = checked, newer
                del self._found[found:]
                if attempt == ATTEMPTS:
                    self._give_up(after, before, error)
            else:
                self._extra(after, before, listed)
                return

    def _give_up(self, after: datetime, before: datetime, error: Exception) -> None:
        halves = ledger.halves(Window(after=after, before=before), before)
        if halves is None:
            self._unchecked.append((ledger.bounds(Window(after=after, before=before)), str(error)))
            return
        for half in halves.put:
            self._window(half.after, half.before or before)

    def _compare(self, after: datetime, before: datetime) -> set[str]:
        listed: set[str] = set()
        for page in self._pages(after, before):
            fresh = [m for m in page.messages if m.id not in listed]
            listed.update(m.id for m in fresh)
            listed.update(r.subject for r in page.rejected)
            self._unchecked += [(r.subject, r.reason) for r in page.rejected]
            self._judge_all(fresh)
        return listed

    def _pages(self, after: datetime, before: datetime) -> Iterator[MessagePage]:
        token = None
        passed = set()
        while True:
            page = self._source.window(after, before, token, self._page_size)
            yield page
            token = page.next_page
            if token is None:
                return
            if token in passed:
                message = "The upstream gave the same next_page twice in one listing."
                raise PageTokenLostError(message)
            passed.add(token)

    def _judge_all(self, messages: Sequence[Message]) -> None:
        by_id = {m.id: m for m in messages}
        for difference in self._judge.differences(messages):
            confirmed = self._again(difference)
            if confirmed is None:
                continue
            created = by_id[difference.message_id].created
            if confirmed.kind == "missing" and self._is_newer(created):
                self._newer += 1
                continue
            self._found.append(confirmed)
        self._checked += len(messages)
        self._observe(self._checked, len(self._found))

    def _is_newer(self, created: datetime | None) -> bool:
        return self._polled_at is not None and created is not None and created >= ledger.whole(self._polled_at)

    def _again(self, difference: Difference) -> Difference | None:
        """Ask for the one message and compare once more."""
        try:
            message = self._source.message(difference.message_id)
        except NotFoundError:
            return None
        except (UnreadableError, UpstreamFailedError):
            return difference
        found = self._judge.differences([message])
        return found[0] if found else None

    def _extra(self, after: datetime, before: datetime, listed: set[str]) -> None:
        """What only the mirror has is extra when the upstream says that it does not exist."""
        for id_ in sorted(self._judge.live_ids(after, before) - listed):
            try:
                message = self._source.message(id_)
            except NotFoundError:
                self._found.append(Difference(id_, "extra"))
            except (UnreadableError, UpstreamFailedError) as error:
                self._unchecked.append((id_, str(error)))
            else:
                # The listing skipped it, or shows it in another window: it is compared like any other.
                self._checked += 1
                self._found.extend(self._judge.differences([message]))
