"""Pages and activity into records: envelopes, tokens and cursors, faults.md U17 to U24 and U33."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sources.answers import NOW, page_of, read
from worker.errors import UnreadableError
from worker.records import Event, Message
from worker.sources import _decode


@pytest.mark.fault("U18")
@pytest.mark.parametrize(
    ("next_page", "expected"), [(None, None), ("abc", "abc"), (2, "2"), (10**30, str(10**30)), ("a/b//c", "a/b//c")]
)
@pytest.mark.parametrize("poison", [(), ('{"id": "a", "subject": "\\ud800"}',)], ids=["clean", "poisoned"])
def test_the_token_of_the_next_page_is_text(next_page: object, expected: str | None, poison: tuple[str, ...]) -> None:
    assert read(page_of(*poison, next_page=next_page)).next_page == expected


@pytest.mark.fault("U18")
@pytest.mark.parametrize("next_page", ["", True, 1.5, ["a"], {}, "http://x/y", "//x", "a\0", "\ud800", "x" * 9000])
def test_a_token_that_is_none_makes_the_page_unusable(next_page: object) -> None:
    with pytest.raises(UnreadableError):
        read(page_of(next_page=next_page))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"objects": [], "type": "object_list"}',
        b'{"objects": [], "next_page": null}',
        b'{"objects": [], "next_page": null, "type": "message"}',
        b'{"objects": {}, "next_page": null, "type": "object_list"}',
        b'{"objects": null, "next_page": null, "type": "object_list"}',
        b'{"objects": "x", "next_page": null, "type": "object_list"}',
        b'{"next_page": null, "type": "object_list"}',
        b'{"objects": [], "objects": [NaN], "next_page": null, "type": "object_list"}',
        b'{"objects": [NaN], "next_page": null, "type": "object_list"} trailing',
        b'{"objects": [NaN], "next_page": NaN, "type": "object_list"}',
        b'{"next_page": ' + b"9" * 5000 + b', "objects": [], "type": "object_list"}',
        b'{"x": {"objects": [NaN]}, "next_page": null, "type": "object_list"}',
    ],
)
def test_what_is_no_page_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read(body)


def test_a_page_cut_anywhere_is_unreadable() -> None:
    tricky = json.dumps({"id": "m", "subject": 'quote " and }]} \\', "body": "\ud800"})
    body = b'{"next_page": null, "type": "object_list", "objects": [' + tricky.encode() + b', {"id": "n"}]}'
    assert len(read(body).messages) == 2
    for kept in range(len(body)):
        with pytest.raises(UnreadableError):
            read(body[:kept])


def test_a_byte_order_mark_is_no_poison() -> None:
    assert read(b"\xef\xbb\xbf" + page_of('{"id": "a"}')).messages == (Message(id="a"),)


@pytest.mark.fault("U21")
def test_the_count_is_never_believed() -> None:
    assert read(page_of(count=0)).messages == ()
    assert len(read(page_of('{"id": "a"}', count=0)).messages) == 1


@pytest.mark.fault("U17")
def test_an_empty_page_may_have_a_next_one() -> None:
    page = read(page_of(next_page="more"))
    assert (page.messages, page.next_page) == ((), "more")


def test_the_same_object_twice_comes_twice() -> None:
    assert len(read(page_of('{"id": "a"}', '{"id": "a"}')).messages) == 2


def events(*objects: Any, **more: Any) -> Any:
    body = {"count": 1, "cursor": "9", "type": "object_list", "objects": objects, **more}
    return _decode.activity_page(json.dumps(body).encode(), NOW)


def test_an_event_names_its_message_kind_and_time() -> None:
    page = events(
        {"id": "1", "type": "add", "modified": "2020-03-23T20:09:01.5Z", "metadata": {"id": "m1", "type": "message"}},
        {"id": "2", "type": "update", "modified": "lately", "metadata": {"id": "m2", "type": "message"}},
        {"id": "3", "type": "delete", "modified": None, "metadata": {"id": "m3"}},
        {"id": "message_4", "type": "delete", "metadata": None},
        {"id": "message_5", "type": "rename"},
        {"id": 6, "type": ["x"], "metadata": {"id": 66}, "modified": 1},
        {"id": "message_7", "metadata": "text"},
    )
    assert page.events == (
        Event("m1", "add", datetime(2020, 3, 23, 20, 9, 1, tzinfo=UTC)),
        Event("m2", "update"),
        Event("m3", "delete"),
        Event("message_4", "delete"),
        Event("message_5", "update"),
        Event("66", "update"),
        Event("message_7", "update"),
    )
    assert (page.count, page.cursor, page.rejected, page.served_at) == (7, "9", (), NOW)


@pytest.mark.fault("U33")
def test_events_about_other_things_are_counted_and_skipped() -> None:
    page = events(
        {"id": "1", "type": "add", "metadata": {"id": "folder_1", "type": "folder"}},
        {"id": "2", "type": "add", "metadata": {"type": "file"}},
    )
    assert (page.events, page.rejected, page.count) == ((), (), 2)


@pytest.mark.fault("U33")
@pytest.mark.parametrize(
    "event",
    [
        {},
        {"id": "827"},
        {"id": "827", "metadata": {}},
        {"id": "827", "metadata": {"id": ""}},
        {"metadata": {"id": "a\0"}},
        {"metadata": {"id": "x" * 2000}},
        {"metadata": {"id": True}},
        None,
        "text",
        [1],
    ],
)
def test_an_event_without_a_message_fails_alone(event: object) -> None:
    page = events(event, {"metadata": {"id": "m"}})
    assert page.events == (Event("m", "update"),)
    (rejected,) = page.rejected
    assert rejected.subject == "sha256:" + hashlib.sha256(json.dumps(event).encode()).hexdigest()
    assert not rejected.addressable
    assert page.count == 2


def test_a_poisoned_event_leaves_the_others() -> None:
    head = '{"cursor": "9", "type": "object_list", "objects": ['
    deep = "[" * 100_000 + "]" * 100_000
    body = head + '{"metadata": {"id": "a", "subject": "\\ud800"}}, {"x": ' + deep + '}, {"metadata": {"id": "b"}}]}'
    page = _decode.activity_page(body.encode(), NOW)
    assert [event.message_id for event in page.events] == ["a", "b"]
    assert (len(page.rejected), page.count) == (1, 3)


@pytest.mark.fault("D15")
@pytest.mark.parametrize(
    ("cursor", "expected"), [("9", "9"), (9, "9"), (0, "0"), ("é /?", "é /?"), (10**30, str(10**30))]
)
def test_a_cursor_is_text(cursor: object, expected: str) -> None:
    assert events(cursor=cursor).cursor == expected
    assert events({"metadata": {"id": "m"}}, cursor=cursor).cursor == expected


@pytest.mark.fault("U24")
@pytest.mark.parametrize("cursor", [None, "", "-1", -1, "None"])
def test_no_cursor_is_fine_only_beside_no_events(cursor: object) -> None:
    assert events(cursor=cursor).cursor is None
    with pytest.raises(UnreadableError):
        events({"metadata": {"id": "m"}}, cursor=cursor)


@pytest.mark.fault("U24")
def test_a_missing_cursor_is_as_none() -> None:
    assert _decode.activity_page(b'{"type": "object_list", "objects": []}', NOW).cursor is None
    with pytest.raises(UnreadableError):
        _decode.activity_page(b'{"type": "object_list", "objects": [{}]}', NOW)


@pytest.mark.parametrize("cursor", [1.5, True, ["9"], {"a": 1}, "a\0", "\ud800", "x" * 9000])
def test_a_cursor_that_is_none_makes_the_page_unusable(cursor: object) -> None:
    with pytest.raises(UnreadableError):
        events(cursor=cursor)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"objects": [], "cursor": "1"}', b'{"type": "object_list", "cursor": "1"}']
)
def test_what_is_no_activity_page_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        _decode.activity_page(body, NOW)
