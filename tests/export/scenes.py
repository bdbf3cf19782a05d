"""Mailboxes to export, written without a worker where only their size matters."""

from typing import Any

import psycopg
from sqlalchemy.engine import Engine

from worker.store import accounts

Sql = psycopg.Connection[Any]


def account(engine: Engine, upstream_id: str = "1001") -> int:
    """Add an account."""
    return accounts.add(engine, kind="kloudless", upstream_id=upstream_id).id


def fill(connection: Sql, account_id: int, messages: int, letters: int = 100) -> None:
    """Give an account messages, three an hour from 2026 on, each with one label and three recipients."""
    connection.execute(
        "insert into mail.messages (account_id, message_id, created, subject, text_body, digest)"
        " select %(account)s, 'm' || n, timestamptz '2026-01-01 00:00Z' + n * interval '20 minutes', 'Subject ' || n,"
        " left(repeat(md5(n::text), 1 + %(letters)s / 32), %(letters)s), ''"
        " from generate_series(1, %(messages)s) n",
        {"account": account_id, "messages": messages, "letters": letters},
    )
    connection.execute(
        "insert into mail.message_labels (account_id, message_id, label_id)"
        " select account_id, message_id, 'inbox' from mail.messages where account_id = %s",
        (account_id,),
    )
    connection.execute(
        "insert into mail.message_people (account_id, message_id, role, position, address, email)"
        " select account_id, message_id, 'to', n, 'p' || n || '@example.com', 'P' || n || '@example.com'"
        " from mail.messages, generate_series(0, 2) n where account_id = %s",
        (account_id,),
    )
