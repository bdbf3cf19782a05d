"""The deletion brake: deletions in a mass are held and shown, never applied by themselves.

Counted per account over a rolling 24 hours, in the store. Absences that a sweep noticed brake at
min(max(50, 20 %), all live messages where there are at least 5); deletions announced by events brake at
max(50, half of the mailbox). What is held becomes one problem a message, in the commit that moves the position.
"""

from collections.abc import Iterable, Sequence
from typing import get_args

from msgspec import Struct

from worker.ports import LeasedStore
from worker.records import FoundBy, Gone, Problem
from worker.sync.limits import BRAKE_EVENT_SHARE, BRAKE_FROM, BRAKE_MESSAGES, BRAKE_SHARE


class Verdict(Struct, frozen=True):
    """Which deletions go through, and which are held."""

    gone: tuple[Gone, ...] = ()
    held: tuple[Problem, ...] = ()


def brake(store: LeasedStore, gone: Sequence[Gone]) -> Verdict:
    """Let deletions through, or hold all that were found in one way when they would make too many for one day.

    What this lets through must be committed before it is asked again: it counts what the store knows.
    """
    through: list[Gone] = [g for g in gone if g.found_by is None]
    stopped: list[Problem] = []
    for found_by in get_args(FoundBy):
        some = [g for g in gone if g.found_by == found_by]
        cause = too_many(store, len(some), found_by)
        if cause is None:
            through += some
        else:
            stopped += held((g.message_id for g in some), cause)
    return Verdict(gone=tuple(through), held=tuple(stopped))


def too_many(store: LeasedStore, count: int, found_by: FoundBy) -> str | None:
    """Why so many further deletions must be held, in words; None when they may go through."""
    if not count:
        return None
    recent = store.deletions(found_by)
    total = recent + count
    share = BRAKE_SHARE if found_by == "sweep" else BRAKE_EVENT_SHARE
    live = store.live_count(at_most=int(max(total, BRAKE_MESSAGES) / share) + BRAKE_FROM + 1)
    if total < threshold(live + recent, found_by):
        return None
    return f"{total} of about {live + recent} messages disappeared within 24 hours; held until a person confirms."


def held(ids: Iterable[str], cause: str) -> tuple[Problem, ...]:
    """The problems that stand for deletions held back."""
    return tuple(Problem(kind="held_delete", subject=id_, cause=cause) for id_ in ids)


def threshold(mailbox: int, found_by: FoundBy) -> float:
    """How many deletions within 24 hours are too many for a mailbox of this size."""
    if mailbox < BRAKE_FROM:
        return float("inf")
    if found_by == "event":
        return max(BRAKE_MESSAGES, BRAKE_EVENT_SHARE * mailbox)
    return min(max(BRAKE_MESSAGES, BRAKE_SHARE * mailbox), mailbox)
