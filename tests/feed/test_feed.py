"""The feed shows every row as it is now, once, in one order; a consumer moves only where it may."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from tests.conftest import as_superuser
from tests.feed.rebuilding import Copy, mirrored
from tests.integration.store.mail import INBOX, fetched, gone, leased, listed, message
from worker.errors import UsageError
from worker.records import Label
from worker.store import accounts, feed
from worker.store.credentials import KeyRing
from worker.store.engine import connect
from worker.store.postgres import PostgresStore

Sql = psycopg.Connection[Any]


@pytest.fixture
def engine(any_database: str) -> Iterator[Engine]:
    """An engine on every server there is."""
    opened = connect(any_database)
    yield opened
    opened.dispose()


@pytest.fixture
def connection(any_database: str) -> Iterator[Sql]:
    """A connection of the test's own."""
    with psycopg.connect(as_superuser(any_database), autocommit=True) as opened:
        yield opened


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresStore]:
    """A store under a lease."""
    with leased(engine) as opened:
        yield opened


def keys(page: list[feed.Change]) -> list[tuple[str, str]]:
    return [(change.kind, change.key) for change in page]


def test_an_unknown_consumer_gets_everything_parents_first(store: PostgresStore, engine: Engine) -> None:
    store.commit(listed(message(folder_id="f1", labels=(INBOX,))))
    assert keys(feed.changes(engine, "etl")) == [
        ("account", "1"),
        ("folder", "f1"),
        ("label", "l1"),
        ("person", "ann@example.com"),
        ("person", "bob@example.com"),
        ("message", "m1"),
    ]


def test_a_message_comes_whole(store: PostgresStore, engine: Engine) -> None:
    store.commit(listed(message()))
    state = json.loads(feed.changes(engine, "etl")[-1].state)
    assert state["subject"] == "Lunch"
    assert [(each["role"], each["email"]) for each in state["people"]] == [
        ("from", "Ann@Example.com"),
        ("to", "bob@example.com"),
        ("to", "bob@example.com"),
        ("cc", "ann@example.com"),
    ]
    assert [each["label_id"] for each in state["labels"]] == ["l1", "l2"]
    assert [each["name"] for each in state["attachments"]] == ["menu.pdf"]
    assert not {"digest", "changed_in"} & state.keys()


def test_only_what_changed_since_comes_again_and_as_it_is_now(store: PostgresStore, engine: Engine) -> None:
    store.commit(listed(message("m1"), message("m2")))
    Copy().read(engine, "etl")
    store.commit(fetched(message("m1", labels=(INBOX,))))
    store.commit(fetched(message("m1", labels=(INBOX, Label("l3", "Work")))))
    page = feed.changes(engine, "etl")
    assert keys(page) == [("label", "l3"), ("message", "m1")]
    assert [each["label_id"] for each in json.loads(page[-1].state)["labels"]] == ["l1", "l3"]


def test_reading_moves_nothing_and_acknowledging_moves_only_forward(store: PostgresStore, engine: Engine) -> None:
    store.commit(listed(message()))
    page = feed.changes(engine, "etl")
    assert feed.changes(engine, "etl") == page
    assert feed.acknowledge(engine, "etl", page[2].position)
    assert not feed.acknowledge(engine, "etl", page[2].position)
    assert not feed.acknowledge(engine, "etl", page[0].position)
    assert feed.changes(engine, "etl") == page[3:]
    assert feed.changes(engine, "etl", after=page[3].position) == page[4:]
    assert keys(feed.changes(engine, "another")) == keys(page)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_of_any_size_are_the_same_feed(store: PostgresStore, engine: Engine, size: int) -> None:
    for number in range(5):
        store.commit(listed(*(message(f"{each}:\n{number}", folder_id=f"f{each}") for each in range(3))))
    store.commit(gone("0:\n1", "2:\n3"))
    accounts.remove(engine, accounts.add(engine, kind="kloudless", upstream_id="x").id, purge=True)
    whole = feed.changes(engine, "etl")
    pieces: list[feed.Change] = []
    while page := feed.changes(engine, "etl", size, pieces[-1].position if pieces else None):
        assert len(page) <= size
        pieces += page
    assert keys(pieces) == keys(whole)
    assert [change.position.partition(":")[2].partition(":")[2] for change in pieces] == [
        change.position.partition(":")[2].partition(":")[2] for change in whole
    ]


def test_a_tombstone_is_deleted_and_keeps_its_state(store: PostgresStore, engine: Engine) -> None:
    store.commit(listed(message()))
    Copy().read(engine, "etl")
    store.commit(gone("m1", "never-seen"))
    page = feed.changes(engine, "etl")
    assert [(c.kind, c.key, c.deleted) for c in page] == [("message", "m1", True), ("message", "never-seen", True)]
    assert json.loads(page[0].state)["subject"] == "Lunch"


def test_a_purged_account_is_one_erasure(store: PostgresStore, engine: Engine, connection: Sql) -> None:
    store.commit(listed(message()))
    copy = Copy()
    copy.read(engine, "etl")
    with leased(engine, upstream_id="other") as other:
        other.commit(listed(message("kept")))
    accounts.remove(engine, 1, purge=True)
    page = [change for change in feed.changes(engine, "etl") if change.account_id == 1]
    assert [(c.kind, c.key, c.deleted) for c in page] == [("erasure", "1", True)]
    assert json.loads(page[0].state).keys() == {"kind", "key", "erased_at"}
    copy.read(engine, "etl")
    assert copy.rows == mirrored(connection)
    assert {key[1] for key in copy.rows} == {2}


def test_a_purge_that_is_cut_short_is_told_at_once_and_must_be_finished(
    store: PostgresStore, engine: Engine, connection: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(listed(message()))
    copy = Copy()
    copy.read(engine, "etl")
    with monkeypatch.context() as patched:
        patched.setattr(accounts, "_purge_step", None)
        with pytest.raises(TypeError):
            accounts.remove(engine, 1, purge=True)
    copy.read(engine, "etl")
    assert copy.rows == {}
    with pytest.raises(UsageError, match="Finish that: mailmirror accounts remove 1 --purge"):
        accounts.set_token(engine, 1, "good", KeyRing())
    accounts.remove(engine, 1, purge=True)
    copy.read(engine, "etl")
    assert copy.rows == mirrored(connection) == {}


def test_an_erased_message_leaves_a_mark_and_may_come_back(
    store: PostgresStore, engine: Engine, connection: Sql
) -> None:
    store.commit(listed(message("m1"), message("m2")))
    copy = Copy()
    copy.read(engine, "etl")
    with engine.begin() as transaction:
        feed.note_erased(transaction, 1, "message", ["m1"])
        transaction.exec_driver_sql("delete from mail.messages where message_id = 'm1'")
        for table in ("people", "labels"):
            transaction.exec_driver_sql(f"delete from mail.message_{table} where message_id = 'm1'")
        transaction.exec_driver_sql("delete from mail.attachments where message_id = 'm1'")
    assert keys(feed.changes(engine, "etl")) == [("erasure", "m1")]
    store.commit(fetched(message("m1")))
    assert keys(feed.changes(engine, "etl")) == [("erasure", "m1"), ("message", "m1")]
    copy.read(engine, "etl")
    assert copy.rows == mirrored(connection)
    fresh = Copy()
    fresh.read(engine, "another")
    assert fresh.rows == copy.rows


def test_what_was_written_again_by_an_older_transaction_was_not_erased(any_database: str, engine: Engine) -> None:
    """The writer began first and waited for the eraser: its number is lower, and it wrote later."""
    with psycopg.connect(as_superuser(any_database)) as writer, psycopg.connect(as_superuser(any_database)) as eraser:
        writer.execute("select pg_current_xact_id()")
        eraser.execute("insert into sync.erasures (account_id, kind, key, tenant_id) values (1, 'message', 'm1', '')")
        eraser.commit()
        writer.execute("insert into mail.messages (account_id, message_id) values (1, 'm1')")
        writer.commit()
    assert keys(feed.changes(engine, "etl")) == [("message", "m1")]


def test_large_rows_make_short_pages(store: PostgresStore, engine: Engine) -> None:
    body = "x" * 1_000_000
    store.commit(listed(*(message(f"{n:02}", body=body, text_body=body) for n in range(40))))
    page = feed.changes(engine, "etl")
    assert 5 < len(page) < 30
    copy = Copy()
    assert copy.read(engine, "etl") > 40


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nonsense", "no position"),
        ("", "no position"),
        ("0123456789ab:1:5:5:1:m", "before this database was restored"),
        ("{epoch}:1:9223372036854775807:5:1:m", "beyond what the feed has given out"),
        ("{epoch}:7:5:5:1:m", "before consumer etl began again"),
    ],
)
def test_positions_that_were_never_given_are_refused(engine: Engine, given: str, words: str) -> None:
    with pytest.raises(feed.FeedError, match=words):
        feed.acknowledge(engine, "etl", given.format(epoch=feed.horizon(engine).epoch))
    assert feed.standings(engine) == []


def test_a_consumer_that_begins_again_refuses_what_it_was_given_before(store: PostgresStore, engine: Engine) -> None:
    store.commit(listed(message()))
    page = feed.changes(engine, "etl")
    feed.acknowledge(engine, "etl", page[-1].position)
    feed.restart(engine, "etl")
    with pytest.raises(feed.FeedError, match="before consumer etl began again"):
        feed.acknowledge(engine, "etl", page[-1].position)
    assert keys(feed.changes(engine, "etl")) == keys(page)


def test_a_copy_of_the_tables_and_the_feed_meet_without_a_gap(
    store: PostgresStore, engine: Engine, any_database: str
) -> None:
    store.commit(listed(message("before")))
    with psycopg.connect(as_superuser(any_database)) as late:
        late.execute("insert into mail.messages (account_id, message_id) values (1, 'late')")
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as copying, copying.begin():
            position = feed.position(copying)
            store.commit(listed(message("during")))
            late.commit()
            held = set(copying.exec_driver_sql("select message_id from mail.messages").scalars())
    assert held == {"before"}
    feed.acknowledge(engine, "etl", position)
    assert ("message", "before") not in keys(feed.changes(engine, "etl"))
    assert {key for kind, key in keys(feed.changes(engine, "etl")) if kind == "message"} == {"late", "during"}


def test_a_page_that_cannot_be(engine: Engine) -> None:
    for name, size in (("", 1), ("x" * 201, 1), ("etl", 0)):
        with pytest.raises(feed.FeedError, match="name of at most 200 bytes"):
            feed.changes(engine, name, size)
