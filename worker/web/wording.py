"""How pages write numbers, times and states."""

from datetime import UTC, datetime

from worker.store.overview import BEGINNING

MINUTE, HOUR, DAY = 60, 3600, 86_400
ON_TIME = 5.0
"""Seconds by which a poll may be late without being called so: dispatch looks every few."""
STATES = {
    "active": "active",
    "degraded": "degraded",
    "backing_off": "backing off",
    "auth_required": "needs a new token",
    "gone": "gone upstream",
    "paused": "paused",
}
KINDS = {
    "pending": "pending",
    "message": "unreadable message",
    "event": "unreadable event",
    "page": "unreadable page",
    "held_delete": "held deletion",
    "account": "account",
}


def number(value: float | None) -> str:
    """A count with thousands set apart; a dash where it is not known."""
    return "\N{EN DASH}" if value is None else f"{value:,.0f}"


def counted(value: int, one: str) -> str:
    """A count with its noun."""
    return f"{value:,} {one if value == 1 else one + 's'}"


def span(seconds: float) -> str:
    """Seconds in their largest unit."""
    seconds = max(0.0, seconds)
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def since(moment: datetime | None, at: datetime) -> str:
    """How long something is past."""
    return "never" if moment is None else f"{span((at - moment).total_seconds())} ago"


def until(moment: datetime | None, at: datetime) -> str:
    """How long something is ahead."""
    if moment is None:
        return "\N{EN DASH}"
    return "due now" if moment <= at else f"in {span((moment - at).total_seconds())}"


def minute(moment: datetime | None) -> str:
    """A date and time, UTC; year 1 is where every ledger begins."""
    if moment is None:
        return "\N{EN DASH}"
    return "the beginning" if moment == BEGINNING else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def machine(moment: datetime) -> str:
    """A time for programs."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def lag(seconds: float) -> str:
    """How late a poll is, due to polled."""
    return "on time" if seconds < ON_TIME else f"{span(seconds)} late"


def printable(text: str | None) -> str:
    """Replace control characters, and those that change the direction of what stands around them."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text or "")


FILTERS = {
    "number": number,
    "counted": counted,
    "span": span,
    "since": since,
    "until": until,
    "minute": minute,
    "machine": machine,
    "lag": lag,
    "printable": printable,
}
