"""Looking at single messages: GETs in parallel, and what their answers mean."""

import threading
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from worker.errors import NotFoundError, UnreadableError, UpstreamFailedError
from worker.ports import Clock, LeasedStore, Source
from worker.records import Fetched, FoundBy, Gone, Message, Problem, Profile
from worker.sync.observations import Observations

RETRY_UNREADABLE = 3600.0
RETRY_FAILED = 60.0
RETRY_FRESH = 30.0
OUTAGE_SHARE = 0.5

FIRST_TOGETHER = 4
"""Messages asked for before their size is looked at; twice as many each time after that."""
MOST_TOGETHER = 16
"""Messages asked for at once at most: after many small ones the next may all be large."""
HEAVY = 16_777_216
"""Characters of bodies after which what was asked for is committed before more is."""


class Look(Struct, frozen=True):
    """What GETs of several messages found."""

    fetched: tuple[Fetched, ...] = ()
    absent: tuple[tuple[str, int], ...] = ()
    """Ids the API itself calls not found, each with its request's number."""
    problems: tuple[Problem, ...] = ()
    """Ids that could not be read this time."""


class Looker:
    """Asks the source for single messages; holds the pool and the proof that the account exists."""

    def __init__(
        self, source: Source, store: LeasedStore, clock: Clock, pool: ThreadPoolExecutor, seen: Observations
    ) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._pool = pool
        self._seen = seen
        self._lock = threading.Lock()
        self._profile: tuple[Profile, float] | None = None

    def account(self) -> tuple[Profile, float]:
        """Ask once per run whether the account still exists, and when by our clock; without it no 404 means gone.

        Raises as `Source.profile`.
        """
        with self._lock:
            if self._profile is None:
                self._store.renew()
                self._profile = (self._source.profile(), self._clock.monotonic())
            return self._profile

    def look(self, ids: Collection[str]) -> Look:
        """GET each id; an outage (most of several fail) raises instead of becoming a heap of problems.

        Raises CredentialRefusedError, ForbiddenError, ThrottledError, UnreachableError, UpstreamFailedError.
        """
        return self._told(list(self._pool.map(self._one, ids)))

    def _told(self, answers: "Sequence[_Found | _Absent | _Failed]") -> Look:
        failures = [a for a in answers if isinstance(a, _Failed) and isinstance(a.error, UpstreamFailedError)]
        if len(failures) > 1 and len(failures) > OUTAGE_SHARE * len(answers):
            self._seen.settle(*(a.asked for a in answers))
            raise failures[0].error
        self._seen.settle(*(a.asked for a in answers if isinstance(a, _Failed)))
        return Look(
            fetched=tuple(Fetched(a.message, a.asked) for a in answers if isinstance(a, _Found)),
            absent=tuple((a.message_id, a.asked) for a in answers if isinstance(a, _Absent)),
            problems=tuple(_problem(a) for a in answers if isinstance(a, _Failed)),
        )

    def some(self, ids: Sequence[str]) -> tuple[Look, int]:
        """GET the first of these ids, as many as fit into memory; returns how many were asked for, at least one.

        Raises as `look`.
        """
        answers: list[_Found | _Absent | _Failed] = []
        held, together = 0, FIRST_TOGETHER
        while len(answers) < len(ids) and held < HEAVY:
            found = list(self._pool.map(self._one, ids[len(answers) : len(answers) + together]))
            answers += found
            held += sum(a.message.weight for a in found if isinstance(a, _Found))
            together = min(2 * together, MOST_TOGETHER)
        return self._told(answers), len(answers)

    def gone(self, absent: Iterable[tuple[str, int]], found_by: FoundBy | None) -> tuple[Gone, ...]:
        """Turn answers of "not found" into deletions, after the account itself has answered."""
        pairs = tuple(absent)
        if pairs:
            self.account()
        return tuple(Gone(id_, found_by, asked) for id_, asked in pairs)

    def _one(self, message_id: str) -> "_Found | _Absent | _Failed":
        self._store.renew()
        asked = self._seen.ask()
        try:
            return _Found(self._source.message(message_id), asked)
        except NotFoundError:
            return _Absent(message_id, asked)
        except (UnreadableError, UpstreamFailedError) as error:
            return _Failed(message_id, asked, error)


class _Found(Struct, frozen=True):
    message: Message
    asked: int


class _Absent(Struct, frozen=True):
    message_id: str
    asked: int


class _Failed(Struct, frozen=True):
    message_id: str
    asked: int
    error: UnreadableError | UpstreamFailedError


def _problem(failed: _Failed) -> Problem:
    if isinstance(failed.error, UnreadableError):
        return Problem(
            kind="message",
            subject=failed.message_id,
            cause=str(failed.error),
            raw=failed.error.excerpt or None,
            retry_in=RETRY_UNREADABLE,
        )
    wait = failed.error.retry_after or RETRY_FAILED
    return Problem(kind="pending", subject=failed.message_id, cause=str(failed.error), retry_in=wait)
