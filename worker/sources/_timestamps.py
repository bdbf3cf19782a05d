"""Timestamps of the upstream: read strictly, written as whole seconds in UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
"""A day short of what Python and Postgres can hold, so that no time zone pushes a value over the edge."""

_CLOCK = r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_USUAL = re.compile(_CLOCK + "Z", re.ASCII)
_RFC3339 = re.compile(rf"({_CLOCK})(?:\.\d+)?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII)


def parse(text: str) -> datetime | None:
    """Read an RFC 3339 time with its zone, cut to whole seconds, as UTC; None for anything else.

    Python alone would take date-only, compact and zone-less forms silently (faults.md D4). Leap seconds,
    days that do not exist and times outside EARLIEST to LATEST are None too.
    """
    try:
        moment = datetime.fromisoformat(text) if _USUAL.fullmatch(text) else _with_zone(text)
    except (ValueError, OverflowError):
        return None  # a day that does not exist, or a zone that leads out of the calendar
    return moment if moment is not None and EARLIEST <= moment <= LATEST else None


def _with_zone(text: str) -> datetime | None:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    second, sign, hours, minutes = match.groups()
    if sign is None:
        return datetime.fromisoformat(second).replace(tzinfo=UTC)
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    zone = timezone(-offset if sign == "-" else offset)
    return datetime.fromisoformat(second).replace(tzinfo=zone).astimezone(UTC)


def stamp(moment: datetime) -> str:
    """Write an aware time as `YYYY-MM-DDTHH:MM:SSZ`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
