"""Records → rows: the projection that settings ask for, and the digest that tells whether a row must be written.

    digest = projection (4 bytes) ‖ content (12) ‖ light (12)

The projection is a hash of the settings and of this normaliser's version, so a changed setting rewrites. Content is
all that stands in `messages`, `message_people` and `attachments`; light is thread, folder and labels, which change
often and can be written without the bodies. Last-seen hints (file ids, href, raw) are in neither.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from worker.bodies import beginning, size
from worker.config import Settings
from worker.records import Message
from worker.store.addresses import normalised

NORMALISER = 1
"""Grows when the same message would give other rows."""

LONGEST_KEY = 1000
"""Bytes of an id that can be part of a key."""

_encode = msgspec.msgpack.Encoder().encode


class Projection(Struct, frozen=True):
    """Which part of a message is kept."""

    bodies: str
    max_body: int
    keep_raw: bool
    version: bytes

    @classmethod
    def of(cls, settings: Settings) -> "Projection":
        """The projection these settings ask for."""
        parts = (NORMALISER, settings.bodies, settings.max_body, settings.keep_raw)
        version = hashlib.sha256(_encode(parts)).digest()[:4]
        return cls(settings.bodies, settings.max_body, settings.keep_raw, version)


class Row(Struct, frozen=True):
    """One message as it goes into the tables."""

    id: str
    message: Message
    text_body: str | None
    body: str | None
    body_size: int | None
    body_truncated: bool
    label_ids: tuple[str, ...]
    digest: bytes


class PersonRow(NamedTuple):
    """One row of `message_people` beside its message; a tuple, because it goes into COPY as it is."""

    role: str
    position: int
    address: str | None
    email: str | None
    name: str | None


def row(message: Message, projection: Projection) -> Row:
    """Project a message and compute its digest."""
    text_body, text_cut = _kept(message, "text_body", projection, kept=projection.bodies != "none")
    body, body_cut = _kept(message, "body", projection, kept=projection.bodies == "full")
    whole = message.body_size if message.body_size is not None else _bytes(message.body)
    labels = tuple(sorted([key(label.id) for label in message.labels]))
    content = _encode(
        (
            message.created,
            message.created_raw,
            message.subject,
            message.snippet,
            text_body,
            body,
            whole,
            message.altered,
            message.sender,
            message.to,
            message.cc,
            message.bcc,
            [(file.name, file.mime_type, file.size) for file in message.attachments],
        )
    )
    light = _encode((message.thread_id, message.folder_id, labels))
    digest = projection.version + hashlib.sha256(content).digest()[:12] + hashlib.sha256(light).digest()[:12]
    return Row(message.id, message, text_body, body, whole, text_cut or body_cut, labels, digest)


def same_content(one: bytes, other: bytes) -> bool:
    """Whether two digests differ at most in their light part."""
    return one[:16] == other[:16]


def key(identifier: str) -> str:
    """An id from outside as part of a key: as it is, or hashed when it is too long for an index."""
    if len(identifier) <= LONGEST_KEY // 4 or len(identifier.encode()) <= LONGEST_KEY:
        return identifier
    return f"sha256:{hashlib.sha256(identifier.encode()).hexdigest()}"


def people(message: Message) -> list[PersonRow]:
    """Sender and recipients in their order; the position counts within the role."""
    found = []
    sender = message.sender
    if sender is not None:
        found.append(PersonRow("from", 0, normalised(sender.email), sender.email, sender.name))
    for role, persons in (("to", message.to), ("cc", message.cc), ("bcc", message.bcc)):
        for position, person in enumerate(persons):
            found.append(PersonRow(role, position, normalised(person.email), person.email, person.name))
    return found


def message_columns(account_id: int, row: Row, projection: Projection) -> tuple[Any, ...]:
    """The values of `MESSAGE_COLUMNS`."""
    message = row.message
    return (
        account_id,
        message.id,
        message.thread_id,
        message.folder_id,
        message.subject,
        message.snippet,
        message.created,
        message.created_raw,
        row.text_body,
        row.body,
        row.body_size,
        row.body_truncated,
        message.rfc822.id if message.rfc822 else None,
        bool(message.attachments),
        message.raw.decode() if projection.keep_raw and message.raw is not None else None,
        list(message.altered) or None,
        row.digest,
    )


MESSAGE_COLUMNS: dict[str, str] = {
    "account_id": "int8",
    "message_id": "text",
    "thread_id": "text",
    "folder_id": "text",
    "subject": "text",
    "snippet": "text",
    "created": "timestamptz",
    "created_raw": "text",
    "text_body": "text",
    "body": "text",
    "body_size": "int4",
    "body_truncated": "bool",
    "rfc822_file_id": "text",
    "has_attachments": "bool",
    "raw": "jsonb",
    "altered": "text[]",
    "digest": "bytea",
}
"""Columns of `mail.messages` that a message gives, with their types."""


NAMELESS = datetime.min.replace(tzinfo=UTC)
"""Stands before every time, for names read on messages without a valid one."""


def name_key(created: datetime | None, message_id: str) -> tuple[datetime, str]:
    """How new a name is that stands on this message: the greater key wins."""
    return (created or NAMELESS, message_id)


def _bytes(text: str | None) -> int | None:
    return None if text is None else size(text)


def _kept(
    message: Message, name: Literal["text_body", "body"], projection: Projection, *, kept: bool
) -> tuple[str | None, bool]:
    """The body of this name as far as it is kept, and whether something of it is not."""
    text: str | None = getattr(message, name)
    if text is None or not kept:
        return None, False
    part = beginning(text, projection.max_body)
    return part, part is not text or name in message.cut
