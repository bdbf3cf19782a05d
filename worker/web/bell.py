"""How much lies in the queue, asked of Redis itself: this process needs nothing else of Celery."""

import time

import redis
from msgspec import Struct

from worker.errors import UsageError

QUEUES = ("live", "backfill")
UNACKNOWLEDGED = "unacked_index"
"""Celery's: the messages that workers have taken and not yet acknowledged, by the time at which they took them."""
PATIENCE = 1.5
"""Seconds for an answer: a page must not wait for a broker that is away."""
SENTINEL = "sentinel://"
SOCKET = "redis+socket://"


class Queue(Struct, frozen=True, kw_only=True):
    """How the queue stands."""

    waiting: dict[str, int]
    """Messages that no worker has taken, by queue."""
    taken: int
    """Messages that workers have taken and not yet acknowledged: turns under way, and one kept ready each."""
    oldest: float | None
    """Seconds since the oldest of these was taken; None without any."""


class Bell:
    """Asks one broker; raises UsageError for an address that is none."""

    def __init__(self, url: str | None) -> None:
        self._client: redis.Redis | None = None
        if url is not None and not url.startswith(SENTINEL):
            place = url.replace(SOCKET, "unix://", 1)
            try:
                self._client = redis.Redis.from_url(place, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
            except ValueError:
                raise UsageError("REDIS_URL cannot be read. It must look like redis://host:6379/0.") from None

    @property
    def known(self) -> bool:
        """Whether there is a broker to ask: REDIS_URL is set, and names one server."""
        return self._client is not None

    def ask(self) -> Queue | None:
        """Say how the queue stands; None where there is no broker to ask, or it does not answer."""
        if self._client is None:
            return None
        try:
            with self._client.pipeline(transaction=False) as asked:
                for queue in QUEUES:
                    asked.llen(queue)
                asked.zcard(UNACKNOWLEDGED)
                asked.zrange(UNACKNOWLEDGED, 0, 0, withscores=True)
                *waiting, taken, oldest = asked.execute()
        except redis.RedisError:
            return None
        return Queue(
            waiting=dict(zip(QUEUES, map(int, waiting), strict=True)),
            taken=int(taken),
            oldest=max(0.0, time.time() - float(oldest[0][1])) if oldest else None,
        )

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
