"""One commit writes rows, tombstones, failures and position together, behind the fence, and nothing needlessly."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from sqlalchemy.engine import Engine

from tests.conftest import as_superuser
from tests.integration.store.mail import (
    DAY,
    INBOX,
    UNREAD,
    fetched,
    gone,
    leased,
    listed,
    message,
    table,
)
from worker.config import Settings
from worker.errors import LeaseLostError
from worker.records import Batch, Cursor, CursorMove, File, Folder, Label, LedgerChange, Person, Problem, Window
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


def test_a_batch_that_changes_nothing_is_noted_with_the_next_commit(store: PostgresStore, connection: Sql) -> None:
    store.commit(Batch(stream="activity", polled=True))
    assert (store.wrote, store.polled) == (False, True)
    assert table(connection, "select polled_at from sync.accounts") == [(None,)]
    store.commit(listed(message()))
    assert (store.wrote, store.polled) == (True, False)
    assert table(connection, "select polled_at is null from sync.accounts") == [(False,)]


def test_a_commit_tells_of_folders_not_known_before(store: PostgresStore) -> None:
    assert store.commit(listed(message(), message("m2", folder_id="f1"))).new_folders == 1
    assert store.commit(listed(message("m3", folder_id="f1"))).new_folders == 0
    assert store.commit(Batch(stream="windows", folders=(Folder("f1", "Inbox"),))).new_folders == 0
    assert store.commit(fetched(message("m2", folder_id="f2"))).new_folders == 1
    store.commit(Batch(stream="windows", gone_folders=("f2",)))


@pytest.mark.fault("D8")
def test_a_new_message_is_written_with_its_people_labels_and_attachments(store: PostgresStore, connection: Sql) -> None:
    assert store.commit(listed(message())).added == 1
    columns = (
        "message_id, thread_id, subject, snippet, created, text_body, body, body_size, has_attachments, deleted_at"
    )
    assert table(connection, f"select {columns} from mail.messages") == [
        ("m1", "t1", "Lunch", "At noon?", DAY, "At noon?", "<p>At noon?</p>", 15, True, None)
    ]
    assert table(connection, "select role, position, address, email, name from mail.message_people") == [
        ("cc", 0, "ann@example.com", "ann@example.com", None),
        ("from", 0, "ann@example.com", "Ann@Example.com", "Ann"),
        ("to", 0, "bob@example.com", "bob@example.com", "Bob"),
        ("to", 1, "bob@example.com", "bob@example.com", "Bob"),
    ]
    assert table(connection, "select address, name, name_at, name_on from mail.people") == [
        ("ann@example.com", "Ann", DAY, "m1"),
        ("bob@example.com", "Bob", DAY, "m1"),
    ]
    assert table(connection, "select label_id from mail.message_labels") == [("l1",), ("l2",)]
    assert table(connection, "select label_id, name from mail.labels") == [("l1", "INBOX"), ("l2", "UNREAD")]
    assert table(connection, "select position, file_id, name, mime_type, size from mail.attachments") == [
        (0, "file_1", "menu.pdf", "application/pdf", 1200)
    ]


def state(connection: Sql) -> dict[str, list[tuple[Any, ...]]]:
    """Everything of schema mail with the transaction that wrote each row."""
    tables = ("messages", "people", "message_people", "labels", "message_labels", "folders", "attachments")
    return {name: table(connection, f"select xmin::text, t::text from mail.{name} t") for name in tables}


@pytest.mark.fault("S8")
def test_an_unchanged_message_is_not_written_again(store: PostgresStore, connection: Sql, engine: Engine) -> None:
    store.commit(listed(message(), message("m2", folder_id="f1")))
    before = state(connection)
    outcome = store.commit(listed(message(), message("m2", folder_id="f1")))
    with leased(engine) as another:
        another.commit(fetched(message()))
    assert outcome.unchanged == 2
    assert state(connection) == before


@pytest.mark.fault("D20")
def test_a_file_id_that_changes_at_every_read_is_no_change(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message()))
    before = state(connection)
    other = File("file_2", "menu.pdf", "application/pdf", 1200, "https://elsewhere.example/")
    assert store.commit(listed(message(attachments=(other,), rfc822=File("raw_2")))).unchanged == 1
    assert state(connection) == before


@pytest.mark.fault("D19")
def test_a_new_label_leaves_bodies_and_people_alone(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message()))
    before = state(connection)
    assert store.commit(listed(message(labels=(INBOX, Label("l3", "Work")), thread_id="t2"))).updated == 1
    after = state(connection)
    assert after["message_people"] == before["message_people"]
    assert after["attachments"] == before["attachments"]
    assert table(connection, "select label_id from mail.message_labels") == [("l1",), ("l3",)]
    assert table(connection, "select thread_id, body from mail.messages") == [("t2", "<p>At noon?</p>")]


def test_a_changed_message_is_rewritten_with_its_children(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message(), message("m2")))
    changed = message(subject="Dinner", to=(Person("eve@example.com", "Eve"),), attachments=(), altered=("subject",))
    assert store.commit(fetched(changed)).updated == 1
    found = table(connection, "select message_id, subject, has_attachments, altered from mail.messages")
    assert found == [("m1", "Dinner", False, ["subject"]), ("m2", "Lunch", True, None)]
    recipients = table(connection, "select email from mail.message_people where message_id = 'm1' and role = 'to'")
    assert recipients == [("eve@example.com",)]
    assert table(connection, "select count(*) from mail.attachments where message_id = 'm1'") == [(0,)]
    assert table(connection, "select count(*) from mail.attachments where message_id = 'm2'") == [(1,)]


def test_every_change_moves_the_messages_place_in_the_feed(store: PostgresStore, connection: Sql) -> None:
    places = []
    for changed in (message(), message(subject="Dinner"), message(subject="Dinner", labels=())):
        store.commit(fetched(changed))
        places += table(connection, "select changed_in::text::bigint from mail.messages")
    store.commit(gone("m1"))
    places += table(connection, "select changed_in::text::bigint from mail.messages")
    assert places == sorted(set(places))


@pytest.mark.fault("U19")
def test_one_message_twice_in_a_batch_is_written_once_as_last_seen(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message(subject="first"), message(subject="second")))
    assert table(connection, "select subject from mail.messages") == [("second",)]


def test_a_fetched_message_counts_before_a_listed_one(store: PostgresStore, connection: Sql) -> None:
    batch = Batch(stream="windows", listed=(message(subject="list"),), fetched=fetched(message(subject="get")).fetched)
    store.commit(batch)
    assert table(connection, "select subject from mail.messages") == [("get",)]


def test_a_deleted_message_keeps_its_children_and_disappears_from_the_live_views(
    store: PostgresStore, connection: Sql
) -> None:
    store.commit(listed(message()))
    assert store.commit(gone("m1")).tombstoned == 1
    assert table(connection, "select deleted_at is not null, found_gone from mail.messages") == [(True, "event")]
    assert len(table(connection, "select * from mail.message_people")) == 4
    for view in ("live_messages", "live_message_people", "live_message_labels", "live_attachments"):
        assert table(connection, f"select * from mail.{view}") == []


@pytest.mark.fault("U31")
def test_a_list_page_never_revives_a_deleted_message(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message()))
    store.commit(gone("m1"))
    assert store.commit(listed(message())).held == ("m1",)
    assert table(connection, "select deleted_at is not null from mail.messages") == [(True,)]
    assert table(connection, "select kind, subject, state from sync.problems") == [("pending", "m1", "open")]
    assert [p.subject for p in store.pending(10)] == ["m1"]


def test_a_get_revives_a_deleted_message_and_closes_what_waited_for_it(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message()))
    store.commit(gone("m1"))
    store.commit(listed(message()))
    assert store.commit(fetched(message(subject="Back"))).revived == 1
    assert table(connection, "select subject, deleted_at, found_gone from mail.messages") == [("Back", None, None)]
    assert len(table(connection, "select * from mail.live_message_people")) == 4
    assert table(connection, "select state from sync.problems") == [("closed",)]


@pytest.mark.fault("U30")
def test_a_deletion_of_a_message_never_seen_leaves_its_mark(store: PostgresStore, connection: Sql) -> None:
    assert store.commit(gone("m9")).tombstoned == 1
    assert store.commit(listed(message("m9"))).held == ("m9",)
    assert table(connection, "select message_id, digest from mail.messages") == [("m9", None)]
    store.commit(fetched(message("m9")))
    assert table(connection, "select message_id, subject from mail.live_messages") == [("m9", "Lunch")]
    assert table(connection, "select count(*) from mail.message_people") == [(4,)]


@pytest.mark.fault("D12")
def test_a_renamed_label_is_seen_on_an_unchanged_message(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message()))
    assert store.commit(listed(message(labels=(Label("l1", "Inbox"), UNREAD)))).unchanged == 1
    assert table(connection, "select name from mail.labels") == [("Inbox",), ("UNREAD",)]


def test_a_changed_setting_rewrites_what_was_mirrored_before(engine: Engine, connection: Sql) -> None:
    with leased(engine, Settings(bodies="none")) as store:
        store.commit(listed(message()))
    assert table(connection, "select body, text_body, body_size from mail.messages") == [(None, None, 15)]
    with leased(engine, Settings(max_body=4)) as store:
        assert store.commit(listed(message(text_body="äöü"))).updated == 1
    assert table(connection, "select body, text_body, body_truncated from mail.messages") == [("<p>A", "äö", True)]


def test_the_upstreams_own_object_is_kept_on_demand(engine: Engine, connection: Sql) -> None:
    with leased(engine, Settings(keep_raw=True)) as store:
        store.commit(listed(message(raw=b'{"object":{"historyId":"123456789012345678901"}}')))
    assert table(connection, "select raw #>> '{object,historyId}' from mail.messages") == [("123456789012345678901",)]


@pytest.mark.fault("D7")
def test_a_message_to_ten_thousand_people_is_one_message(store: PostgresStore, connection: Sql) -> None:
    crowd = tuple(Person(f"p{n}@example.com", f"P {n}") for n in range(10_000))
    store.commit(listed(message(to=crowd, cc=crowd)))
    assert table(connection, "select count(*) from mail.message_people") == [(20_001,)]
    assert table(connection, "select count(*) from mail.people") == [(10_001,)]


@pytest.mark.fault("D9")
def test_ids_and_addresses_too_long_for_an_index_are_stored_under_a_hash(store: PostgresStore, connection: Sql) -> None:
    long = message(labels=(Label("x" * 5000, "Long"),), sender=Person("y" * 9000 + "@example.com", "Y"))
    store.commit(listed(long))
    assert store.commit(listed(long)).unchanged == 1
    (label,) = table(connection, "select label_id from mail.message_labels")[0]
    assert label.startswith("sha256:")
    (address,) = table(connection, "select address from mail.message_people where role = 'from'")[0]
    assert len(address) == 200 + 1 + 64
    assert table(connection, "select length(email) from mail.message_people where role = 'from'") == [(9012,)]


@pytest.mark.fault("D13")
def test_two_accounts_may_have_equal_ids(engine: Engine, connection: Sql) -> None:
    with leased(engine, upstream_id="1001") as one, leased(engine, upstream_id="1002") as other:
        one.commit(listed(message()))
        other.commit(listed(message(subject="Other")))
        one.commit(gone("m1"))
    assert table(connection, "select account_id, subject from mail.live_messages") == [(2, "Other")]


@pytest.mark.fault("P9")
def test_a_worker_that_was_overtaken_writes_nothing(store: PostgresStore, engine: Engine, connection: Sql) -> None:
    with leased(engine) as newer:
        with pytest.raises(LeaseLostError):
            store.commit(listed(message(), cursor=CursorMove(Cursor("7"))))
        assert table(connection, "select * from mail.messages") == []
        assert newer.position() is None
        newer.commit(listed(message(), cursor=CursorMove(Cursor("8"))))
    assert table(connection, "select cursor from sync.cursors") == [("8",)]


def test_what_cannot_be_written_takes_the_whole_batch_with_it(store: PostgresStore, connection: Sql) -> None:
    broken = Window(after=DAY, before=DAY)
    with pytest.raises(Exception, match="windows"):
        store.commit(listed(message(), cursor=CursorMove(Cursor("9")), ledger=LedgerChange(put=(broken,))))
    assert table(connection, "select * from mail.messages") == []
    assert table(connection, "select * from mail.people") == []
    assert table(connection, "select * from sync.cursors") == []
    store.commit(listed(message()))
    assert len(table(connection, "select * from mail.people")) == 2


def test_a_problem_seen_again_waits_longer_and_one_put_right_closes(store: PostgresStore, connection: Sql) -> None:
    problem = Problem(kind="pending", subject="m1", cause="no answer", raw=b"x" * 100_000, retry_in=30.0)
    waits = []
    for _ in range(3):
        store.commit(Batch(stream="activity", problems=(problem,)))
        found = table(
            connection, "select attempts, extract(epoch from not_before - sync.now()), length(bytes) from sync.problems"
        )
        waits.append((found[0][0], round(found[0][1], -1), found[0][2]))
    assert [(attempts, size) for attempts, _, size in waits] == [(1, 65536), (2, 65536), (3, 65536)]
    assert waits[0][1] < waits[1][1] < waits[2][1]
    assert store.pending(10) == ()
    store.commit(fetched(message()))
    assert table(connection, "select state, closed_at is not null from sync.problems") == [("closed", True)]
    store.commit(Batch(stream="activity", problems=(problem,)))
    assert table(connection, "select state, attempts from sync.problems") == [("open", 1)]


def test_an_unreadable_event_is_put_right_when_every_window_was_walked_after_it(
    store: PostgresStore, connection: Sql
) -> None:
    before, edge = DAY - timedelta(days=9), DAY
    walked = {"state": "done", "walked_at": before}
    windows = (Window(after=before, before=edge, **walked), Window(after=edge, before=None, **walked))  # type: ignore[arg-type]
    event = Problem(kind="event", subject="sha256:1", cause="no id")
    store.commit(Batch(stream="activity", problems=(event,), ledger=LedgerChange(put=windows)))

    def walk_and_poll(window: Window) -> str:
        again = replace(window, walked_at=store.now() + timedelta(seconds=1))
        store.commit(Batch(stream="windows", ledger=LedgerChange(put=(again,))))
        store.commit(Batch(stream="activity", polled=True))
        return str(table(connection, "select state from sync.problems")[0][0])

    assert walk_and_poll(windows[0]) == "open"
    assert walk_and_poll(windows[1]) == "closed"


def test_the_ledger_splits_and_merges_in_one_commit(store: PostgresStore) -> None:
    start, middle, end = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 5, 9))
    store.commit(Batch(stream="windows", ledger=LedgerChange(put=(Window(after=start, before=None),))))
    split = (
        Window(after=start, before=middle, seen=5),
        Window(after=middle, before=end),
        Window(after=end, before=None),
    )
    store.commit(Batch(stream="windows", ledger=LedgerChange(put=split)))
    assert store.windows() == tuple(reversed(split))
    merged = LedgerChange(drop=(middle,), put=(Window(after=start, before=end, state="done", walked_at=start),))
    store.commit(Batch(stream="windows", ledger=merged))
    assert [(w.after, w.before) for w in store.windows()] == [(end, None), (start, end)]


def test_a_deletion_under_a_walk_makes_the_window_due_again(store: PostgresStore) -> None:
    walking = Window(after=DAY, before=DAY + timedelta(days=1), pages=2)
    other = Window(after=DAY + timedelta(days=1), before=None, pages=2)
    store.commit(listed(message(), ledger=LedgerChange(put=(walking, other))))
    assert store.commit(gone("m1")).disturbed == (DAY,)
    finished = Window(
        after=DAY, before=walking.before, state="done", walked_at=DAY, next_walk_at=DAY + timedelta(days=900)
    )
    store.commit(Batch(stream="windows", ledger=LedgerChange(put=(finished,))))
    assert store.walk_due()
    assert not store.windows()[1].disturbed
    assert store.windows()[1].next_walk_at != finished.next_walk_at


def test_live_ids_of_a_window_and_of_year_one(store: PostgresStore) -> None:
    store.commit(listed(message("a"), message("b", created=DAY + timedelta(days=1)), message("c", created=None)))
    store.commit(listed(message("d")))
    store.commit(gone("d"))
    assert store.live_ids(DAY, DAY + timedelta(days=1)) == {"a"}
    assert store.live_ids(datetime(1, 1, 1, tzinfo=UTC), DAY) == {"c"}


def test_a_large_window_is_cut_where_its_messages_are(store: PostgresStore) -> None:
    store.commit(listed(*(message(f"m{n}", created=DAY + timedelta(hours=n)) for n in range(10))))
    cuts = store.cuts(DAY - timedelta(days=1), DAY + timedelta(days=1), 3)
    assert cuts == tuple(DAY + timedelta(hours=n) for n in (7, 4, 1))


def test_what_was_deleted_today_and_what_is_held_count_for_the_brake(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(*(message(f"m{n}") for n in range(4))))
    store.commit(gone("m0", "m1"))
    store.commit(Batch(stream="windows", problems=(Problem(kind="held_delete", subject="m2", cause="many"),)))
    assert (store.deletions("event"), store.deletions("sweep")) == (3, 1)
    assert (store.live_count(10), store.live_count(1)) == (2, 1)
    connection.execute("update mail.messages set deleted_at = deleted_at - interval '25 hours' where message_id = 'm0'")
    assert store.deletions("event") == 2


def test_a_lease_is_renewed_only_when_little_of_it_remains(engine: Engine, connection: Sql) -> None:
    time = [0.0]
    with leased(engine) as opened:
        store = PostgresStore(engine, opened.account_id, opened._epoch, opened._projection, monotonic=lambda: time[0])
        connection.execute("update sync.accounts set lease_until = sync.now()")
        time[0] = 20.0
        store.renew()
        assert table(connection, "select lease_until <= sync.now() from sync.accounts") == [(True,)]
        time[0] = 31.0
        store.renew()
        assert table(connection, "select lease_until > sync.now() + interval '80 seconds' from sync.accounts") == [
            (True,)
        ]
        store.close()
