"""Who wrote to whom, in which direction, and what kind of mail it is."""

from decimal import Decimal
from typing import Any

import pytest

from tests.analytics.mailbox import ANN, BOB, CARL, HOME, NEW, OLD, POLLED, WALKED, WORK, Sql, at


def rows(sql: Sql, statement: str) -> list[tuple[Any, ...]]:
    return sql.execute(statement.encode()).fetchall()


def test_the_contract_has_version_1(sql: Sql) -> None:
    assert rows(sql, "select * from analytics.contract") == [(1,)]


def test_own_addresses_are_the_accounts_and_those_a_person_listed(sql: Sql) -> None:
    assert rows(sql, "select * from analytics.own_addresses order by 1") == [
        (ANN, [HOME, WORK]),
        (BOB, ["bob@firm.example"]),
        (NEW, []),
    ]


def test_every_live_message_has_its_direction(sql: Sql) -> None:
    found: dict[str, str] = dict(rows(sql, "select message_id, direction from analytics.messages"))
    told: dict[str, set[str]] = {}
    for message, direction in found.items():
        told.setdefault(direction, set()).add(message)
    assert told == {
        "incoming": {
            *("m01", "m04", "m06", "m07", "m09", "m10", "m14", "m15", "m17", "m19"),
            *("b1", "b4", "b5"),
        },
        "outgoing": {"m02", "m03", "m05", "m08", "m12", "m18", "b2", "b3"},
        "internal": {"m11"},
        "unknown": {"m16", "c1"},
    }


def test_recipients_are_counted_as_written_and_own_places_told(sql: Sql) -> None:
    asked = (
        "select message_id, recipients, addressed_as from analytics.messages where message_id in ('m01',"
        " 'm02', 'm04', 'm08', 'm11', 'm19') order by 1"
    )
    assert rows(sql, asked) == [
        ("m01", 1, "to"),
        ("m02", 2, None),
        ("m04", 2, "cc"),
        ("m08", 3, None),
        ("m11", 1, "to"),
        ("m19", 1, None),
    ]


def test_machines_bulk_and_lists_are_told_apart_with_the_sign_and_how_sure_it_is(sql: Sql) -> None:
    asked = (
        "select message_id, kind, kind_sign, kind_confidence from analytics.messages where kind <> 'person' order by 1"
    )
    assert rows(sql, asked) == [
        ("b5", "automatic", "bounce", "high"),
        ("m06", "automatic", "auto-reply", "medium"),
        ("m09", "automatic", "no-reply", "high"),  # the sender's word counts before the category's
        ("m10", "bulk", "newsletter", "medium"),
        ("m16", "automatic", "updates", "low"),
        ("m17", "bulk", "promotions", "medium"),
    ]
    assert rows(sql, "select distinct kind_sign, kind_confidence from analytics.messages where kind = 'person'") == [
        (None, "low")
    ]


@pytest.mark.parametrize(
    ("address", "subject", "sign"),
    [
        ("noreply@a.example", None, "no-reply"),
        ("do-not-reply@a.example", None, "no-reply"),
        ("donotreply+7@a.example", None, "no-reply"),
        ("orders-no.reply@a.example", None, "no-reply"),
        ("bounce-12-34@a.example", None, "bounce"),
        ("postmaster@a.example", None, "bounce"),
        ("newsletter-de@a.example", None, "newsletter"),
        ("notifications@a.example", None, "notice"),
        ("alerts@a.example", None, "notice"),
        ("ann@noreply.example", None, None),
        ("norbert.reply@a.example", None, None),
        ("rooter@a.example", None, None),
        ("newsom@a.example", None, None),
        ("ann@a.example", "Automatische Antwort: Hallo", "auto-reply"),
        ("ann@a.example", "Re: Out of office", None),
        ("ann@a.example", "Out of the office until Monday", "auto-reply"),
        ("ann@a.example", "Undeliverable: Hello", "bounce"),
        ("ann@a.example", "Undelivered Mail Returned to Sender", "bounce"),
        ("ann@a.example", "Hello", None),
        (None, None, None),
    ],
)
def test_signs(sql: Sql, address: str | None, subject: str | None, sign: str | None) -> None:
    assert sql.execute("select analytics.mail_sign(%s, %s)", (address, subject)).fetchone() == (sign,)


@pytest.mark.parametrize(
    ("sign", "kind"),
    [(None, "person"), ("forums", "list"), ("promotions", "bulk"), ("social", "automatic"), ("notice", "automatic")],
)
def test_kinds(sql: Sql, sign: str | None, kind: str) -> None:
    assert sql.execute("select analytics.mail_kind(%s)", [sign]).fetchone() == (kind,)


@pytest.mark.parametrize(
    ("name", "aside"),
    [("Drafts", "draft"), ("Junk E-mail", "spam"), ("BIN", "trash"), ("Draft plans", None), (None, None)],
)
def test_folders_that_are_set_aside(sql: Sql, name: str | None, aside: str | None) -> None:
    assert sql.execute("select analytics.folder_set_aside(%s)", [name]).fetchone() == (aside,)


@pytest.mark.parametrize(
    ("subject", "topic"),
    [
        ("Re: Lunch", "lunch"),
        ("  RE: AW: Fwd: Lunch ", "lunch"),
        ("Re[2]: Lunch", "lunch"),
        ("Re:Lunch: when?", "lunch: when?"),
        ("Result: none", "result: none"),
        ("", ""),
        (None, None),
    ],
)
def test_topics(sql: Sql, subject: str | None, topic: str | None) -> None:
    assert sql.execute("select analytics.topic(%s)", [subject]).fetchone() == (topic,)


def test_drafts_spam_and_trash_are_set_aside_and_not_counted(sql: Sql) -> None:
    asked = "select message_id, set_aside, folder from analytics.messages where set_aside is not null order by 1"
    assert rows(sql, asked) == [
        ("b3", "draft", "Drafts"),
        ("b4", "trash", "Deleted Items"),
        ("m12", "draft", None),
        ("m14", "spam", None),
    ]
    left_out = "select message_id from analytics.messages except select message_id from analytics.counted_messages"
    assert sorted(rows(sql, left_out)) == [("b3",), ("b4",), ("m12",), ("m14",), ("m15",)]


def test_the_deleted_answer_is_nowhere(sql: Sql) -> None:
    for view in ("messages", "counted_messages", "attachments", "label_history", "folder_history", "time_to_read"):
        assert rows(sql, f"select count(*) from analytics.{view} where message_id = 'm13'") == [(0,)], view
    assert rows(sql, "select count(*) from analytics.messages") == [(18 + 5 + 1,)]


def test_an_alias_nobody_listed_shows_up_as_a_possible_own_address(sql: Sql) -> None:
    assert rows(sql, "select * from analytics.possible_own_addresses") == [(ANN, OLD, 1, at(31, 10), at(31, 10))]


def test_correspondents_with_first_and_last_contact_and_strength(sql: Sql) -> None:
    asked = (
        "select address, received, sent, first_at, last_at, strength, kind from analytics.correspondents where"
        " account_id = {} order by 1"
    )
    news, tickets, shop = "news@shop.example", "no-reply@tickets.example", "hello@shop2.example"
    assert rows(sql, asked.format(ANN)) == [
        (OLD, 1, 0, at(31, 10), at(31, 10), 0, "person"),
        (CARL, 2, 3, at(23, 15, 30), at(28, 10), Decimal("2.4"), "person"),  # the square root of 6
        ("dora@y.example", 2, 2, at(24, 22, 30), at(26, 8, 30), 2, "person"),
        ("erik@z.example", 0, 1, at(28, 10), at(28, 10), 0, "person"),  # in to and in cc: one message
        ("frank@w.example", 0, 1, at(26, 12), at(26, 12), 0, "person"),
        (shop, 1, 0, at(30, 12), at(30, 12), 0, "person"),  # its category is a sign of the message, not of the address
        (news, 1, 0, at(29, 6), at(29, 6), 0, "bulk"),
        (tickets, 1, 0, at(28, 10, 5), at(28, 10, 5), 0, "automatic"),
    ]
    assert rows(sql, asked.format(BOB)) == [
        (CARL, 1, 1, at(25, 0, 15), at(25, 1, 15), 1, "person"),
        ("mailer-daemon@x.example", 1, 0, at(26, 11), at(26, 11), 0, "automatic"),
    ]
    last = (
        "select name, last_received_at, last_sent_at from analytics.correspondents where account_id = 1 and"
        f" address = '{CARL}'"
    )
    assert rows(sql, last) == [("Carl", at(26, 9, 10), at(28, 10))]


def test_attachments_by_type(sql: Sql) -> None:
    asked = (
        "select message_id, position, type, family, extension, size, direction from analytics.attachments order by 1, 2"
    )
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert rows(sql, asked) == [
        ("b1", 0, sheet, "spreadsheet", "xlsx", 500, "incoming"),
        ("m01", 0, "application/pdf", "document", "pdf", 1000, "incoming"),
        ("m01", 1, "image/jpeg", "image", "jpg", None, "incoming"),
        ("m04", 0, "application/pdf", "document", "pdf", 24, "incoming"),
        ("m07", 0, None, "unknown", None, 5, "incoming"),
    ]
    assert rows(sql, "select * from analytics.attachment_types where account_id = 1 order by family") == [
        (ANN, "document", "application/pdf", 2, 2, 1024, 0),
        (ANN, "image", "image/jpeg", 1, 1, 0, 1),
        (ANN, "unknown", None, 1, 1, 5, 0),
    ]


def test_freshness_says_as_of_when_back_to_when_and_what_is_missing(sql: Sql) -> None:
    asked = (
        "select account_id, as_of, kept_by, to_char(complete_back_to at time zone 'UTC', 'YYYY-MM-DD'), complete,"
        " windows_open, windows_problem, problems_open, held_deletes, oldest_problem_at"
        " from analytics.freshness order by 1"
    )
    assert rows(sql, asked) == [
        (ANN, POLLED, "activity", "2026-01-01", False, 1, 0, 2, 1, at(20, 6)),
        (BOB, WALKED, "walks", "0001-01-01", True, 0, 0, 0, 0, None),
        (NEW, None, "activity", None, False, 1, 0, 0, 0, None),
    ]
