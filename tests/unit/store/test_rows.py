"""The digest changes exactly when a row would."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.config import Settings
from worker.records import File, Label, Message, Person
from worker.store.rows import Projection, name_key, people, row, same_content

FULL = Projection.of(Settings())
BASE = Message(
    id="m",
    created=datetime(2026, 1, 1, tzinfo=UTC),
    thread_id="t",
    folder_id="f",
    labels=(Label("a", "A"), Label("b", "B")),
    subject="s",
    sender=Person("x@example.com", "X"),
    to=(Person("y@example.com", None),),
    snippet="n",
    text_body="text",
    body="<p>text</p>",
    rfc822=File("raw"),
    attachments=(File("file", "a.txt", "text/plain", 3, "https://api.example/"),),
    raw=b"{}",
)

CONTENT: list[tuple[str, Any]] = [
    ("created", datetime(2026, 1, 2, tzinfo=UTC)),
    ("created_raw", "yesterday"),
    ("subject", None),
    ("sender", Person("x@example.com", "Y")),
    ("to", ()),
    ("cc", (Person("z@example.com", None),)),
    ("bcc", (Person("z@example.com", None),)),
    ("snippet", ""),
    ("body_size", 99),
    ("text_body", "other"),
    ("body", None),
    ("attachments", (File("file", "a.txt", "text/plain", 4, None),)),
    ("altered", ("subject",)),
]
LIGHT: list[tuple[str, Any]] = [
    ("thread_id", "t2"),
    ("folder_id", None),
    ("labels", (Label("a", "A"),)),
]
NEITHER: list[tuple[str, Any]] = [
    ("labels", (Label("b", "B renamed"), Label("a", "A"))),
    ("rfc822", None),
    ("attachments", (File("other", "a.txt", "text/plain", 3, None),)),
    ("raw", None),
    ("cut", ("text_body",)),
]


def changed(name: str, value: Any) -> Message:
    """The base message with one field changed."""
    return Message(**{**{f: getattr(BASE, f) for f in BASE.__struct_fields__}, name: value})


@pytest.mark.parametrize(("name", "value"), CONTENT)
def test_a_change_of_content_changes_the_content_part(name: str, value: Any) -> None:
    assert not same_content(row(BASE, FULL).digest, row(changed(name, value), FULL).digest)


@pytest.mark.parametrize(("name", "value"), LIGHT)
def test_a_change_of_thread_folder_or_labels_leaves_the_content_part(name: str, value: Any) -> None:
    before, after = row(BASE, FULL).digest, row(changed(name, value), FULL).digest
    assert before != after
    assert same_content(before, after)


@pytest.mark.parametrize(("name", "value"), NEITHER)
def test_hints_and_names_of_labels_are_in_neither_part(name: str, value: Any) -> None:
    assert row(BASE, FULL).digest == row(changed(name, value), FULL).digest


def test_every_field_of_a_message_is_placed_in_one_of_the_three() -> None:
    named = {name for name, _ in (*CONTENT, *LIGHT, *NEITHER)}
    assert named | {"id"} == set(Message.__struct_fields__)


@pytest.mark.parametrize("settings", [Settings(bodies="text"), Settings(max_body=3), Settings(keep_raw=True)])
def test_a_changed_setting_changes_the_digest(settings: Settings) -> None:
    assert not same_content(row(BASE, FULL).digest, row(BASE, Projection.of(settings)).digest)


@given(st.text(max_size=50), st.integers(0, 60))
def test_a_body_is_cut_to_its_bytes_but_never_inside_a_character(body: str, most: int) -> None:
    text = body.encode("utf-8", "ignore").decode()
    cut = row(changed("body", text), Projection.of(Settings(max_body=most)))
    assert cut.body is not None
    assert text.startswith(cut.body)
    assert len(cut.body.encode()) <= most
    assert cut.body_size == len(text.encode())
    assert cut.body_truncated == (cut.body != text or len(b"text") > most)


@pytest.mark.fault("D8")
def test_people_keep_their_order_and_duplicates() -> None:
    twice = changed("to", (Person("Y@example.com", "Y"), Person("y@example.com", None), Person(None, "nobody")))
    found = [(p.role, p.position, p.address, p.email) for p in people(twice)]
    assert found == [
        ("from", 0, "x@example.com", "x@example.com"),
        ("to", 0, "y@example.com", "Y@example.com"),
        ("to", 1, "y@example.com", "y@example.com"),
        ("to", 2, None, None),
    ]


def test_a_name_on_a_dated_message_is_newer_than_one_on_an_undated_message() -> None:
    assert name_key(datetime(1, 1, 2, tzinfo=UTC), "a") > name_key(None, "z")
    assert name_key(None, "b") > name_key(None, "a")
