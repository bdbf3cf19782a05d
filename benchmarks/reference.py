"""The limit: raw binary COPY of the same rows into the same tables, indexes, batches and commits, without any duty.

No probe, no digest to compute, no look at what is there already, no fence and no position: nothing that makes a
mirror. The rows are made before the clock starts, each shared row (person, label) stands in the first batch that
needs it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from worker.records import Message
from worker.store.rows import MESSAGE_COLUMNS, Projection, message_columns, people, row
from worker.store.upsert import ATTACHMENT_COLUMNS, LABEL_COLUMNS, PEOPLE_COLUMNS

TABLES: dict[str, dict[str, str]] = {
    "people": {"account_id": "int8", "address": "text", "name": "text", "name_at": "timestamptz", "name_on": "text"},
    "labels": {"account_id": "int8", "label_id": "text", "name": "text"},
    "folders": {"account_id": "int8", "folder_id": "text"},
    "messages": MESSAGE_COLUMNS,
    "message_people": PEOPLE_COLUMNS,
    "message_labels": LABEL_COLUMNS,
    "attachments": ATTACHMENT_COLUMNS,
}

Rows = dict[str, list[tuple[Any, ...]]]


def rows(account_id: int, batches: Iterable[Sequence[Message]], projection: Projection) -> list[Rows]:
    """Make the rows of each batch."""
    known: set[tuple[str, str]] = set()
    return [_rows(account_id, batch, projection, known) for batch in batches]


def _rows(account_id: int, batch: Sequence[Message], projection: Projection, known: set[tuple[str, str]]) -> Rows:
    made: Rows = {table: [] for table in TABLES}
    for message in batch:
        one = row(message, projection)
        made["messages"].append(message_columns(account_id, one, projection))
        made["message_labels"] += [(account_id, one.id, label) for label in one.label_ids]
        made["attachments"] += [
            (account_id, one.id, place, file.id, file.name, file.mime_type, file.size, file.href)
            for place, file in enumerate(message.attachments)
        ]
        for p in people(message):
            made["message_people"].append((account_id, one.id, p.role, p.position, p.address, p.email, p.name))
            if p.address is not None and ("people", p.address) not in known:
                known.add(("people", p.address))
                made["people"].append((account_id, p.address, p.name, message.created, one.id))
        for label in message.labels:
            if ("labels", label.id) not in known:
                known.add(("labels", label.id))
                made["labels"].append((account_id, label.id, label.name))
        if message.folder_id is not None and ("folders", message.folder_id) not in known:
            known.add(("folders", message.folder_id))
            made["folders"].append((account_id, message.folder_id))
    return made


def load(connection: psycopg.Connection[Any], batches: Iterable[Rows]) -> None:
    """Write them, one commit per batch."""
    for batch in batches:
        with connection.cursor() as cursor:
            for table, columns in TABLES.items():
                if batch[table]:
                    _copy(cursor, table, columns, batch[table])
        connection.commit()


def _copy(cursor: psycopg.Cursor[Any], table: str, columns: dict[str, str], rows: list[tuple[Any, ...]]) -> None:
    statement = f"copy mail.{table} ({', '.join(columns)}) from stdin (format binary)"
    with cursor.copy(statement.encode()) as copy:
        copy.set_types(list(columns.values()))
        for values in rows:
            copy.write_row(values)
