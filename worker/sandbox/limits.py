"""The sandbox's own rate limit: a sliding window per app and per account, in real time."""

import time
from collections import deque

from .options import Switches
from .problems import ApiError
from .times import http_date


class Limits:
    """Count recent requests."""

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        """Start with none."""
        self._recent: dict[int | None, deque[float]] = {}

    def check(self, account_id: int | None, switches: Switches, date: float) -> None:
        """Count a request; raise the 429 of the app or of the account when there are too many."""
        for key, limit, code in (
            (None, switches.limit_app, "too_many_requests"),
            (account_id, switches.limit_account, "too_many_service_requests"),
        ):
            if limit is None or (key is None and code != "too_many_requests"):
                continue
            now = time.monotonic()
            recent = self._recent.setdefault(key, deque())
            while recent and recent[0] <= now - switches.limit_window:
                recent.popleft()
            if len(recent) >= limit:
                wait = recent[0] + switches.limit_window - now
                raise ApiError(429, code, "Too many requests.", retry_after(switches.retry_after, wait, date))
            recent.append(now)


def retry_after(form: str, seconds: float, date: float) -> tuple[tuple[str, str], ...]:
    """Write the Retry-After header in one of its forms; `date` is the sandbox's time."""
    if form == "missing":
        return ()
    if form == "date":
        return (("Retry-After", http_date(date + seconds + 1)),)
    if form == "float":
        return (("Retry-After", f"{max(seconds, 0.01):.2f}"),)
    return (("Retry-After", str(max(1, -int(-seconds // 1)))),)
