"""How late polls are, and how far apart, seen from outside: the accounts' own times, looked at every few seconds."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg

LOOK = "select id, polled_at, next_due_at from sync.accounts where id = any(%s)"
STANDING = """
    select array_agg(extract(epoch from sync.now() - polled_at)::float8) from sync.accounts
    where id = any(%s) and next_due_at < sync.now()
"""
LOOK_EVERY = 2.0


class Lags(threading.Thread):
    """Looks at some accounts every few seconds and keeps when each poll was due and when it was done.

    An account is polled at most once between two looks, as long as its interval is longer.
    """

    def __init__(self, url: str, ids: Sequence[int], every: float = LOOK_EVERY) -> None:
        super().__init__(daemon=True)
        self._url, self._ids, self._every = url, list(ids), every
        self._ended = threading.Event()
        self.late: list[float] = []
        """Seconds from when a poll was due to its end."""
        self.apart: list[float] = []
        """Seconds from one poll's end to the next one's."""

    def run(self) -> None:
        known: dict[int, tuple[Any, Any]] = {}
        seen: set[int] = set()
        with psycopg.connect(self._url, autocommit=True) as connection:
            last = False
            while not last:
                last = self._ended.wait(self._every)
                for account, polled_at, due_at in connection.execute(LOOK, (self._ids,)):
                    before = known.get(account)
                    known[account] = (polled_at, due_at)
                    if before is None or polled_at == before[0]:
                        continue
                    self.late.append((polled_at - before[1]).total_seconds())
                    if account in seen:
                        self.apart.append((polled_at - before[0]).total_seconds())
                    seen.add(account)
            row = connection.execute(STANDING, (self._ids,)).fetchone()
            # Who was not polled again before the end must not be missing among the slow ones.
            self.apart += [age for age in (row[0] if row else None) or () if age > max(self.apart, default=0.0)]

    def end(self) -> None:
        self._ended.set()
        self.join()


def looked(url: str, ids: Sequence[int], seconds: float) -> Lags:
    """Look on for some seconds."""
    lags = Lags(url, ids)
    lags.start()
    time.sleep(seconds)
    lags.end()
    return lags


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
