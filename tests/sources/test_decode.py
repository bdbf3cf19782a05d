"""Messages into records: the seed's own sample, and every oddity of faults.md D1 to D20."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sources.answers import NOW, one, page_of, read, reason
from worker.errors import UnreadableError
from worker.records import File, Label, Message, MessagePage, Person

SEED = """
{"count": 1, "page": 1, "next_page": null, "type": "object_list", "api": "email", "objects": [
  {"id": "message_MTcxMDkwMzFiMGU4ODJiNg", "thread_id": "thread_MTcxMDkwMzFiMGU4ODJiNg", "folder_id": null,
   "labels": [{"id": "label_VU5SRUFE", "name": "UNREAD", "type": "label", "api": "email"},
              {"id": "label_U0VOVA", "name": "SENT", "type": "label", "api": "email"},
              {"id": "label_SU5CT1g", "name": "INBOX", "type": "label", "api": "email"}],
   "subject": "example email", "snippet": "example email description", "created": "2020-03-23T20:08:50Z",
   "type": "message", "api": "email",
   "to": [{"email": "receiver@company.com", "name": "receiver", "type": "person", "api": "email"}],
   "cc": [], "bcc": [], "text_body": "example email description", "body": "<pre>example email description</pre>",
   "attachments": [],
   "rfc822": {"api": "storage", "type": "file", "id": "file_eyJpZCI6ICIxNzEwOTA", "mime_type": "message/rfc822",
              "name": "raw_content.rfc822",
              "href": "https://api.kloudless.com/v1/accounts/123/storage/files/file_eyJpZCI6ICIxNzEwOTA"},
   "from": {"email": "sender@company.com", "name": null, "type": "person", "api": "email"}}]}
"""
SEED_MESSAGE = Message(
    id="message_MTcxMDkwMzFiMGU4ODJiNg",
    created=datetime(2020, 3, 23, 20, 8, 50, tzinfo=UTC),
    thread_id="thread_MTcxMDkwMzFiMGU4ODJiNg",
    labels=(Label("label_VU5SRUFE", "UNREAD"), Label("label_U0VOVA", "SENT"), Label("label_SU5CT1g", "INBOX")),
    subject="example email",
    sender=Person("sender@company.com", None),
    to=(Person("receiver@company.com", "receiver"),),
    snippet="example email description",
    text_body="example email description",
    body="<pre>example email description</pre>",
    rfc822=File(
        id="file_eyJpZCI6ICIxNzEwOTA",
        name="raw_content.rfc822",
        mime_type="message/rfc822",
        href="https://api.kloudless.com/v1/accounts/123/storage/files/file_eyJpZCI6ICIxNzEwOTA",
    ),
)


def test_the_seeds_sample_is_read_exactly() -> None:
    page = read(SEED.encode())
    assert page == MessagePage((SEED_MESSAGE,), (), None, NOW)


@pytest.mark.fault("D5", "D18")
def test_an_object_of_nulls_is_a_message_of_nothing() -> None:
    names = [field for field in Message.__struct_fields__ if field not in {"id", "altered", "sender", "created_raw"}]
    assert one(**dict.fromkeys([*names, "from"])) == Message(id="m")


@pytest.mark.fault("D1", "D2")
@pytest.mark.parametrize("poison", ["\0", chr(0xD800), chr(0xDC00), "a\0b" + chr(0xD83D)])
@pytest.mark.parametrize("field", ["subject", "snippet", "text_body", "body", "thread_id", "folder_id"])
def test_what_postgres_cannot_hold_is_replaced_and_named(field: str, poison: str) -> None:
    message = one(**{field: f"x{poison}y", "type": "message"})
    cleaned = "x" + "".join("\ufffd" if c in "\0\ud800\udc00\ud83d" else c for c in poison) + "y"
    assert getattr(message, field) == cleaned
    assert message.altered == (field,)


@pytest.mark.fault("D1", "D2")
def test_poison_inside_lists_is_replaced_and_named() -> None:
    person, bad = {"email": "a\0", "name": "\ud800"}, {"id": "\0", "name": "n\0", "mime_type": "\udfff", "href": "\0"}
    message = one(
        **{"from": person, "to": [person], "labels": [{"id": "l\0", "name": "L"}], "attachments": [bad], "rfc822": bad}
    )
    assert message.sender == Person("a\ufffd", "\ufffd")
    assert message.to == (Person("a\ufffd", "\ufffd"),)
    assert message.labels == (Label("l\ufffd", "L"),)
    assert message.attachments == (File("\ufffd", "n\ufffd", "\ufffd", None, "\ufffd"),)
    assert message.altered == ("attachments", "labels", "rfc822", "sender", "to")


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    page = read(page_of('{"id": "a", "subject": "gr\udcfcn"}', '{"id": "b", "subject": "ok"}'))
    assert [(m.subject, m.altered) for m in page.messages] == [("gr\ufffdn", ("subject",)), ("ok", ())]


def test_control_characters_that_strict_json_forbids_are_kept() -> None:
    page = read(page_of('{"id": "a", "subject": "two\nlines"}', '{"id": "b", "subject": "nul\0byte"}'))
    assert [m.subject for m in page.messages] == ["two\nlines", "nul\ufffdbyte"]


def test_an_emoji_written_as_a_pair_is_no_poison() -> None:
    page = read(page_of('{"id": "a", "subject": "\\ud83d\\ude00", "body": "\\ud800"}'))
    assert page.messages[0].subject == "\U0001f600"
    assert page.messages[0].altered == ("body",)


def test_an_escaped_backslash_before_u0000_is_text() -> None:
    page = read(page_of(r'{"id": "a", "subject": "\\u0000"}'))
    assert page.messages[0].subject == r"\u0000"
    assert page.messages[0].altered == ()


@pytest.mark.fault("D5")
def test_unknown_keys_are_ignored_whatever_they_hold() -> None:
    text = '{"id": "a", "x": "\\u0000\\ud800", "y": 1e999, "z": ' + "9" * 5000 + "}"
    assert read(page_of(text)).messages == (Message(id="a"),)


@pytest.mark.fault("D4")
@pytest.mark.parametrize(
    "value", ["2020-02-30T00:00:00Z", "", "yesterday", "2020-03-23", "9999-12-31T00:00:00Z", 1584994130, 1.5]
)
def test_a_time_that_is_none_is_kept_as_text(value: object) -> None:
    message = one(created=value)
    assert (message.created, message.created_raw, message.altered) == (None, str(value), ("created",))


def test_a_time_that_is_none_is_kept_in_part() -> None:
    assert one(created="x" * 5000).created_raw == "x" * 200
    assert one(created="\0" + "x" * 5000, labels=None).created_raw == "\ufffd" + "x" * 199


def test_a_missing_time_is_no_oddity() -> None:
    message = one(created=None)
    assert (message.created, message.created_raw, message.altered) == (None, None, ())


def test_fractions_of_a_second_are_cut() -> None:
    assert one(created="2020-03-23T20:08:50.702Z").created == datetime(2020, 3, 23, 20, 8, 50, tzinfo=UTC)


@pytest.mark.fault("D15")
def test_numbers_serve_as_ids() -> None:
    message = one(id=17, thread_id=18, folder_id=19, labels=[{"id": 20, "name": "L"}], rfc822={"id": 21})
    assert (message.id, message.thread_id, message.folder_id) == ("17", "18", "19")
    assert message.labels == (Label("20", "L"),)
    assert message.rfc822 == File(id="21")
    assert message.altered == ()


@pytest.mark.fault("D6", "D16")
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"id": null}',
        '{"id": ""}',
        '{"id": true}',
        '{"id": 1.5}',
        '{"id": ["m"]}',
        '{"id": "."}',
        '{"id": ".."}',
        '{"id": "a\\u0000"}',
        '{"id": "\\ud800"}',
        '{"id": "' + "x" * 1025 + '"}',
        '{"id": "' + "é" * 600 + '"}',
        '{"id": ' + "9" * 5000 + "}",
        '{"id": "b", "x": ]',
        '{"id" "b"}',
        "{'id': 'b'}",
        "null",
        '"text"',
        "17",
        "[1, 2]",
        "",
        '{"id": "b", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_an_object_nobody_can_ask_for_fails_alone(text: str) -> None:
    if text.count("[") == text.count("]"):
        assert reason(text)
    else:
        with pytest.raises(UnreadableError):  # brackets that do not match leave no safe place to cut
            reason(text)


@pytest.mark.parametrize("size", [1024, 512])
def test_an_id_of_just_one_kilobyte_is_fine(size: int) -> None:
    assert one(id=("x" if size == 1024 else "é") * size).id


WRONG = ["text", 17, True, {"a": 1}, ["a"]]


@pytest.mark.fault("D5", "D18")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            (field, value)
            for field in ("to", "cc", "bcc", "labels", "attachments")
            for value in ("text", 17, {"a": 1}, ["a"], [None], [["a"]])
        ],
        *[(field, value) for field in ("from", "rfc822") for value in ("text", 17, True, ["a"])],
        *[
            (field, value)
            for field in ("subject", "snippet", "text_body", "body")
            for value in (17, True, {"a": 1}, ["a"])
        ],
        *[(field, value) for field in ("thread_id", "folder_id") for value in (True, 1.5, {"a": 1}, ["a"])],
        *[("created", value) for value in (True, {"a": 1}, ["a"])],
        *[("type", value) for value in ("folder", 17, ["message"])],
        ("to", [{"email": 17}]),
        ("to", [{"name": ["x"]}]),
        ("labels", [{"id": True}]),
        ("labels", [{"id": "l", "name": 17}]),
        ("attachments", [{"size": "12"}]),
        ("attachments", [{"size": 1.5}]),
        ("attachments", [{"size": True}]),
        ("attachments", [{"name": 17}]),
    ],
)
def test_a_wrong_type_refuses_that_message_by_its_id(field: str, value: object) -> None:
    page = read(page_of('{"id": "first"}', json.dumps({"id": "m", field: value}), '{"id": "last"}'))
    assert [message.id for message in page.messages] == ["first", "last"]
    (rejected,) = page.rejected
    assert (rejected.subject, rejected.addressable) == ("m", True)
    assert ("sender" if field == "from" else field) in rejected.reason


@pytest.mark.fault("D6")
@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_message_with_nan_fails_alone_by_its_id(constant: str) -> None:
    page = read(page_of(f'{{"id": "m", "x": {constant}}}', '{"id": "last"}'))
    assert [message.id for message in page.messages] == ["last"]
    assert page.rejected[0].subject == "m"


def test_what_is_kept_of_a_rejected_object_is_bounded() -> None:
    assert reason('{"id": "", "body": "' + "x" * 100_000 + '"}')


@pytest.mark.fault("D15")
@pytest.mark.parametrize(
    ("size", "expected", "altered"),
    [
        (0, 0, ()),
        (2**63 - 1, 2**63 - 1, ()),
        (None, None, ()),
        (-1, None, ("attachments",)),
        (2**63, None, ("attachments",)),
        (10**30, None, ("attachments",)),
    ],
)
def test_a_size_no_column_holds_is_dropped(size: int | None, expected: int | None, altered: tuple[str, ...]) -> None:
    message = one(attachments=[{"id": "f", "size": size}])
    assert (message.attachments, message.altered) == ((File(id="f", size=expected),), altered)


def test_a_size_of_5000_digits_is_dropped() -> None:
    page = read(page_of('{"id": "m", "attachments": [{"size": ' + "9" * 5000 + "}]}"))
    assert page.messages == (Message(id="m", attachments=(File(),), altered=("attachments",)),)


@pytest.mark.fault("D11")
def test_labels_are_distinct_by_id_and_the_first_wins() -> None:
    labels = [{"id": "b", "name": "1"}, {"id": "a", "name": "2"}, {"id": "b", "name": "3"}]
    assert one(labels=labels).labels == (Label("b", "1"), Label("a", "2"))


@pytest.mark.fault("D11")
@pytest.mark.parametrize("missing", [{}, {"id": None}, {"id": ""}])
def test_a_label_without_id_is_known_by_its_name(missing: dict[str, Any]) -> None:
    key = "name:" + hashlib.sha256("Größe".encode()).hexdigest()[:32]
    message = one(labels=[{**missing, "name": "Größe"}, {**missing, "name": "Größe"}])
    assert (message.labels, message.altered) == ((Label(key, "Größe"),), ())


@pytest.mark.fault("D11")
def test_a_label_with_neither_is_dropped() -> None:
    message = one(labels=[{"id": "a"}, {}, {"name": ""}])
    assert (message.labels, message.altered) == ((Label("a"),), ("labels",))


def test_an_endless_label_id_becomes_a_digest() -> None:
    message = one(labels=[{"id": "x" * 5000, "name": "L"}])
    key = "sha256:" + hashlib.sha256(b"x" * 5000).hexdigest()[:32]
    assert (message.labels, message.altered) == ((Label(key, "L"),), ("labels",))


def test_endless_thread_and_folder_ids_are_dropped() -> None:
    message = one(thread_id="x" * 2000, folder_id="é" * 600)
    assert (message.thread_id, message.folder_id, message.altered) == (None, None, ("folder_id", "thread_id"))
    assert one(thread_id="x" * 1024).altered == ()


def test_an_endless_href_is_cut() -> None:
    message = one(rfc822={"href": "é" * 5000})
    assert message.rfc822 == File(href="é" * 1024)
    assert message.altered == ("rfc822",)


@pytest.mark.fault("D7")
def test_thousands_of_recipients_keep_their_order_and_repetitions() -> None:
    people = [{"email": f"{n % 7000}@x", "name": None} for n in range(10_000)]
    assert one(to=people).to == tuple(Person(f"{n % 7000}@x") for n in range(10_000))


@pytest.mark.parametrize("raw", [{"object": {"a": [1, "x", None, 1.10]}}, [1], "text", {}])
def test_the_upstreams_own_object_is_kept_as_it_is(raw: object) -> None:
    assert one(keep_raw=True, raw=raw).raw == json.dumps(raw).encode()
    assert one(keep_raw=False, raw=raw).raw is None


def test_the_upstreams_own_object_is_made_fit_for_jsonb() -> None:
    message = one(keep_raw=True, raw={"k\0": ["\ud800", 1]})
    assert (message.raw, message.altered) == ('{"k\ufffd":["\ufffd",1]}'.encode(), ("raw",))


@pytest.mark.parametrize("raw", ["1e999", "-1e999", "9" * 5000, "[" * 201 + "]" * 201, '{"a":' * 300 + "1" + "}" * 300])
def test_the_upstreams_own_object_is_dropped_when_jsonb_cannot_hold_it(raw: str) -> None:
    page = read(page_of(f'{{"id": "m", "raw": {{"object": {raw}}}}}'), keep_raw=True)
    assert page.messages == (Message(id="m", altered=("raw",)),)


def test_depth_and_not_size_is_what_counts() -> None:
    wide = {"object": [[n] for n in range(1000)]}
    message = one(keep_raw=True, raw=wide)
    assert json.loads(message.raw or b"") == wide
    assert message.altered == ()
