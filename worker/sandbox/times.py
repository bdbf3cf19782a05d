"""The sandbox clock, and times as text. A time is whole seconds since 1970, negative before."""

import datetime as dt
import email.utils
import re
import time

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - arithmetic on naive UTC cannot overflow through an offset
FIRST = int((dt.datetime(1, 1, 1) - EPOCH).total_seconds())  # noqa: DTZ001 - as above
LAST = int((dt.datetime(9999, 12, 31, 23, 59, 59) - EPOCH).total_seconds())  # noqa: DTZ001 - as above
DAY = 86_400
EARLIEST_DELIVERY = DAY
_SECOND = dt.timedelta(seconds=1)
_ASCTIME = re.compile(
    r"([A-Za-z]{3})\s+(\d{1,2})\s+(\d{1,2}:\d\d(?::\d\d)?)\s+(?:[A-Za-z+-][\w+-]*\s+){0,2}(\d{4})\s*([+-]\d{4})?"
)


class Clock:
    """Tell the sandbox's time: real time plus an offset, or a frozen instant."""

    def __init__(self, now: int | None = None) -> None:
        """Start at `now` (seconds) and run on from there; without it, follow the real time."""
        self.offset = 0.0 if now is None else now - time.time()
        self.frozen: float | None = None

    def now(self) -> float:
        """Return seconds since 1970."""
        return self.frozen if self.frozen is not None else time.time() + self.offset

    def set(self, now: float, *, frozen: bool = False) -> None:
        """Jump to an instant; stand still there if `frozen`."""
        self.offset = now - time.time()
        self.frozen = now if frozen else None

    def advance(self, seconds: float) -> None:
        """Jump forward (or back) by seconds."""
        self.offset += seconds
        if self.frozen is not None:
            self.frozen += seconds


def iso(seconds: int) -> str:
    """Format as the API does: ISO 8601, whole seconds, Z."""
    return (EPOCH + dt.timedelta(seconds=max(FIRST, min(LAST, seconds)))).isoformat() + "Z"


def parse_iso(text: str) -> int | None:
    """Read an ISO 8601 time, naive as UTC; fractions round up (created is whole: `>=` and `<` stay right)."""
    try:
        value = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    offset = value.utcoffset() or dt.timedelta()
    return -((EPOCH - value.replace(tzinfo=None) + offset) // _SECOND)


def parse_mail_date(text: str) -> int | None:
    """Read a Date header as written, whatever its year from 1 to 9999; None when it is no date."""
    try:
        parts = email.utils.parsedate_tz(text)
        if parts is None:
            return None
        moment = dt.datetime(*parts[:6])  # noqa: DTZ001 - the offset is applied below
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    seconds = (moment - EPOCH) // _SECOND - (parts[9] or 0)
    return seconds if FIRST <= seconds <= LAST else None


def parse_from_line(line: str) -> int | None:
    """Read the delivery time of an mbox `From ` line."""
    found = _ASCTIME.search(line)
    if found is None:
        return None
    month, day, clock, year, zone = found.groups()
    return parse_mail_date(f"{day} {month} {year} {clock} {zone or '+0000'}")


def http_date(seconds: float) -> str:
    """Format for the HTTP Date header."""
    return email.utils.formatdate(seconds, usegmt=True)
