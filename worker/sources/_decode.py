"""Answers of the unified Email and Activity API into records (kloudless-api.md 6, 7, 9).

Everything here raises UnreadableError and nothing else; an object that cannot be read fails alone, as Rejected.
"""

import hashlib
from datetime import datetime

import msgspec
from msgspec import UNSET

from worker.errors import UnreadableError
from worker.records import (
    ActivityPage,
    Cursor,
    Event,
    EventKind,
    Folder,
    Label,
    Message,
    MessagePage,
    PageToken,
    Profile,
    Rejected,
)
from worker.sources import _clean, _wire
from worker.sources._clean import ObjectError, usable_id
from worker.sources._lenient import clean, document, is_clean, loads, split
from worker.sources._limits import LONGEST_TOKEN, MOST_REJECTED_BYTES
from worker.sources._timestamps import parse

_KINDS: dict[object, EventKind] = {"add": "add", "update": "update", "delete": "delete"}
_AT_THE_END = (None, "", "-1", "None")
"""What stands in a cursor's place when there is none; SDKs use -1 (faults.md U24)."""


def message_page(body: bytes, served_at: datetime, *, keep_raw: bool) -> MessagePage:
    """Read a page of a message listing; raises UnreadableError when it is no page at all."""
    fast = _wire.read_page(body, keep_raw=keep_raw)
    if fast is not None:
        page, messages = fast
        _expect_list(page.type)
        return MessagePage(messages, (), _page_token(page.next_page), served_at)
    shell, pieces = _cut(body)
    token = _page_token(shell.next_page)
    good: list[Message] = []
    rejected: list[Rejected] = []
    for piece in pieces:
        try:
            good.append(_message(piece, keep_raw=keep_raw))
        except ObjectError as error:
            rejected.append(_rejected(piece, str(error), error.identifier))
    return MessagePage(tuple(good), tuple(rejected), token, served_at)


def message(body: bytes, asked: str, *, keep_raw: bool) -> Message:
    """Read the message that was asked for; raises UnreadableError, also when it is another one."""
    try:
        found = _message(body, keep_raw=keep_raw)
    except ObjectError as error:
        raise UnreadableError(f"The upstream gave a message that cannot be read. {error}") from None
    if found.id != asked:
        raise UnreadableError("The upstream gave another message than the one asked for.")
    return found


def activity_page(body: bytes, served_at: datetime) -> ActivityPage:
    """Read a page of the activity stream; events that are not about messages are only counted.

    No cursor beside objects is an error: the page could never be passed (faults.md U24).
    """
    shell, pieces = _cut(body)
    events: list[Event] = []
    rejected: list[Rejected] = []
    for piece in pieces:
        try:
            event = _event(_value(piece))
        except UnreadableError as error:
            rejected.append(_rejected(piece, str(error), None))
        else:
            if event is not None:
                events.append(event)
    cursor = _cursor(shell.cursor)
    if cursor is None and pieces:
        raise UnreadableError("The activity page has events but no cursor.")
    return ActivityPage(tuple(events), tuple(rejected), len(pieces), cursor, served_at)


def profile(body: bytes, served_at: datetime, asked: str, service: str | None) -> Profile:
    """Read an account object; `service` stands in where the upstream names none (kloudless-api.md 8.1)."""
    value = document(body)
    upstream_id = usable_id(value.get("id"))
    if upstream_id is None or asked not in {"me", upstream_id}:
        raise UnreadableError("The upstream gave another account than the one asked for.")
    named = _text(value.get("service")) or service
    if named is None:
        raise UnreadableError("The upstream does not say which service the account is of.")
    return Profile(upstream_id=upstream_id, service=named, address=_text(value.get("account")), served_at=served_at)


def token_owner(body: bytes) -> str:
    """Read which account a token belongs to (kloudless-api.md 3.3)."""
    account = usable_id(document(body).get("account_id"))
    if account is None:
        raise UnreadableError("The upstream does not say whose token this is.")
    return account


def has_subscription(body: bytes) -> bool:
    """Tell whether a listing of subscriptions holds any (kloudless-api.md 9.1)."""
    objects = document(body).get("objects")
    if not isinstance(objects, list):
        raise UnreadableError("The upstream gave no list of subscriptions.")
    return any(isinstance(item, dict) for item in objects)


def label(body: bytes, asked: str) -> Label:
    """Read the label that was asked for."""
    return Label(id=asked, name=_name(body, asked))


def folder(body: bytes, asked: str) -> Folder:
    """Read the folder that was asked for."""
    return Folder(id=asked, name=_name(body, asked))


def _message(data: bytes, *, keep_raw: bool) -> Message:
    return _wire.read_message(data, keep_raw=keep_raw) or _clean.read_message(data, keep_raw=keep_raw)


def _rejected(data: bytes, reason: str, identifier: str | None) -> Rejected:
    subject = identifier or f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Rejected(subject, reason, data[:MOST_REJECTED_BYTES], identifier is not None)


def _cut(body: bytes) -> tuple[_wire.Shell, list[bytes]]:
    shell = _wire.read_shell(body)
    if shell is None:
        envelope, pieces = split(body)
        value = document(envelope)
        shell = _wire.Shell([], value.get("type"), value.get("next_page", UNSET), value.get("cursor"))
    else:
        pieces = [bytes(piece) for piece in shell.objects]
    _expect_list(shell.type)
    return shell, pieces


def _expect_list(kind: object) -> None:
    if kind != "object_list":
        raise UnreadableError("The upstream's answer is no list of objects.")


def _page_token(value: object) -> PageToken | None:
    if value is None:
        return None
    if value is UNSET:
        raise UnreadableError("The page does not say whether there is a next one.")
    text = _position(value)
    if text is None or "://" in text or text.startswith("//"):
        raise UnreadableError("The page's token for the next page is none.")
    return PageToken(text)


def _cursor(value: object) -> Cursor | None:
    if value in _AT_THE_END or value == -1:
        return None
    text = _position(value)
    if text is None:
        raise UnreadableError("The activity page's cursor is none.")
    return Cursor(text)


def _position(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= LONGEST_TOKEN and is_clean(value):
        return value
    return None


def _value(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except _wire.UNREADABLE_FAST:
        return loads(data).value


def _event(value: object) -> Event | None:
    if not isinstance(value, dict):
        raise UnreadableError("The event is no readable object.")
    about = value.get("metadata")
    if not isinstance(about, dict):
        about = {}
    if about.get("type") not in (None, "message"):
        return None
    message_id = usable_id(about.get("id"))
    if message_id is None and about.get("id") is None:
        own = usable_id(value.get("id"))
        message_id = own if own is not None and own.startswith("message_") else None
    if message_id is None:
        raise UnreadableError("The event names no message.")
    at = value.get("modified")
    kind = value.get("type")
    return Event(
        message_id,
        _KINDS.get(kind, "update") if isinstance(kind, str) else "update",
        parse(at) if isinstance(at, str) else None,
    )


def _text(value: object) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _name(body: bytes, asked: str) -> str | None:
    value = document(body)
    if usable_id(value.get("id")) != asked:
        raise UnreadableError("The upstream gave another object than the one asked for.")
    name = value.get("name")
    if name is not None and not isinstance(name, str):
        raise UnreadableError("The name the upstream gave is not text.")
    return _text(name)
