"""Pages to measure with: a sandbox in a process of its own serves the mail, and what it serves is read once."""

import json
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.mail import Writer
from tests.acceptance.stage import Mailbox, Upstream, settings_for, upstream
from worker.records import Message
from worker.sources import open_source

__all__ = ["BATCH", "OLDEST", "YOUNGEST", "Upstream", "decoded", "one_mailbox", "raw_pages", "upstream"]

BATCH = 100
OLDEST, YOUNGEST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


@contextmanager
def one_mailbox(messages: int, service: str = "gmail") -> Iterator[Mailbox]:
    """Serve one account of `benchmarks.mail` for the length of a with block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Writer().mbox(Path(folder) / "bench.mbox", messages)
        with upstream("--mbox", str(path), "--service", service) as sandbox:
            yield sandbox.served()[0]


def decoded(box: Mailbox) -> list[tuple[Message, ...]]:
    """Read the mailbox with our own source, and cut it into batches of `BATCH`: Gmail gives 50 a page at most."""
    settings = settings_for("", box.upstream.url, Path())
    source = open_source("kloudless", settings, upstream_id=str(box.id), token=box.token)
    try:
        page = source.window(OLDEST, YOUNGEST, None, BATCH)
        messages = list(page.messages)
        while page.next_page is not None:
            page = source.window(OLDEST, YOUNGEST, page.next_page, BATCH)
            messages += page.messages
        return [tuple(messages[at : at + BATCH]) for at in range(0, len(messages), BATCH)]
    finally:
        source.close()


def raw_pages(box: Mailbox) -> Iterator[bytes]:
    """Read the mailbox as any client would: each page's JSON."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    base = f"{box.upstream.url}/accounts/{box.id}/email/messages/"
    query = f"?after={OLDEST:%Y-%m-%dT%H:%M:%SZ}&before={YOUNGEST:%Y-%m-%dT%H:%M:%SZ}&page_size={BATCH}"
    token: str | None = ""
    while token is not None:
        more = f"&page={token}" if token else ""
        request = urllib.request.Request(base + query + more, headers={"Authorization": f"Bearer {box.token}"})
        with opener.open(request, timeout=120) as answer:
            body: bytes = answer.read()
        yield body
        token = json.loads(body)["next_page"]
