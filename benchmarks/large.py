"""Four messages of 50 MB, and the ways in which they come to a worker process at once."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from benchmarks.upstream import Upstream
from tests.acceptance.stage import Mailbox
from worker.records import Queue

LARGE = 50_000_000
LINE = b"<p>one of very many lines of a very large message, which nobody will ever read to its end</p>\r\n"
HEAD = (
    b"From: Large <large@bench.example>\r\nTo: bench@bench.example\r\nSubject: large\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One way."""

    name: Literal["told", "listed"]
    words: str
    count: int = 4

    def box(self, api: Upstream) -> Mailbox:
        """The mailbox before the worker knows of it."""
        box = api.mailbox(0, "outlook_email")
        if self.name == "listed":
            now = datetime.now(UTC)
            _deliver(box, [now - timedelta(days=4 + 7 * week) for week in range(self.count)])
        return box

    def play(self, box: Mailbox) -> Iterator[Queue]:
        """Give the queues from which a job is done, one after another."""
        yield "live"
        yield "backfill"
        if self.name == "told":
            _deliver(box, [None] * self.count)
            yield "live"


def scenes() -> tuple[Scene, ...]:
    """All of them."""
    return (
        Scene("told", "that events tell of"),
        Scene("listed", "in four windows walked side by side"),
    )


def _deliver(box: Mailbox, times: Sequence[datetime | None]) -> None:
    raw = base64.b64encode(HEAD + LINE * (LARGE // len(LINE))).decode()
    for at in times:
        box.deliver(raw_base64=raw, created=None if at is None else at.isoformat())
