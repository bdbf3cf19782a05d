"""Faults of the wire: the answer is right, what arrives is not."""
# ruff: noqa: ARG001 - every fault has one signature

from collections.abc import Callable

from .faults import Fault
from .wire import Reply

Spoil = Callable[[Fault, Reply], None]


def _reset_after(fault: Fault, reply: Reply) -> None:
    reply.wire["reset"] = 0


def _reset_mid_body(fault: Fault, reply: Reply) -> None:
    reply.wire["reset"] = int(fault.args.get("bytes", max(1, len(reply.body) // 2)))


def _truncated(fault: Fault, reply: Reply) -> None:
    reply.body = reply.body[: int(fault.args.get("bytes", len(reply.body) // 2))]
    reply.packed = None


def _cut(fault: Fault, reply: Reply) -> None:
    _truncated(fault, reply)
    reply.wire["unframed"] = True


def _short(fault: Fault, reply: Reply) -> None:
    _truncated(fault, reply)
    reply.wire["unframed"] = True
    reply.headers.append(("Content-Length", str(len(reply.body) * 2 + 100)))


def _slow_body(fault: Fault, reply: Reply) -> None:
    reply.wire["body_delay"] = float(fault.args.get("seconds", 5))


def _slow(fault: Fault, reply: Reply) -> None:
    reply.wire["delay"] = float(fault.args.get("seconds", 5))


def _drip(fault: Fault, reply: Reply) -> None:
    reply.wire["drip"] = (int(fault.args.get("bytes", 1)), float(fault.args.get("seconds", 1)))


def _content_type(fault: Fault, reply: Reply) -> None:
    reply.content_type = str(fault.args.get("content_type", "text/plain"))


def _bomb(fault: Fault, reply: Reply) -> None:
    reply.wire["bomb"] = int(fault.args.get("bytes", 1 << 30))


def _bad_gzip(fault: Fault, reply: Reply) -> None:
    reply.packed = b"\x1f\x8b\x08\x00" + reply.body[:200]
    reply.wire["packed_anyway"] = True


def _no_date(fault: Fault, reply: Reply) -> None:
    reply.wire["date"] = None


def _wrong_date(fault: Fault, reply: Reply) -> None:
    reply.wire["date"] = str(fault.args.get("value", "Thu, 32 Foo 2020 25:00:00 GMT"))


WIRES: dict[str, tuple[Spoil, str]] = {
    "reset_after": (_reset_after, "the request is carried out, then the connection is reset without an answer"),
    "reset_mid_body": (_reset_mid_body, "reset after args bytes (half) of the body"),
    "truncated_json": (_truncated, "the body ends after args bytes (half), Content-Length agrees"),
    "cut_json": (_cut, "likewise without Content-Length or chunks; the connection closes"),
    "short_body": (_short, "fewer bytes than Content-Length says; the connection closes"),
    "slow_answer": (_slow, "args seconds (5) before the status line"),
    "slow_body": (_slow_body, "args seconds (5) between head and body"),
    "slow_drip": (_drip, "args bytes (1) every args seconds (1)"),
    "wrong_content_type": (_content_type, "args content_type (text/plain)"),
    "gzip_bomb": (_bomb, "a gzip body that unpacks to args bytes (1 GiB) of JSON string"),
    "bad_gzip": (_bad_gzip, "Content-Encoding gzip over bytes that are none"),
    "no_date": (_no_date, "no Date header"),
    "wrong_date": (_wrong_date, "Date is args value (nonsense)"),
}
