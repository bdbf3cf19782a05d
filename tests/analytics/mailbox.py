"""Two mailboxes of some twenty messages, small enough to work out every figure by hand.

Ann has labels, a second address, drafts, spam, a deleted answer, machines that write to her, and one alias nobody told
the mirror. Bob has folders. Times are UTC; Berlin's clocks go back on Sunday, 25 October 2026, at 01:00 UTC.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

Sql = psycopg.Connection[Any]

ANN, BOB, NEW = 1, 2, 3
HOME, WORK, FIRM = "ann@home.example", "ann@work.example", "bob@firm.example"
CARL, DORA, ERIK, FRANK = "carl@x.example", "dora@y.example", "erik@z.example", "frank@w.example"
OLD = "ann.old@mail.example"
POLLED, WALKED = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 1, 9, tzinfo=UTC)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A time of October 2026."""
    return datetime(2026, 10, day, hour, minute, tzinfo=UTC)


def fill(sql: Sql) -> None:
    """Put it all into an empty database."""
    _accounts(sql)
    _labels_and_folders(sql)
    _ann(sql)
    _bob(sql)
    _put(sql, (NEW, "c1"), at(23, 8), CARL, [HOME])
    _past(sql)
    _attachments(sql)


def _accounts(sql: Sql) -> None:
    sql.execute(
        """
        insert into sync.accounts (kind, upstream_id, address, polled_at, settings) values
            ('kloudless', '1', 'Ann@Home.example', %(polled)s,
                '{"own_addresses": [" Ann@Work.example", "", "ann@home.example"]}'),
            ('kloudless', '2', 'bob@firm.example', null, '{"own_addresses": "no list"}'),
            ('kloudless', '3', null, null, '{}');
        """.replace("%(polled)s", f"'{POLLED}'")
    )
    sql.execute(
        "insert into sync.cursors (account_id, stream, supported) values (1, 'activity', true), (2, 'activity', false)"
    )
    windows: list[tuple[int, str, str | None, str, datetime | None]] = [
        (ANN, "0001-01-01+00", "2020-01-01+00", "done", WALKED),
        (ANN, "2020-01-01+00", "2026-01-01+00", "open", None),
        (ANN, "2026-01-01+00", None, "done", WALKED),
        (BOB, "0001-01-01+00", "2026-01-01+00", "done", at(20, 0)),
        (BOB, "2026-01-01+00", None, "done", WALKED),
        (NEW, "0001-01-01+00", None, "open", None),
    ]
    for window in windows:
        sql.execute(
            "insert into sync.windows (account_id, after, before, state, walked_at) values (%s, %s, %s, %s, %s)", window
        )
    problems: list[tuple[int, str, str, datetime | None]] = [
        (ANN, "message", "open", None),
        (ANN, "held_delete", "open", None),
        (ANN, "page", "closed", at(30, 0)),
    ]
    for number, (account, kind, state, closed) in enumerate(problems):
        sql.execute(
            "insert into sync.problems (account_id, kind, subject, cause, state, closed_at, first_seen_at)"
            " values (%s, %s, %s, 'x', %s, %s, %s)",
            (account, kind, str(number), state, closed, at(20 + number, 6)),
        )


def _labels_and_folders(sql: Sql) -> None:
    for name in ("INBOX", "UNREAD", "SENT", "DRAFT", "SPAM", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES"):
        sql.execute("insert into mail.labels (account_id, label_id, name) values (1, %s, %s)", (f"label_{name}", name))
    folders = {"f1": "Inbox", "f2": "Drafts", "f3": "Deleted Items", "f4": "Sent Items", "f5": "Later"}
    for item in folders.items():
        sql.execute("insert into mail.folders (account_id, folder_id, name) values (2, %s, %s)", item)


def _put(
    sql: Sql,
    key: tuple[int, str],
    created: datetime | None,
    sender: str | None,
    to: Sequence[str],
    about: tuple[str, str | None] = ("Hello", None),
    *,
    cc: Sequence[str] = (),
    labels: Sequence[str] = (),
    folder: str | None = None,
    seen: datetime | None = None,
    deleted: datetime | None = None,
) -> None:
    sql.execute(
        "insert into mail.messages (account_id, message_id, created, subject, thread_id, folder_id, first_seen_at,"
        " deleted_at) values (%s, %s, %s, %s, %s, %s, coalesce(%s, '2026-11-01 00:00+00'::timestamptz), %s)",
        (*key, created, *about, folder, seen, deleted),
    )
    roles = [("from", [sender] if sender else []), ("to", to), ("cc", cc)]
    people = [(role, place, address) for role, found in roles for place, address in enumerate(found)]
    for role, place, address in people:
        sql.execute(
            "insert into mail.message_people (account_id, message_id, role, position, address, email, name)"
            " values (%s, %s, %s, %s, %s, %s, 'Some name')",
            (*key, role, place, address, address),
        )
        sql.execute(
            "insert into mail.people (account_id, address, name) values (%s, %s, %s) on conflict do nothing",
            (key[0], address, address.partition("@")[0].title()),
        )
    for label in labels:
        sql.execute(
            "insert into mail.message_labels (account_id, message_id, label_id) values (%s, %s, %s)",
            (*key, f"label_{label}"),
        )


def _ann(sql: Sql) -> None:
    lunch, offer, plan = "t1", "t2", "t3"
    _put(
        sql,
        (ANN, "m01"),
        at(23, 15, 30),
        CARL,
        [HOME],
        ("Lunch", lunch),
        labels=["INBOX", "UNREAD"],
        seen=at(23, 15, 31),
    )
    _put(sql, (ANN, "m02"), at(26, 8, 30), HOME, [CARL], ("Re: Lunch", lunch), cc=[DORA], labels=["SENT"])
    _put(sql, (ANN, "m03"), at(26, 8, 40), HOME, [CARL], ("Re: Lunch", lunch), labels=["SENT"])
    _put(sql, (ANN, "m04"), at(26, 9, 10), CARL, [DORA], ("RE: Re: lunch", lunch), cc=[HOME], labels=["INBOX"])

    _put(sql, (ANN, "m05"), at(24, 22, 30), WORK, [DORA], ("Offer", offer), labels=["SENT"])
    _put(sql, (ANN, "m06"), at(25, 0, 30), DORA, [WORK], ("Automatic reply: Offer", offer))
    _put(
        sql, (ANN, "m07"), at(25, 1, 30), DORA, [WORK], ("Offer, revised", offer), labels=["UNREAD"], seen=at(25, 5, 30)
    )
    _put(sql, (ANN, "m18"), at(26, 12), WORK, [FRANK], ("Fwd: Offer, revised", offer), labels=["SENT"])

    _put(sql, (ANN, "m08"), at(28, 10), HOME, [CARL, ERIK], ("Plan", plan), cc=[ERIK], labels=["SENT"])
    _put(
        sql,
        (ANN, "m09"),
        at(28, 10, 5),
        "no-reply@tickets.example",
        [HOME],
        ("Ticket 1", plan),
        labels=["CATEGORY_UPDATES"],
    )

    _put(
        sql, (ANN, "m10"), at(29, 6), "news@shop.example", [HOME], ("Sale", "t4"), labels=["UNREAD"], seen=at(29, 6, 1)
    )
    _put(sql, (ANN, "m11"), at(29, 7), HOME, [WORK], ("Note", "t5"))
    _put(sql, (ANN, "m12"), at(29, 8), HOME, [CARL], ("Re: Lunch", lunch), labels=["DRAFT"])
    _put(sql, (ANN, "m13"), at(29, 9), HOME, [CARL], ("Re: Lunch", lunch), labels=["SENT"], deleted=at(30, 0))
    _put(sql, (ANN, "m14"), at(29, 10), "win@spam.example", [HOME], ("You won", "t8"), labels=["SPAM"])
    _put(sql, (ANN, "m15"), None, CARL, [HOME], ("Lunch", lunch))
    _put(sql, (ANN, "m16"), at(30, 23, 30), None, [HOME], ("From nobody", None), labels=["CATEGORY_UPDATES"])
    _put(sql, (ANN, "m17"), at(30, 12), "hello@shop2.example", [HOME], ("New", "t9"), labels=["CATEGORY_PROMOTIONS"])
    _put(sql, (ANN, "m19"), at(31, 10), OLD, [CARL], ("Old", "t10"), labels=["SENT"])


def _bob(sql: Sql) -> None:
    _put(sql, (BOB, "b1"), at(25, 0, 15), CARL, [FIRM], ("Hi", "u1"), folder="f1", seen=at(25, 0, 16))
    _put(sql, (BOB, "b2"), at(25, 1, 15), FIRM, [CARL], ("AW: Hi", "u1"), folder="f4")
    _put(sql, (BOB, "b3"), at(25, 23, 30), FIRM, [CARL], ("Hi again", "u1"), folder="f2")
    _put(sql, (BOB, "b4"), at(26, 10), HOME, [FIRM], ("Question", "u2"), folder="f3")
    _put(
        sql,
        (BOB, "b5"),
        at(26, 11),
        "mailer-daemon@x.example",
        [FIRM],
        ("Sorry", "u3"),
        folder="f1",
        seen=at(26, 11, 1),
    )


def _past(sql: Sql) -> None:
    """Was unread twice, lay in two folders; of what is deleted nothing must be seen."""
    unread = "insert into mail.message_labels_past values (1, %s, 'label_UNREAD', %s, %s)"
    sql.execute(unread, ("m01", at(23, 15, 31), at(23, 16, 1)))
    sql.execute(unread, ("m13", at(29, 9), at(29, 10)))
    again = "update mail.message_labels set since = %s where message_id = 'm01' and label_id = 'label_UNREAD'"
    sql.execute(again, [at(23, 17)])
    lay = "insert into mail.message_folders_past values (2, 'b1', %s, %s, %s)"
    sql.execute(lay, ("f1", at(25, 0, 16), at(26, 0, 16)))
    sql.execute(lay, ("f5", at(26, 0, 16), at(27, 10)))
    sql.execute("update mail.messages set folder_since = %s where message_id = 'b1'", [at(27, 10)])


def _attachments(sql: Sql) -> None:
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    found: list[tuple[int, str, int, str | None, str | None, int | None]] = [
        (ANN, "m01", 0, "menu.pdf", "application/pdf", 1000),
        (ANN, "m01", 1, "PHOTO.JPG", "IMAGE/JPEG; name=x", None),
        (ANN, "m04", 0, "menu 2.pdf", "application/pdf", 24),
        (ANN, "m07", 0, None, None, 5),
        (ANN, "m13", 0, "gone.pdf", "application/pdf", 9999),
        (BOB, "b1", 0, "sums.xlsx", sheet, 500),
    ]
    for row in found:
        sql.execute(
            "insert into mail.attachments (account_id, message_id, position, name, mime_type, size)"
            " values (%s, %s, %s, %s, %s, %s)",
            row,
        )
    sql.execute(
        "update mail.messages m set has_attachments = true where exists"
        " (select from mail.attachments a where a.account_id = m.account_id and a.message_id = m.message_id)"
    )
