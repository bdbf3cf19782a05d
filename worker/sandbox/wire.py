"""What comes in and goes out: calls, replies, and the packing of bodies."""

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .content import Json

try:
    from isal.igzip import compress as _fast
except ImportError:  # isal has no wheel everywhere; the standard library does the same, slower
    from gzip import compress as _fast  # type: ignore[assignment] # called with two plain arguments

encode = msgspec.json.Encoder().encode
_PACK_FROM = 512


@dataclass(slots=True)
class Call:
    """Hold one request. `n` counts requests of the API from 1; `route` and `account_id` are set by routing."""

    n: int
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes = b""
    route: str = ""
    names: dict[str, str] = field(default_factory=dict)
    account_id: int | None = None

    def get(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        for key, value in self.query:
            if key == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """Return every value of a query parameter."""
        return [value for key, value in self.query if key == name]

    def json(self) -> dict[str, Any]:
        """Read the body as a JSON object; an empty body is an empty object."""
        if not self.body.strip():
            return {}
        value = msgspec.json.decode(self.body)
        if not isinstance(value, dict):
            raise msgspec.DecodeError("a JSON object is expected")
        return value

    @property
    def wants_raw(self) -> bool:
        """Tell whether the upstream's own object is asked for (kloudless-api.md 4)."""
        return self.headers.get("x-kloudless-raw-data", "").lower() == "true"

    @property
    def packs(self) -> bool:
        """Tell whether the client takes gzip."""
        return "gzip" in self.headers.get("accept-encoding", "")


@dataclass(slots=True)
class Reply:
    """Hold one answer. `packed` is the body as gzip when it is at hand; `cut` tells the wire how to misbehave."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
    packed: bytes | None = None
    stream: AsyncIterator[bytes] | None = None
    wire: dict[str, Any] = field(default_factory=dict)


def reply(value: object, status: int = 200) -> Reply:
    """Answer with a JSON value."""
    return Reply(status, encode(value))


def page_body(objects: list[bytes], page: object, next_page: str | None) -> bytes:
    """Put rendered messages into the list envelope of the seed."""
    head = encode({"count": len(objects), "page": page, "next_page": next_page})[:-1]
    return head + b',"objects":[' + b",".join(objects) + b'],"type":"object_list","api":"email"}'


def pack(body: bytes) -> bytes:
    """Compress with gzip."""
    return bytes(_fast(body, 1))


def pack_reply(call: Call, answer: Reply) -> None:
    """Compress an answer if the client takes gzip and it is worth it."""
    if call.packs and answer.packed is None and len(answer.body) >= _PACK_FROM:
        answer.packed = pack(answer.body)


def listing(objects: list[Json], **more: object) -> Json:
    """Make a list envelope of ordinary objects."""
    return {"count": len(objects), **more, "objects": objects}


def unpacked(answer: Reply) -> bytes:
    """Return the body of an answer that may be at hand only as gzip."""
    if answer.body or answer.packed is None:
        return answer.body
    return zlib.decompress(answer.packed, wbits=31)
