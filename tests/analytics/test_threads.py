"""Conversations, who answered whom after how long, and who is waiting."""

from datetime import UTC, datetime, time
from typing import Any

import pytest

from tests.analytics.mailbox import ANN, BOB, CARL, DORA, FIRM, HOME, OLD, WORK, Sql, at

HOUR = 3600


def rows(sql: Sql, statement: str) -> list[tuple[Any, ...]]:
    return sql.execute(statement.encode()).fetchall()


def test_threads_are_told_by_their_counted_messages(sql: Sql) -> None:
    asked = (
        "select account_id, thread_id, first_at, last_at, messages, incoming, outgoing, participants, last_message_id,"
        " last_sender, last_direction, awaiting from analytics.threads order by 1, 2"
    )
    old = "no-reply@tickets.example"
    assert rows(sql, asked) == [
        (ANN, "t1", at(23, 15, 30), at(26, 9, 10), 4, 2, 2, 3, "m04", CARL, "incoming", "us"),
        (ANN, "t10", at(31, 10), at(31, 10), 1, 1, 0, 2, "m19", OLD, "incoming", "us"),
        (ANN, "t2", at(24, 22, 30), at(26, 12), 4, 2, 2, 3, "m18", WORK, "outgoing", "them"),
        (ANN, "t3", at(28, 10), at(28, 10, 5), 2, 1, 1, 4, "m09", old, "incoming", "them"),
        (ANN, "t4", at(29, 6), at(29, 6), 1, 1, 0, 2, "m10", "news@shop.example", "incoming", None),
        (ANN, "t5", at(29, 7), at(29, 7), 1, 0, 0, 2, "m11", HOME, "internal", None),
        (ANN, "t9", at(30, 12), at(30, 12), 1, 1, 0, 2, "m17", "hello@shop2.example", "incoming", None),
        (BOB, "u1", at(25, 0, 15), at(25, 1, 15), 2, 1, 1, 2, "b2", FIRM, "outgoing", "them"),
        (BOB, "u3", at(26, 11), at(26, 11), 1, 1, 0, 2, "b5", "mailer-daemon@x.example", "incoming", None),
    ]
    assert rows(sql, "select last_subject from analytics.threads where thread_id = 't2'") == [("Fwd: Offer, revised",)]


def test_a_reply_follows_the_last_message_of_the_other_side(sql: Sql) -> None:
    asked = (
        "select message_id, direction, replied_to, response_seconds, is_first, confidence"
        " from analytics.replies order by account_id, replied_at"
    )
    assert rows(sql, asked) == [
        ("m06", "incoming", "m05", 2 * HOUR, True, "low"),  # a machine answered
        ("m07", "incoming", "m05", 3 * HOUR, True, "medium"),  # another subject; the machine was not first
        ("m02", "outgoing", "m01", 65 * HOUR, True, "high"),
        ("m03", "outgoing", "m01", 65 * HOUR + 600, False, "high"),
        ("m04", "incoming", "m03", 1800, True, "high"),
        ("m18", "outgoing", "m07", 34 * HOUR + 1800, True, "low"),  # forwarded to somebody else
        ("m09", "incoming", "m08", 300, True, "low"),
        ("b2", "outgoing", "b1", HOUR, True, "high"),
    ]
    times = (
        "select sender, replied_at, replied_to_sender, received_at, thread_id from analytics.replies where"
        " message_id = 'm07'"
    )
    assert rows(sql, times) == [(DORA, at(25, 1, 30), WORK, at(24, 22, 30), "t2")]


def test_who_waits_for_an_answer(sql: Sql) -> None:
    asked = (
        "select account_id, thread_id, message_id, awaiting, sender, addressed_as, since, waiting = now() -"
        " since from analytics.awaiting_reply order by 1, 2"
    )
    assert rows(sql, asked) == [
        (ANN, "t1", "m04", "us", CARL, "cc", at(26, 9, 10), True),  # neither a draft nor a deleted answer answers
        (ANN, "t10", "m19", "us", OLD, None, at(31, 10), True),
        (ANN, "t2", "m18", "them", WORK, None, at(26, 12), True),
        (ANN, "t3", "m08", "them", HOME, None, at(28, 10), True),  # a machine's word is no answer
        (BOB, "u1", "b2", "them", FIRM, None, at(25, 1, 15), True),
    ]


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("span", "hours", "seconds"),
    [
        # Friday 17:30 to Monday 09:30 in Berlin, over the change of the clocks
        ((at(23, 15, 30), at(26, 8, 30)), (BERLIN, time(9), time(17), [1, 2, 3, 4, 5]), 1800),
        ((at(23, 15, 30), at(26, 8, 30)), (BERLIN, time(8), time(18), [1, 2, 3, 4, 5]), 7200),
        # the same span by the clock of London: Friday 16:30 to Monday 08:30
        ((at(23, 15, 30), at(26, 8, 30)), ("Europe/London", time(9), time(17), [1, 2, 3, 4, 5]), 1800),
        # the Sunday of 25 hours, from midnight to midnight
        ((at(23, 0), at(27, 0)), (BERLIN, time(0), time.fromisoformat("23:59:59"), [7]), 25 * HOUR - 1),
        ((at(23, 0), at(26, 23)), (BERLIN, time(9), time(17), []), 0),
        # two whole weeks
        ((at(5, 0), at(19, 0)), ("UTC", time(9), time(17), [1, 2, 3, 4, 5]), 80 * HOUR),
        ((at(6, 10), at(6, 11, 30)), ("UTC", time(9), time(17), [1, 2, 3, 4, 5]), 5400),
        ((at(6, 11), at(6, 10)), ("UTC", time(9), time(17), [1, 2, 3, 4, 5]), 0),
        # Sunday evening in New York is Monday morning in UTC
        ((at(5, 1), at(5, 2)), ("America/New_York", time(9), time(23), [7]), HOUR),
        ((at(5, 1), None), ("UTC", time(9), time(17), [1]), None),
    ],
)
def test_business_hours(sql: Sql, span: tuple[Any, ...], hours: tuple[Any, ...], seconds: int | None) -> None:
    asked = "select analytics.business_seconds(%s, %s, %s, %s, %s, %s::int[])"
    assert sql.execute(asked, (*span, *hours)).fetchone() == (seconds,)


def test_the_day_may_end_at_24_and_hours_have_a_default(sql: Sql) -> None:
    whole = "select analytics.business_seconds(%s, %s, 'Europe/Berlin', '00:00', '24:00', '{7}')"
    assert sql.execute(whole, (at(20, 0), at(30, 0))).fetchone() == (25 * HOUR,)
    usual = "select analytics.business_seconds(%s, %s)"
    assert sql.execute(usual, (datetime(2026, 10, 23, 16, tzinfo=UTC), at(26, 10))).fetchone() == (2 * HOUR,)


def test_response_times_in_business_hours_are_one_query(sql: Sql) -> None:
    asked = (
        "select message_id, analytics.business_seconds(received_at, replied_at, 'Europe/Berlin')"
        " from analytics.replies where direction = 'outgoing' and is_first and confidence = 'high' order by 1"
    )
    assert rows(sql, asked) == [("b2", 0), ("m02", 1800)]
