"""Volumes by day and hour, labels and folders over time: by the clock of a chosen place."""

from datetime import date
from typing import Any

from tests.analytics.mailbox import ANN, BOB, Sql, at


def rows(sql: Sql, statement: str) -> list[tuple[Any, ...]]:
    return sql.execute(statement.encode()).fetchall()


def day(number: int) -> date:
    return date(2026, 10, number)


def test_volumes_by_day_of_berlin(sql: Sql) -> None:
    asked = "select * from analytics.volumes_by_day('Europe/Berlin') where account_id = 1 order by day"
    assert rows(sql, asked) == [
        # messages, incoming, outgoing, internal, unknown
        (ANN, day(23), 1, 1, 0, 0, 0),
        (ANN, day(25), 3, 2, 1, 0, 0),
        (ANN, day(26), 4, 1, 3, 0, 0),
        (ANN, day(28), 2, 1, 1, 0, 0),
        (ANN, day(29), 2, 1, 0, 1, 0),
        (ANN, day(30), 1, 1, 0, 0, 0),
        (ANN, day(31), 2, 1, 0, 0, 1),
    ]


def test_volumes_by_day_of_utc_put_mail_around_midnight_elsewhere(sql: Sql) -> None:
    asked = "select day, messages from analytics.volumes_by_day() where account_id = 1 order by day"
    counted = {23: 1, 24: 1, 25: 2, 26: 4, 28: 2, 29: 2, 30: 2, 31: 1}
    assert rows(sql, asked) == [(day(number), messages) for number, messages in counted.items()]


def test_a_span_of_days_holds_its_first_and_its_last(sql: Sql) -> None:
    asked = (
        "select day, messages from analytics.volumes_by_day('Europe/Berlin', '2026-10-25', '2026-10-26') where"
        " account_id = {} order by day"
    )
    assert rows(sql, asked.format(ANN)) == [(day(25), 3), (day(26), 4)]
    assert rows(sql, asked.format(BOB)) == [(day(25), 2), (day(26), 1)]


def test_volumes_by_hour_put_both_hours_of_the_changed_clock_into_one(sql: Sql) -> None:
    asked = (
        "select weekday, hour, messages, incoming, outgoing, internal, unknown from"
        " analytics.volumes_by_hour('Europe/Berlin') where account_id = {} order by 1, 2"
    )
    assert rows(sql, asked.format(ANN)) == [
        (1, 9, 2, 0, 2, 0, 0),
        (1, 10, 1, 1, 0, 0, 0),
        (1, 13, 1, 0, 1, 0, 0),
        (3, 11, 2, 1, 1, 0, 0),
        (4, 7, 1, 1, 0, 0, 0),
        (4, 8, 1, 0, 0, 1, 0),
        (5, 13, 1, 1, 0, 0, 0),
        (5, 17, 1, 1, 0, 0, 0),
        (6, 0, 1, 0, 0, 0, 1),
        (6, 11, 1, 1, 0, 0, 0),
        (7, 0, 1, 0, 1, 0, 0),
        (7, 2, 2, 2, 0, 0, 0),
    ]
    assert rows(sql, asked.format(BOB)) == [(1, 12, 1, 1, 0, 0, 0), (7, 2, 2, 1, 1, 0, 0)]
    sunday = (
        "select sum(messages) from analytics.volumes_by_hour('UTC', '2026-10-25', '2026-10-25') where account_id = 1"
    )
    assert rows(sql, sunday) == [(2,)]


def test_labels_of_every_day(sql: Sql) -> None:
    asked = (
        "select label, day, put_on, taken_off, messages from analytics.labels_by_day('Europe/Berlin') where"
        " account_id = 1 and label_id = 'label_UNREAD' order by day"
    )
    assert rows(sql, asked) == [
        ("UNREAD", day(23), 2, 1, 1),
        ("UNREAD", day(25), 1, 0, 2),
        ("UNREAD", day(29), 1, 0, 3),
    ]
    ranges = (
        "select valid_from, valid_to from analytics.label_history where message_id = 'm01' and label ="
        " 'UNREAD' order by 1"
    )
    assert rows(sql, ranges) == [(at(23, 15, 31), at(23, 16, 1)), (at(23, 17), None)]


def test_the_history_is_that_of_schema_mail_for_live_messages(sql: Sql) -> None:
    for kind in ("label", "folder"):
        columns = f"account_id, message_id, {kind}_id, valid_from, valid_to"
        ours = rows(sql, f"select {columns} from analytics.{kind}_history order by 1, 2, 3, 4")
        live = f"from mail.message_{kind}_history join mail.messages m using (account_id, message_id)"
        columns = columns.replace(f"{kind}_id", f"message_{kind}_history.{kind}_id")
        assert ours == rows(sql, f"select {columns} {live} where m.deleted_at is null order by 1, 2, 3, 4")
        assert len(ours) > 5


def test_folders_of_every_day(sql: Sql) -> None:
    asked = (
        "select folder, day, moved_in, moved_out, messages from analytics.folders_by_day('Europe/Berlin')"
        " where account_id = 2 and folder in ('Inbox', 'Later') order by 1, 2"
    )
    assert rows(sql, asked) == [
        ("Inbox", day(25), 1, 0, 1),
        ("Inbox", day(26), 1, 1, 1),
        ("Inbox", day(27), 1, 0, 2),
        ("Later", day(26), 1, 0, 1),
        ("Later", day(27), 0, 1, 0),
    ]
    where = "select folder, valid_from, valid_to from analytics.folder_history where message_id = 'b1' order by 2"
    assert rows(sql, where) == [
        ("Inbox", at(25, 0, 16), at(26, 0, 16)),
        ("Later", at(26, 0, 16), at(27, 10)),
        ("Inbox", at(27, 10), None),
    ]


def test_time_to_read_is_that_of_the_first_reading(sql: Sql) -> None:
    asked = (
        "select account_id, message_id, unread_from, read_at, seconds, confidence from analytics.time_to_read"
        " order by message_id"
    )
    assert rows(sql, asked) == [
        (ANN, "m01", at(23, 15, 31), at(23, 16, 1), 1800, "high"),
        (ANN, "m07", at(25, 5, 30), None, None, "low"),
        (ANN, "m10", at(29, 6, 1), None, None, "high"),
    ]


def test_time_in_folder_adds_up_the_stays(sql: Sql) -> None:
    there = (
        "select folder, stays, first_at, last_left_at, is_there from analytics.time_in_folder where message_id"
        " = 'b1' order by 1"
    )
    assert rows(sql, there) == [
        ("Inbox", 2, at(25, 0, 16), at(26, 0, 16), True),
        ("Later", 1, at(26, 0, 16), at(27, 10), False),
    ]
    later = "select seconds from analytics.time_in_folder where message_id = 'b1' and folder = 'Later'"
    assert rows(sql, later) == [((33 * 60 + 44) * 60,)]
    inbox = (
        "select seconds = (24 * 3600 + extract(epoch from now() - '2026-10-27 10:00+00'::timestamptz))::bigint"
        " from analytics.time_in_folder where message_id = 'b1' and folder = 'Inbox'"
    )
    assert rows(sql, inbox) == [(True,)]
