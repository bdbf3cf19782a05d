"""Folds a page of events into the set of messages to look at."""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from worker.records import Event


class Change(Struct, frozen=True):
    """What a page of events says of one message, whatever their order."""

    message_id: str
    deletion_announced: bool
    newest: datetime | None
    """Time of the newest event; None when one of them carries none."""


def fold(events: Iterable[Event]) -> tuple[Change, ...]:
    """Collapse events to one change per message, sorted by id: kinds are hints, their order means nothing."""
    deletions: set[str] = set()
    times: dict[str, datetime | None] = {}
    for event in events:
        if event.kind == "delete":
            deletions.add(event.message_id)
        known = times.get(event.message_id, event.at)
        times[event.message_id] = max(known, event.at) if known and event.at else None
    return tuple(Change(id_, id_ in deletions, times[id_]) for id_ in sorted(times))
