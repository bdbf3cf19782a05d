"""A consumer that knows nothing but the feed: it rebuilds the mirror as values, and compares it with the tables."""

import json
from typing import Any

import psycopg
from sqlalchemy.engine import Engine

from worker.store import feed

Sql = psycopg.Connection[Any]
Key = tuple[str, int, str]

KINDS = {
    "account": "select id, id::text, to_jsonb(t) - '{changed_in,polled_at}'::text[] from mail.accounts t",
    "folder": "select account_id, folder_id, to_jsonb(t) - 'changed_in' from mail.folders t",
    "label": "select account_id, label_id, to_jsonb(t) - 'changed_in' from mail.labels t",
    "person": "select account_id, address, to_jsonb(t) - 'changed_in' from mail.people t",
    "message": "select account_id, message_id, to_jsonb(t) - '{changed_in,digest}'::text[] from mail.messages t",
}
CHILDREN = {
    "people": "select * from mail.message_people"
    " order by array_position(array['from', 'to', 'cc', 'bcc'], role), position",
    "labels": 'select * from mail.message_labels order by label_id collate "C"',
    "attachments": "select * from mail.attachments order by position",
}


class Copy:
    """What one consumer holds; `apply` may be given the same change twice."""

    def __init__(self) -> None:
        self.rows: dict[Key, Any] = {}

    def apply(self, change: feed.Change) -> None:
        state = json.loads(change.state)
        if change.kind != "erasure":
            self.rows[change.kind, change.account_id, change.key] = state
        elif state["kind"] == "account":
            self.rows = {key: row for key, row in self.rows.items() if key[1] != change.account_id}
        else:
            self.rows.pop((state["kind"], change.account_id, change.key), None)

    def read(self, engine: Engine, consumer: str, at_most: int = 1000) -> int:
        """Read to the end and acknowledge; gives how many rows that were."""
        count = 0
        while page := feed.changes(engine, consumer, at_most):
            for change in page:
                self.apply(change)
            feed.acknowledge(engine, consumer, page[-1].position)
            count += len(page)
        return count


def mirrored(connection: Sql) -> dict[Key, Any]:
    """The mirror as the tables hold it, without what the feed leaves out."""
    connection.execute("set timezone = 'UTC'")
    found: dict[Key, Any] = {}
    for kind, query in KINDS.items():
        for account_id, key, row in connection.execute(query.encode()):
            found[kind, account_id, key] = row | ({name: [] for name in CHILDREN} if kind == "message" else {})
    for name, query in CHILDREN.items():
        for (row,) in connection.execute(f"select to_jsonb(t) from ({query}) t".encode()):
            message = found["message", row.pop("account_id"), row.pop("message_id")]
            message[name].append(row)
    return found
