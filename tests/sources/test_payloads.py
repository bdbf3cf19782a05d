"""Any JSON the schema could hold, and poison: nothing stops a page, and nothing unclean comes out."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import UnreadableError
from worker.records import Message
from worker.sources import _clean, _decode, _wire
from worker.sources._timestamps import EARLIEST, LATEST

NOW = datetime(2026, 3, 1, tzinfo=UTC)

clean_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
bad_text = st.text(st.sampled_from('a"\\/}],\0\ud800\udc00\udfff\U0001f600\x1f\ufffd0u'), max_size=12)
any_text = clean_text | bad_text
scalar = st.none() | st.booleans() | st.integers() | st.integers(10**18, 10**40) | st.floats() | any_text
junk = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3))
nullable = st.none() | clean_text


def keyed(**values: Any) -> Any:
    """An object with any of the keys, in any order, and perhaps one more."""
    return st.fixed_dictionaries({}, optional={**values, "extra": junk})


def schema(text: Any, anything: Any) -> Any:
    person = keyed(email=text, name=text) | anything
    label = keyed(id=text, name=text) | anything
    file = keyed(id=text, name=text, mime_type=text, href=text, size=st.integers(-5, 2**64) | anything) | anything
    people = st.none() | st.lists(person, max_size=3) | anything
    created = st.none() | text | st.datetimes().map(lambda moment: moment.isoformat() + "Z") | anything
    return st.fixed_dictionaries(
        {"id": text | st.integers() | anything},
        optional={
            "type": st.just("message") | anything,
            "created": created,
            "thread_id": text,
            "folder_id": text | anything,
            "labels": st.none() | st.lists(label, max_size=4) | anything,
            "subject": text,
            "from": st.none() | person,
            "to": people,
            "cc": people,
            "bcc": people,
            "snippet": text,
            "text_body": text,
            "body": text | anything,
            "rfc822": st.none() | file,
            "attachments": st.none() | st.lists(file, max_size=2) | anything,
            "raw": junk,
            "extra": junk,
        },
    )


wild_message = schema(st.none() | any_text, junk) | junk
tame_message = schema(nullable, st.nothing())


def written(value: object, *, escaped: bool) -> bytes:
    """JSON as an upstream may write it: escaped, or with the characters themselves, broken UTF-8 included."""
    return json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


def texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, msgspec.Struct):
        return [text for field in value.__struct_fields__ for text in texts(getattr(value, field))]
    return [text for item in value for text in texts(item)] if isinstance(value, tuple) else []


@pytest.mark.fault("D1", "D2", "D5", "D6")
@given(st.lists(wild_message, max_size=4), st.booleans(), st.booleans(), junk)
def test_a_page_of_anything_is_read_or_unreadable(
    objects: list[Any], escaped: bool, keep_raw: bool, next_page: object
) -> None:
    good = {"id": "good", "subject": "untouched"}
    envelope = {"next_page": next_page, "type": "object_list", "objects": [*objects, good]}
    try:
        page = _decode.message_page(written(envelope, escaped=escaped), NOW, keep_raw=keep_raw)
    except UnreadableError:
        envelope["next_page"] = None  # only what stands around the objects may stop a page
        page = _decode.message_page(written(envelope, escaped=escaped), NOW, keep_raw=keep_raw)
    assert len(page.messages) + len(page.rejected) == len(objects) + 1
    assert page.messages[-1] == Message(id="good", subject="untouched")
    for text in texts(page.messages) + [rejected.subject for rejected in page.rejected]:
        assert "\0" not in text
        text.encode()
    for message in page.messages:
        assert 0 < len(message.id.encode()) <= 1024
        assert message.created is None or EARLIEST <= message.created <= LATEST
        assert list(message.altered) == sorted(set(message.altered))
        assert len({label.id for label in message.labels}) == len(message.labels)
        assert message.raw is None or fit_for_jsonb(message.raw)


def fit_for_jsonb(raw: bytes) -> bool:
    msgspec.json.decode(raw)  # strict: no lone surrogate, no NaN, valid UTF-8
    return "\0" not in json.dumps(json.loads(raw), ensure_ascii=False) and b"\\u0000" not in raw.replace(b"\\\\", b"")


@given(tame_message, st.booleans(), st.booleans())
def test_the_fast_and_the_careful_way_agree(value: dict[str, Any], escaped: bool, keep_raw: bool) -> None:
    data = written(value, escaped=escaped)
    fast = _wire.read_message(data, keep_raw=keep_raw)
    if fast is None:
        return
    careful = _clean.read_message(data, keep_raw=keep_raw)
    raw = json.loads(fast.raw) if fast.raw is not None else None
    assert raw == (json.loads(careful.raw) if careful.raw is not None else None)
    assert msgspec.structs.replace(careful, raw=fast.raw) == fast


@given(wild_message, st.booleans())
def test_a_get_reads_what_a_page_reads(value: object, escaped: bool) -> None:
    data = written(value, escaped=escaped)
    body = b'{"next_page": null, "type": "object_list", "objects": [' + data + b"]}"
    page = _decode.message_page(body, NOW, keep_raw=False)
    try:
        message = _decode.message(data, page.messages[0].id if page.messages else "m", keep_raw=False)
    except UnreadableError:
        assert page.messages == ()
    else:
        assert page.messages == (message,)


wild_event = junk | keyed(
    id=junk,
    type=junk | st.sampled_from(["add", "update", "delete"]),
    modified=junk,
    metadata=junk | keyed(id=junk, type=junk),
)


@given(st.lists(wild_event, max_size=4), junk, st.booleans())
def test_an_activity_page_of_anything_is_read_or_unreadable(objects: list[Any], cursor: object, escaped: bool) -> None:
    body = {"type": "object_list", "cursor": cursor, "objects": objects}
    try:
        page = _decode.activity_page(written(body, escaped=escaped), NOW)
    except UnreadableError:
        body["cursor"] = "7"
        page = _decode.activity_page(written(body, escaped=escaped), NOW)
    assert page.count == len(objects)
    assert len(page.events) + len(page.rejected) <= page.count
    for text in [event.message_id for event in page.events] + [page.cursor or ""]:
        assert "\0" not in text
        text.encode()


@given(st.binary(max_size=200) | st.text(st.sampled_from('{}[]",:\\objectsnul ')).map(str.encode))
def test_bytes_of_any_kind_raise_nothing_else(body: bytes) -> None:
    for decode in (
        lambda: _decode.message_page(body, NOW, keep_raw=True),
        lambda: _decode.activity_page(body, NOW),
        lambda: _decode.message(body, "m", keep_raw=True),
        lambda: _decode.profile(body, NOW, "1", None),
        lambda: _decode.token_owner(body),
        lambda: _decode.has_subscription(body),
        lambda: _decode.label(body, "l"),
        lambda: _decode.folder(body, "f"),
    ):
        with contextlib.suppress(UnreadableError):
            decode()
