"""Accounts in every state with ledgers, runs, problems and mail, as the worker would have left them."""

from typing import Any

import psycopg

MAIL = "canary-mail-7c1e"
"""In everything that is mail: it must stand on no page."""
MARKUP = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"
"""In everything that others may have chosen and a page shows."""

STATES = ("active", "degraded", "backing_off", "auth_required", "gone", "paused")


def account(connection: psycopg.Connection[Any], number: int, status: str = "active", **columns: object) -> int:
    """Add an account; returns its number."""
    row = connection.execute(
        "INSERT INTO sync.accounts (kind, upstream_id, service, address, status, status_reason, polled_at, next_due_at)"
        " VALUES ('kloudless', %s, 'gmail', %s, %s, %s, now() - interval '3 minutes', now() + interval '1 minute')"
        " RETURNING id",
        [
            str(number),
            columns.get("address", f"person{number}@example.org"),
            status,
            columns.get("reason", None if status == "active" else f"Because it is {status}."),
        ],
    ).fetchone()
    assert row is not None
    return int(row[0])


def ledger(connection: psycopg.Connection[Any], account_id: int, *, begun: int = 2019, complete: bool = False) -> None:
    """Lay out windows, a year each: the newest walked, one of them with a problem, the past open or walked."""
    past = "done" if complete else "open"
    windows: list[tuple[str, str | None, str]] = [("0001-01-01", f"{begun}-01-01", past)]
    windows += [(f"{year}-01-01", f"{year + 1}-01-01", "done") for year in range(begun, 2026)]
    windows[3] = (*windows[3][:2], "problem")
    windows.append(("2026-01-01", None, "done"))
    for after, before, state in windows:
        connection.execute(
            "INSERT INTO sync.windows (account_id, after, before, state, pages, seen, walked_at, next_walk_at)"
            " VALUES (%s, %s::timestamp AT TIME ZONE 'UTC', %s::timestamp AT TIME ZONE 'UTC', %s, 3, 250,"
            " CASE WHEN %s <> 'open' THEN now() - interval '2 hours' END,"
            " CASE WHEN %s <> 'open' THEN now() + interval '1 hour' END)",
            [account_id, after, before, state, state, state],
        )


def mail(connection: psycopg.Connection[Any], account_id: int, messages: int = 3) -> None:
    """Mirror messages in which every part that is mail bears the canary."""
    values = {"account": account_id, "canary": MAIL, "messages": messages}
    connection.execute(
        "INSERT INTO mail.messages (account_id, message_id, thread_id, folder_id, subject, snippet, text_body, body,"
        " created) SELECT %(account)s, 'm' || n, 't', 'f', %(canary)s, %(canary)s, %(canary)s, %(canary)s,"
        " timestamptz '2019-05-01' + n * interval '1 hour' FROM generate_series(1, %(messages)s) AS n",
        values,
    )
    connection.execute(
        "INSERT INTO mail.people (account_id, address, name) VALUES (%(account)s, %(canary)s || '@x.org', %(canary)s)",
        values,
    )
    connection.execute(
        "INSERT INTO mail.message_people (account_id, message_id, role, position, address, email, name)"
        " VALUES (%(account)s, 'm1', 'from', 0, %(canary)s || '@x.org', %(canary)s || '@x.org', %(canary)s)",
        values,
    )
    connection.execute(
        "INSERT INTO mail.labels (account_id, label_id, name) VALUES (%(account)s, 'l', %(canary)s)", values
    )
    connection.execute(
        "INSERT INTO mail.folders (account_id, folder_id, name) VALUES (%(account)s, 'f', %(canary)s)", values
    )
    connection.execute(
        "INSERT INTO mail.attachments (account_id, message_id, position, name)"
        " VALUES (%(account)s, 'm1', 0, %(canary)s)",
        values,
    )


def more_mail(connection: psycopg.Connection[Any], account_id: int, messages: int) -> None:
    """Mirror that many messages of which nothing is known but that they are there."""
    connection.execute(
        "INSERT INTO mail.messages (account_id, message_id, created)"
        " SELECT %s, 'more' || n, timestamptz '2019-06-01' + n * interval '1 minute' FROM generate_series(1, %s) AS n",
        [account_id, messages],
    )


def problem(connection: psycopg.Connection[Any], account_id: int, kind: str = "message", **columns: object) -> int:
    """Note a problem that is tried again tomorrow; its bytes are mail."""
    row = connection.execute(
        "INSERT INTO sync.problems (account_id, kind, subject, cause, bytes, attempts, not_before)"
        " VALUES (%s, %s, %s, %s, %s, 4, now() + interval '1 day') RETURNING id",
        [
            account_id,
            kind,
            columns.get("subject", "m1"),
            columns.get("cause", "The message could not be read."),
            MAIL.encode(),
        ],
    ).fetchone()
    assert row is not None
    return int(row[0])


def run(connection: psycopg.Connection[Any], account_id: int, outcome: str = "done", error: str | None = None) -> None:
    connection.execute(
        "INSERT INTO sync.runs (account_id, epoch, began_at, ended_at, outcome, error_kind, error, requests, added,"
        " updated, windows_walked) VALUES (%s, 1, now() - interval '5 minutes', now() - interval '4 minutes', %s, %s,"
        " %s, 20, 120, 7, 2)",
        [account_id, outcome, None if error is None else "UpstreamFailedError", error],
    )


def audit(connection: psycopg.Connection[Any], account_id: int, *, equal: bool = True) -> None:
    """Keep what a verification found; its report names what differs."""
    connection.execute(
        "INSERT INTO sync.audits (account_id, began_at, ended_at, checked, stale, equal, report) VALUES"
        " (%s, now() - interval '1 day', now() - interval '1 day', 250, %s, %s, jsonb_build_object('x', %s::text))",
        [account_id, 0 if equal else 1, equal, MAIL],
    )


def everything(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """One account in each state, with something of all that a page can show; their numbers by state."""
    found = {state: account(connection, number, state) for number, state in enumerate(STATES)}
    for number, account_id in enumerate(found.values()):
        ledger(connection, account_id, begun=2014 + number, complete=number % 2 == 0)
        mail(connection, account_id)
        run(connection, account_id)
        audit(connection, account_id, equal=number != 1)
    run(connection, found["backing_off"], "failed", "The upstream answered 503.")
    for kind in ("pending", "message", "event", "page", "held_delete", "account"):
        problem(connection, found["degraded"], kind)
    connection.execute(
        "UPDATE sync.accounts SET next_due_at = now() - interval '10 minutes' WHERE id = %s", [found["active"]]
    )
    return found


def many(connection: psycopg.Connection[Any], accounts: int) -> None:
    """Add a large fleet at once: a tenth waits for a new token, each account has twenty windows and five runs."""
    connection.execute(
        "INSERT INTO sync.accounts (kind, upstream_id, service, address, status, polled_at, next_due_at)"
        " SELECT 'kloudless', 'f' || n, 'gmail', 'person' || n || '@example.org',"
        " CASE WHEN n %% 10 = 0 THEN 'auth_required' ELSE 'active' END, now() - n %% 300 * interval '1 second',"
        " now() + (n %% 300 - 20) * interval '1 second' FROM generate_series(1, %s) AS n",
        [accounts],
    )
    connection.execute(
        "INSERT INTO sync.windows (account_id, after, before, state, seen)"
        " SELECT id, CASE WHEN n = 0 THEN timestamptz '0001-01-01+00' ELSE at END,"
        " CASE WHEN n < 19 THEN at + interval '90 days' END,"
        " CASE WHEN n < 3 AND id % 7 = 0 THEN 'open' ELSE 'done' END, 90"
        " FROM sync.accounts, generate_series(0, 19) AS n,"
        " LATERAL (SELECT timestamptz '2021-12-01+00' + n * interval '90 days' AS at) AS placed"
    )
    connection.execute(
        "INSERT INTO sync.runs (account_id, epoch, began_at, ended_at, outcome, added)"
        " SELECT id, 1, now() - n * interval '25 minutes', now() - n * interval '25 minutes', 'done', 3"
        " FROM sync.accounts, generate_series(1, 5) AS n"
    )
    connection.execute(
        "INSERT INTO sync.problems (account_id, kind, subject, cause) SELECT id, 'pending', 'm', 'Not there yet.'"
        " FROM sync.accounts WHERE id % 20 = 0"
    )
    connection.execute("ANALYZE")
