"""The true log of every change of an account, and the stream of events the API shows of it."""

from bisect import bisect_right
from typing import NamedTuple

from .options import Switches
from .problems import ApiError, invalid, not_found

HOUR = 3600
FIRST_CURSOR = 1
"""The cursor before the first change; "0" is another word for the oldest change that is kept."""
_LONGEST = 20


class Change(NamedTuple):
    """Record one change: its number (from 1), time, kind (add, update, delete) and the message's serial."""

    seq: int
    at: float
    kind: str
    serial: int


class ChangeLog:
    """Keep every change there ever was; retention applies only to what the API shows."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        """Start empty."""
        self.changes: list[Change] = []

    def __len__(self) -> int:
        return len(self.changes)

    def append(self, kind: str, serial: int, now: float) -> None:
        """Add a change that happened now."""
        self.changes.append(Change(len(self.changes) + 1, now, kind, serial))

    def dropped(self, start: int, switches: Switches, now: float) -> int:
        """Return the number of the newest change that is retained no more; `start` is where tracking began."""
        by_count = len(self.changes) - switches.retained_events
        horizon = now - switches.retained_hours * HOUR
        by_age = bisect_right(self.changes, horizon, key=lambda change: change.at)
        return max(start, by_count, by_age)

    def read(
        self, cursor: str | None, count: int, start: int, switches: Switches, now: float
    ) -> tuple[list[Change], str]:
        """Return up to `count` changes after a cursor, and the cursor after them (kloudless-api.md 9.4)."""
        visible = len(self.changes)
        if switches.activity_lag > 0:
            visible = bisect_right(self.changes, now - switches.activity_lag, key=lambda change: change.at)
        dropped = self.dropped(start, switches, now)
        place = dropped if cursor is None else self._place(cursor, dropped, switches)
        found = self.changes[place : min(place + count, max(visible, place))]
        return found, str((found[-1].seq if found else place) + FIRST_CURSOR)

    def _place(self, cursor: str, dropped: int, switches: Switches) -> int:
        known = cursor.isascii() and cursor.isdecimal() and len(cursor) < _LONGEST
        place = int(cursor) - FIRST_CURSOR if known else -1
        if dropped <= place <= len(self.changes):
            return place
        if cursor == "0" or switches.cursor_expiry == "silent_skip":
            return dropped
        raise expired_cursor(switches.cursor_expiry)


def expired_cursor(mode: str) -> ApiError:
    """Build the answer to a cursor that is not known any more."""
    if mode == "404":
        return not_found("Cursor")
    if mode == "410":
        return ApiError(410, "gone", "The cursor has expired.")
    return invalid("The cursor is invalid or has expired.")
