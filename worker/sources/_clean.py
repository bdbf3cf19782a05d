"""The careful way from one object's bytes to a record: takes what can be taken, and says what was changed.

A value of the wrong type refuses the object (faults.md D5, D18); what is merely unfit for Postgres is cleaned and
its field named in `altered`.
"""

import json
from datetime import datetime
from typing import Any

from worker.errors import UnreadableError
from worker.records import File, Label, Message, Person
from worker.sources._lenient import HUGE, Huge, clean, is_clean, loads
from worker.sources._limits import (
    DEEPEST_RAW,
    DOTS,
    LARGEST_SIZE,
    LONGEST_CREATED_RAW,
    LONGEST_HREF,
    fits,
    label_key,
    long_label_key,
)
from worker.sources._timestamps import parse

Json = dict[str, Any]


class ObjectError(UnreadableError):
    """One object that cannot be read; `identifier` is its id where that is usable."""

    def __init__(self, message: str, *, identifier: str | None = None) -> None:
        super().__init__(message)
        self.identifier = identifier


def read_message(data: bytes, *, keep_raw: bool) -> Message:
    """Read one message out of its bytes, however odd; raises ObjectError with the reason."""
    try:
        loaded = loads(data)
    except UnreadableError as error:
        raise ObjectError(str(error)) from None
    value = loaded.value
    if not isinstance(value, dict):
        raise ObjectError("It is no object.")
    identifier = usable_id(value.get("id"))
    if identifier is None:
        raise ObjectError(_why_unusable(value.get("id")))
    if loaded.constants:
        raise ObjectError("It holds NaN or Infinity.", identifier=identifier)
    try:
        return _Reader(value).message(identifier, keep_raw=keep_raw)
    except UnreadableError as error:
        raise ObjectError(str(error), identifier=identifier) from None


def usable_id(value: object) -> str | None:
    """Take an id as text when it can be a key and part of an address; numbers become text, else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not is_clean(value) or value in DOTS or not fits(value):
        return None
    return value


def _why_unusable(value: object) -> str:
    if value is None or value == "":
        return "It has no id."
    if isinstance(value, str | Huge):
        return "Its id is too long to be a key, or holds what no id holds."
    return "Its id is not text."


class _Reader:
    def __init__(self, value: Json) -> None:
        self._value = value
        self._altered: set[str] = set()

    def message(self, identifier: str, *, keep_raw: bool) -> Message:
        kind = self._value.get("type")
        if kind is not None and kind != "message":
            raise UnreadableError("Its type is not message.")
        created, created_raw = self._created()
        fields: Json = {name: self._text(self._value.get(name), name) for name in _TEXTS}
        return Message(
            id=identifier,
            created=created,
            created_raw=created_raw,
            thread_id=self._key("thread_id"),
            folder_id=self._key("folder_id"),
            labels=self._labels(),
            sender=self._sender(),
            to=self._people("to"),
            cc=self._people("cc"),
            bcc=self._people("bcc"),
            rfc822=self._rfc822(),
            attachments=tuple(self._file(item, "attachments") for item in self._list("attachments")),
            raw=self._raw() if keep_raw else None,
            **fields,
            altered=tuple(sorted(self._altered)),
        )

    def _text(self, value: object, field: str) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise UnreadableError(f"Its {field} is not text.")
        if is_clean(value):
            return value
        self._altered.add(field)
        return clean(value)

    def _created(self) -> tuple[datetime | None, str | None]:
        value = self._value.get("created")
        if isinstance(value, int | float | Huge) and not isinstance(value, bool):
            value = str(value)
        text = self._text(value, "created")
        if text is None or (moment := parse(text)) is None:
            if text is not None:
                self._altered.add("created")
            return None, None if text is None else text[:LONGEST_CREATED_RAW]
        return moment, None

    def _key(self, field: str) -> str | None:
        value = self._value.get(field)
        if value is HUGE:
            self._altered.add(field)
            return None
        text = self._text(_number_as_text(value), field)
        if text and not fits(text):
            self._altered.add(field)
            return None
        return text

    def _list(self, field: str) -> list[Any]:
        value = self._value.get(field)
        if value is None:
            return []
        if not isinstance(value, list):
            raise UnreadableError(f"Its {field} is not a list.")
        return value

    def _people(self, field: str) -> tuple[Person, ...]:
        return tuple(self._person(item, field) for item in self._list(field))

    def _sender(self) -> Person | None:
        value = self._value.get("from")
        return None if value is None else self._person(value, "sender")

    def _person(self, value: object, field: str) -> Person:
        person = _object(value, field)
        return Person(email=self._text(person.get("email"), field), name=self._text(person.get("name"), field))

    def _labels(self) -> tuple[Label, ...]:
        labels: dict[str, Label] = {}
        for item in self._list("labels"):
            label = _object(item, "labels")
            name = self._text(label.get("name"), "labels")
            given = label.get("id")
            key = "" if given is HUGE else self._text(_number_as_text(given), "labels")
            if key and not fits(key):
                self._altered.add("labels")
                key = long_label_key(key)
            elif not key and name:
                key = label_key(name)
            elif not key:
                self._altered.add("labels")
                continue
            labels.setdefault(key, Label(id=key, name=name))
        return tuple(labels.values())

    def _rfc822(self) -> File | None:
        value = self._value.get("rfc822")
        return None if value is None else self._file(value, "rfc822")

    def _file(self, value: object, field: str) -> File:
        file = _object(value, field)
        href = self._text(file.get("href"), field)
        if href is not None and len(href.encode()) > LONGEST_HREF:
            self._altered.add(field)
            href = href.encode()[:LONGEST_HREF].decode(errors="ignore")
        identifier = file.get("id")
        return File(
            id=None if identifier is HUGE else self._text(_number_as_text(identifier), field),
            name=self._text(file.get("name"), field),
            mime_type=self._text(file.get("mime_type"), field),
            size=self._size(file.get("size"), field),
            href=href,
        )

    def _size(self, value: object, field: str) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | Huge):
            raise UnreadableError(f"A size in its {field} is not a whole number.")
        if isinstance(value, int) and 0 <= value <= LARGEST_SIZE:
            return value
        self._altered.add(field)
        return None

    def _raw(self) -> bytes | None:
        value = self._value.get("raw")
        if value is None:
            return None
        try:
            tidy = self._tidy(value, DEEPEST_RAW)
        except UnreadableError:
            self._altered.add("raw")
            return None
        return json.dumps(tidy, ensure_ascii=False, separators=(",", ":")).encode()

    def _tidy(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, "raw")
        if value is HUGE or depth == 0:
            raise UnreadableError("Unfit for jsonb.")
        if isinstance(value, list):
            return [self._tidy(item, depth - 1) for item in value]
        if isinstance(value, dict):
            return {self._text(key, "raw"): self._tidy(item, depth - 1) for key, item in value.items()}
        return value


_TEXTS = ("subject", "snippet", "text_body", "body")


def _object(value: object, field: str) -> Json:
    if not isinstance(value, dict):
        raise UnreadableError(f"Its {field} holds something that is no object.")
    return value


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
