"""Answers of the API as bytes, and short ways to read them."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from worker.records import Message, MessagePage
from worker.sources import _decode

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def page_of(*objects: str, **more: Any) -> bytes:
    """A page whose objects are given as JSON text, bad as it may be."""
    envelope = {"count": 99, "page": 1, "next_page": None, "type": "object_list", **more}
    head = json.dumps(envelope)[:-1]
    return f'{head}, "objects": [{",".join(objects)}]}}'.encode("utf-8", "surrogateescape")


def read(body: bytes, *, keep_raw: bool = False) -> MessagePage:
    return _decode.message_page(body, NOW, keep_raw=keep_raw)


def one(*, keep_raw: Any = False, **fields: Any) -> Message:
    """Read one message both from a page and from a GET, which agree."""
    data = json.dumps({"id": "m", **fields})
    page = read(page_of(data), keep_raw=keep_raw)
    assert page.rejected == ()
    assert page.messages == (_decode.message(data.encode(), page.messages[0].id, keep_raw=keep_raw),)
    return page.messages[0]


def reason(text: str) -> str:
    """Read a message between two good ones, which stay, and return why it was refused."""
    page = read(page_of('{"id": "first"}', text, '{"id": "last"}'))
    assert [message.id for message in page.messages] == ["first", "last"]
    (rejected,) = page.rejected
    data = text.encode("utf-8", "surrogateescape")
    assert rejected.raw == data[: 64 * 1024]
    if not rejected.addressable:
        assert rejected.subject == "sha256:" + hashlib.sha256(data).hexdigest()
    return rejected.reason
