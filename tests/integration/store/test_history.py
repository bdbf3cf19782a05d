"""Where labels and folders were, and from when to when: written in the commit that changed them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from tests.conftest import as_superuser
from tests.integration.store.mail import INBOX, UNREAD, fetched, gone, leased, listed, message, table, writes
from worker.records import Label
from worker.store.engine import connect
from worker.store.postgres import PostgresStore

Sql = psycopg.Connection[Any]

LABELS = "select label_id, valid_from, valid_to from mail.message_label_history order by 2, 1"
FOLDERS = "select folder_id, valid_from, valid_to from mail.message_folder_history order by 2, 1"
T = [datetime(2026, 11, 20, 8 + hour, tzinfo=UTC) for hour in range(8)]
"""Eight o'clock, nine o'clock, and so on."""


@pytest.fixture
def engine(any_database: str) -> Iterator[Engine]:
    """An engine on every server there is."""
    opened = connect(any_database)
    yield opened
    opened.dispose()


@pytest.fixture
def connection(any_database: str) -> Iterator[Sql]:
    """A connection of the test's own; it may set the clock."""
    with psycopg.connect(as_superuser(any_database), autocommit=True) as opened:
        yield opened


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresStore]:
    """A store under a lease."""
    with leased(engine) as opened:
        yield opened


def clock_reads(connection: Sql, time: datetime) -> None:
    """Stop the database's clock at this time."""
    connection.execute(
        "create or replace function sync.now() returns timestamptz language sql stable parallel safe"
        f" return '{time.isoformat()}'::timestamptz"
    )


def ranges(connection: Sql, query: str) -> list[tuple[str, datetime, datetime | None]]:
    """What the view shows, in order."""
    return connection.execute(query).fetchall()


def test_a_label_that_is_taken_off_and_put_on_again_has_two_ranges(store: PostgresStore, connection: Sql) -> None:
    clock_reads(connection, T[0])
    store.commit(listed(message()))
    assert ranges(connection, LABELS) == [("l1", T[0], None), ("l2", T[0], None)]
    clock_reads(connection, T[1])
    store.commit(fetched(message(labels=(INBOX,))))
    clock_reads(connection, T[2])
    store.commit(fetched(message(labels=(INBOX, UNREAD))))
    clock_reads(connection, T[3])
    store.commit(listed(message(labels=(UNREAD, Label("l3", "Work")))))
    assert ranges(connection, LABELS) == [
        ("l1", T[0], T[3]),
        ("l2", T[0], T[1]),
        ("l2", T[2], None),
        ("l3", T[3], None),
    ]


def test_a_message_that_moves_has_a_range_for_each_folder(store: PostgresStore, connection: Sql) -> None:
    for hour, folder in enumerate(["inbox", "inbox", "later", "inbox", None, "done"]):
        clock_reads(connection, T[hour])
        store.commit(fetched(message(folder_id=folder)))
    assert ranges(connection, FOLDERS) == [
        ("inbox", T[0], T[2]),
        ("later", T[2], T[3]),
        ("inbox", T[3], T[4]),
        ("done", T[5], None),
    ]


def test_a_move_together_with_a_change_of_the_content_is_a_move(store: PostgresStore, connection: Sql) -> None:
    clock_reads(connection, T[0])
    store.commit(fetched(message(folder_id="drafts")))
    clock_reads(connection, T[1])
    store.commit(fetched(message(folder_id="sent", subject="Dinner")))
    assert ranges(connection, FOLDERS) == [("drafts", T[0], T[1]), ("sent", T[1], None)]


@pytest.mark.parametrize("later", [{}, {"labels": (UNREAD,), "folder_id": "archive"}], ids=["as it was", "changed"])
def test_a_deletion_ends_the_ranges_and_a_return_begins_others(
    store: PostgresStore, connection: Sql, later: dict[str, Any]
) -> None:
    clock_reads(connection, T[0])
    store.commit(fetched(message(labels=(INBOX,), folder_id="inbox")))
    clock_reads(connection, T[1])
    store.commit(gone("m1"))
    assert ranges(connection, LABELS) == [("l1", T[0], T[1])]
    assert ranges(connection, FOLDERS) == [("inbox", T[0], T[1])]
    clock_reads(connection, T[2])
    back = {"labels": (INBOX,), "folder_id": "inbox"} | later
    assert store.commit(fetched(message(**back))).revived == 1
    assert ranges(connection, LABELS) == [("l1", T[0], T[1]), (back["labels"][0].id, T[2], None)]
    assert ranges(connection, FOLDERS) == [("inbox", T[0], T[1]), (back["folder_id"], T[2], None)]


def test_time_until_read_is_one_query(store: PostgresStore, connection: Sql) -> None:
    clock_reads(connection, T[0])
    store.commit(listed(message("read"), message("unread")))
    clock_reads(connection, T[0] + timedelta(minutes=90))
    store.commit(listed(message("read", labels=(INBOX,))))
    found = connection.execute(
        "select message_id, valid_to - valid_from from mail.message_label_history"
        " join mail.labels using (account_id, label_id) where name = 'UNREAD' order by 1"
    ).fetchall()
    assert found == [("read", timedelta(minutes=90)), ("unread", None)]


def test_a_clock_that_goes_back_makes_no_range_that_ends_before_it_begins(
    store: PostgresStore, connection: Sql
) -> None:
    clock_reads(connection, T[3])
    store.commit(listed(message(folder_id="inbox")))
    clock_reads(connection, T[0])
    store.commit(listed(message(labels=(), folder_id="later")))
    assert ranges(connection, LABELS) == [("l1", T[3], T[3]), ("l2", T[3], T[3])]
    assert ("inbox", T[3], T[3]) in ranges(connection, FOLDERS)


def test_mail_that_is_new_or_unchanged_writes_nothing_into_the_past(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message(folder_id="inbox")))
    store.commit(fetched(message(folder_id="inbox")))
    store.commit(fetched(message(folder_id="inbox", subject="Dinner")))
    assert table(connection, "select * from mail.message_labels_past") == []
    assert table(connection, "select * from mail.message_folders_past") == []
    assert writes(connection).keys() >= {"message_labels_past", "message_folders_past"}


def test_a_repair_of_a_message_that_was_lost_here_keeps_the_past_of_others(
    store: PostgresStore, connection: Sql
) -> None:
    clock_reads(connection, T[0])
    store.commit(listed(message("lost"), message("kept")))
    connection.execute("delete from mail.messages where message_id = 'lost'")
    clock_reads(connection, T[1])
    store.commit(fetched(message("lost"), message("kept"), rewrite=True))
    assert ranges(connection, LABELS.replace("order by", "where message_id = 'kept' order by")) == [
        ("l1", T[0], None),
        ("l2", T[0], None),
    ]
    assert table(connection, "select * from mail.message_labels_past") == []
