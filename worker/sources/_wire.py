"""The fast way from a page's bytes to records, for objects that are just as the protocol promises.

Whatever is not comes back as None and is read by `_clean`, which is slower and says what it changed.
On clean objects both give equal records; a test holds them together.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from worker.records import File, Label, Message, Person
from worker.sources._limits import DEEPEST_RAW, DOTS, LARGEST_SIZE, LONGEST_CREATED_RAW, LONGEST_HREF, fits
from worker.sources._timestamps import parse

_NUL_ESCAPE = b"\\u0000"
UNREADABLE_FAST = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: wrong types and malformed JSON, broken UTF-8, deep nesting of unknown keys."""
_PLAIN_ID = 256
"""Characters an id has at most without a second look at its bytes."""


class WireMessage(Struct, gc=False, rename={"sender": "from"}):
    """A message as it is sent (seed: Message)."""

    id: str
    type: str | None = None
    created: str | None = None
    thread_id: str | None = None
    folder_id: str | None = None
    labels: tuple[Label, ...] | None = None
    subject: str | None = None
    sender: Person | None = None
    to: tuple[Person, ...] | None = None
    cc: tuple[Person, ...] | None = None
    bcc: tuple[Person, ...] | None = None
    snippet: str | None = None
    text_body: str | None = None
    body: str | None = None
    rfc822: File | None = None
    attachments: tuple[File, ...] | None = None
    raw: Raw = Raw(b"null")


class WirePage(Struct, gc=False):
    """A page of messages as it is sent (seed: List Messages)."""

    objects: list[WireMessage]
    type: str | None = None
    next_page: str | int | UnsetType | None = UNSET


class Shell(Struct, gc=False):
    """A page whose objects are left as bytes, with the fields of listings and of activity."""

    objects: list[Raw]
    type: Any = None
    next_page: Any = UNSET
    cursor: Any = None


_PAGE = msgspec.json.Decoder(WirePage)
_MESSAGE = msgspec.json.Decoder(WireMessage)
_SHELL = msgspec.json.Decoder(Shell)
_ANY = msgspec.json.Decoder(Any)


def holds_nul(data: bytes) -> bool:
    """Tell whether an escaped NUL may stand in the JSON: typed decoding would let it pass."""
    return data.rfind(_NUL_ESCAPE) >= 0  # from the right: measured at a third of the time of `in`


def read_shell(body: bytes) -> Shell | None:
    """Cut a page into objects; None when one of them keeps the strict reader from it."""
    try:
        return _SHELL.decode(body)
    except UNREADABLE_FAST:
        return None


def read_page(body: bytes, *, keep_raw: bool) -> tuple[WirePage, tuple[Message, ...]] | None:
    """Read a whole page; None when anything on it needs a second look."""
    if holds_nul(body):
        return None
    try:
        page = _PAGE.decode(body)
    except UNREADABLE_FAST:
        return None
    messages: list[Message] = []
    for wire in page.objects:
        message = _record(wire, keep_raw)
        if message is None:
            return None
        messages.append(message)
    return page, tuple(messages)


def read_message(data: bytes, *, keep_raw: bool) -> Message | None:
    """Read one message; None when anything in it needs a second look."""
    if holds_nul(data):
        return None
    try:
        wire = _MESSAGE.decode(data)
    except UNREADABLE_FAST:
        return None
    return _record(wire, keep_raw)


def _record(wire: WireMessage, keep_raw: bool) -> Message | None:  # noqa: FBT001  # the hot path takes no keywords
    if not _plain(wire):
        return None
    text = wire.created
    created = None if text is None else parse(text)
    bad_time = created is None and text is not None
    raw = None
    if keep_raw and (raw := bytes(wire.raw)) == b"null":
        raw = None
    if raw is not None and not _fit_for_jsonb(raw):
        return None
    return Message(
        id=wire.id,
        created=created,
        created_raw=text[:LONGEST_CREATED_RAW] if bad_time and text is not None else None,
        thread_id=wire.thread_id,
        folder_id=wire.folder_id,
        labels=_distinct(wire.labels) if wire.labels else (),
        subject=wire.subject,
        sender=wire.sender,
        to=wire.to or (),
        cc=wire.cc or (),
        bcc=wire.bcc or (),
        snippet=wire.snippet,
        text_body=wire.text_body,
        body=wire.body,
        rfc822=wire.rfc822,
        attachments=wire.attachments or (),
        raw=raw,
        altered=("created",) if bad_time else (),
    )


def _plain(wire: WireMessage) -> bool:
    if not fits(wire.id) or wire.id in DOTS or (wire.type is not None and wire.type != "message"):
        return False
    if (wire.thread_id is not None and len(wire.thread_id) > _PLAIN_ID) or (
        wire.folder_id is not None and len(wire.folder_id) > _PLAIN_ID
    ):
        return False
    if wire.labels:
        for label in wire.labels:
            if not 0 < len(label.id) <= _PLAIN_ID:
                return False
    if wire.rfc822 is not None and not _plain_file(wire.rfc822):
        return False
    return not wire.attachments or all(map(_plain_file, wire.attachments))


def _plain_file(file: File) -> bool:
    return (file.size is None or 0 <= file.size <= LARGEST_SIZE) and (
        file.href is None or len(file.href) <= LONGEST_HREF // 4
    )


def _distinct(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    first: dict[str, Label] = {}
    for label in labels:
        first.setdefault(label.id, label)
    return labels if len(first) == len(labels) else tuple(first.values())


def _fit_for_jsonb(raw: bytes) -> bool:
    if raw.count(b"{") + raw.count(b"[") > DEEPEST_RAW:
        return False  # perhaps too deep: `_clean` counts properly
    try:
        _ANY.decode(raw)
    except UNREADABLE_FAST:
        return False
    return True
