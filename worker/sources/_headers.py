"""What an answer's headers say: when it was served, when to come back, whether it is JSON."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SHORTEST_WAIT = 1.0
LONGEST_WAIT = 3600.0
_YEARS = range(1970, 9000)


def served_at(date: str | None) -> datetime:
    """Read a `Date` header to whole seconds UTC; the local clock's time when it is missing or no date."""
    return _http_date(date) or datetime.now(UTC).replace(microsecond=0)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header as seconds from `now`, within 1 s and 1 h; None when it says nothing.

    Kloudless sends seconds, perhaps with a fraction (kloudless-api.md 5.4); the HTTP-date form is counted from
    the answer's own `Date`, so that the two clocks do not matter.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = _http_date(value)
        if until is None:
            return None
        seconds = (until - now).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def is_json(content_type: str | None) -> bool:
    """Tell whether a media type is `*/json` or `*/*+json`, whatever its parameters."""
    media = (content_type or "").partition(";")[0].strip().lower()
    kind, slash, subtype = media.partition("/")
    return bool(kind and slash) and (subtype == "json" or subtype.endswith("+json"))


def _http_date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC).replace(microsecond=0)
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None  # the standard library's parser fails in all these ways on text that is no date
    return moment if moment.year in _YEARS else None
