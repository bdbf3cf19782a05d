"""Anything an upstream may put into a message goes through reading and a real Postgres, and comes back.

MAILMIRROR_TEST_PAYLOADS=600 makes up so many pages, and as many texts.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from tests.conftest import PostgresServer
from tests.faults import figures
from tests.integration.store.mail import leased, listed, table
from tests.sources.answers import NOW, one, page_of
from tests.sources.test_payloads import wild_message, written
from worker.config import Settings
from worker.records import Label, Message, Person
from worker.sources import _decode
from worker.store.engine import connect
from worker.store.postgres import PostgresStore

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = itertools.count(1)
PAYLOADS = int(os.environ.get("MAILMIRROR_TEST_PAYLOADS", "60"))


@pytest.fixture(scope="module")
def opened(postgres: PostgresServer) -> Iterator[tuple[Engine, psycopg.Connection[Any]]]:
    """One database for all examples, each in an account of its own."""
    name = postgres.create(postgres.migrated_template())
    engine = connect(postgres.url(name))
    with psycopg.connect(postgres.plain_url(name), autocommit=True) as connection:
        yield engine, connection
    engine.dispose()
    postgres.drop(name)


def kept(opened: tuple[Engine, psycopg.Connection[Any]], *messages: Message) -> dict[str, tuple[Any, ...]]:
    """Store messages twice in an account of their own; returns what stands there, by id."""
    engine, connection = opened
    with leased(engine, upstream_id=str(next(NUMBERS))) as store:
        return _kept(store, connection, messages)


def _kept(store: PostgresStore, connection: psycopg.Connection[Any], messages: tuple[Message, ...]) -> dict[str, Any]:
    distinct = {message.id: message for message in messages}
    assert store.commit(listed(*messages)).added == len(distinct)
    assert store.commit(listed(*messages)).unchanged == len(distinct), "I5"
    columns = "message_id, subject, snippet, text_body, body, created, created_raw, thread_id, folder_id"
    rows = connection.execute(f"select {columns} from mail.messages where account_id = %s", [store.account_id])
    return {row[0]: row[1:] for row in rows}


def fields(message: Message) -> tuple[Any, ...]:
    names = ("subject", "snippet", "text_body", "body", "created", "created_raw", "thread_id", "folder_id")
    return tuple(getattr(message, name) for name in names)


@pytest.mark.fault("D1", "D2", "D4", "D5", "D6", "D9", "D15", "D18")
@settings(max_examples=PAYLOADS, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(wild_message, max_size=5), st.booleans())
def test_a_page_of_anything_is_stored_but_for_what_it_says_is_none(
    opened: tuple[Engine, psycopg.Connection[Any]], objects: list[Any], escaped: bool
) -> None:
    figures.count("payloads")
    good = {"id": "good", "subject": "untouched", "created": "2020-02-29T23:59:59Z"}
    envelope = {"next_page": None, "type": "object_list", "objects": [*objects, good]}
    page = _decode.message_page(written(envelope, escaped=escaped), NOW, keep_raw=False)
    assert len(page.messages) + len(page.rejected) == len(objects) + 1, "I4: each object is a message or a problem"
    rows = kept(opened, *page.messages)
    assert rows.keys() == {message.id for message in page.messages}
    last = {message.id: message for message in page.messages}
    assert rows == {id_: fields(message) for id_, message in last.items()}


ODD = (
    "Robert'); drop table mail.messages; --",
    "100% _under_ \\escape $1 :name %s {0}",
    "\N{RIGHT-TO-LEFT OVERRIDE}right to left \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001d518\U0001d52b \U0001f3f3\ufe0f\u200d\U0001f308",
    "\u00e9 e\u0301 \ufb03 \u1e9e",
    "\t\r\n\x0b\x1f\x7f\x85\u2028",
    "=cmd|' /C calc'!A0",
    "null",
    "\\x00",
    "\ufffe\uffff",
)


@pytest.mark.fault("D14")
@pytest.mark.parametrize("text", ODD)
def test_text_that_means_something_elsewhere_comes_back_as_it_went_in(
    opened: tuple[Engine, psycopg.Connection[Any]], text: str
) -> None:
    _, connection = opened
    data = {"id": "odd", "subject": text, "body": text, "snippet": text, "from": {"email": text, "name": text},
            "labels": [{"id": text, "name": text}], "attachments": [{"id": text, "name": text}]}  # fmt: skip
    page = _decode.message_page(page_of(json.dumps(data)), NOW, keep_raw=False)
    (message,) = page.messages
    rows = kept(opened, message)
    assert rows["odd"][0] == rows["odd"][3] == text
    assert (text, text) in table(connection, "select email, name from mail.message_people")
    assert (text, text) in table(connection, "select label_id, name from mail.labels")
    assert table(connection, "select 1 from mail.messages limit 1") == [(1,)]


@pytest.mark.fault("D14")
@settings(max_examples=PAYLOADS, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
def test_any_text_comes_back_as_it_went_in(opened: tuple[Engine, psycopg.Connection[Any]], text: str) -> None:
    figures.count("payloads")
    message = Message(id="m", subject=text, body=text, sender=Person(text, text), labels=(Label("l", text),))
    assert kept(opened, message)["m"][0] == text


@pytest.mark.fault("D17")
def test_html_is_text_however_hostile_or_long(opened: tuple[Engine, psycopg.Connection[Any]]) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:x'>" + "x" * 10_000_000
    assert kept(opened, one(body=hostile))["m"][3] == hostile
    bad_charset = page_of('{"id": "b", "body": "<p>gr\udcfcn\udcff</p>"}')
    (message,) = _decode.message_page(bad_charset, NOW, keep_raw=False).messages
    assert kept(opened, message)["b"][3] == "<p>gr\ufffdn\ufffd</p>"


@pytest.mark.fault("D17")
def test_bytes_are_shown_to_people_only_escaped() -> None:
    from worker.store.problems import escaped

    shown = escaped(b"<script>\x1b[2J\x07\r\x00\xff</script>\xe2\x80\xae", 200)
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


BODY = 50_000_000
LARGE = f"""
import resource, sys, threading
from tests.integration.store.mail import leased, listed
from tests.sources.answers import NOW
from worker.sources import _decode
from worker.store.engine import connect
data = b'{{"id": "large", "body": "' + b"x" * {BODY} + b'"}}'
page = b'{{"next_page": null, "type": "object_list", "objects": [' + data + b']}}'
engine = connect(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def work(number):
    with leased(engine, upstream_id="large " + str(number)) as store:
        store.commit(listed(*_decode.message_page(page, NOW, keep_raw=False).messages))
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
engine.dispose()
"""


@pytest.mark.fault("D3")
def test_bodies_of_50_mb_are_cut_with_their_true_size_and_memory_is_bounded(
    opened: tuple[Engine, psycopg.Connection[Any]],
) -> None:
    engine, connection = opened
    url = engine.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", LARGE, url], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    most = Settings().max_body
    found = table(
        connection, "select body_size, length(body), body_truncated from mail.messages where message_id = 'large'"
    )
    assert found == [(BODY, most, True)] * 4
    kilobytes = int(done.stdout)
    assert kilobytes * 1024 < 4 * 4 * BODY, "I8: a few copies of each body at most"
