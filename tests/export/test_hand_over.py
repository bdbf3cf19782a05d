"""An export shows one moment whatever is committed meanwhile, and the change feed goes on behind it without a gap."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import Engine

from tests.conftest import as_superuser
from tests.export.reading import Export
from tests.integration.store.mail import INBOX, UNREAD, fetched, gone, leased, listed, message
from worker.export import export
from worker.records import Label, Person
from worker.store.export import hand_over

Sql = psycopg.Connection[Any]
Copy = dict[tuple[str, int, str], Any]
"""By kind, account and key."""

TIMES = {"created", "first_seen_at", "changed_at", "folder_since", "since", "name_at", "gone_at", "created_at"}
KEYS = {"people": ("person", "address"), "labels": ("label", "label_id"), "folders": ("folder", "folder_id")}
CHILDREN = {"people": "message_people", "labels": "message_labels", "attachments": "attachments"}
UNTOLD = {"changed_in", "polled_at", "deleted_at", "found_gone"}
"""What the feed or an export has beside the state itself, or what is null for live mail."""


def comparable(state: Any) -> Any:
    """The state with times read and without what the other side does not have; lists in one order."""
    if isinstance(state, list):
        return sorted(map(comparable, state), key=repr)
    if not isinstance(state, dict):
        return state
    told = {name: comparable(value) for name, value in sorted(state.items()) if name not in UNTOLD}
    return {n: datetime.fromisoformat(v) if n in TIMES and isinstance(v, str) else v for n, v in told.items()}


def exported(folder: Path) -> Copy:
    """An export of JSON lines as a consumer keeps it."""
    read = Export(folder)
    copy: Copy = {("account", row["id"], str(row["id"])): comparable(row) for row in read.rows("accounts")}
    for table, (kind, key) in KEYS.items():
        copy |= {(kind, row["account_id"], row[key]): comparable(row) for row in read.rows(table)}
    messages = {(row["account_id"], row["message_id"]): {**row, **{name: [] for name in CHILDREN}}
                for row in read.rows("messages")}  # fmt: skip
    for name, table in CHILDREN.items():
        for row in read.rows(table):
            whose = row.pop("account_id"), row.pop("message_id")
            messages[whose][name].append(row)
    return copy | {("message", *whose): comparable(state) for whose, state in messages.items()}


def applied(copy: Copy, connection: Sql, consumer: str, after: str | None = None) -> int:
    """Read the feed to its end, row by row, into the copy; gives the number of rows."""
    count = 0
    while True:
        page = connection.execute("select * from mail.changes(%s, 3, %s)", (consumer, after)).fetchall()
        for position, kind, account, key, deleted, state, _ in page:
            after = position
            count += 1
            if deleted and kind == "message":
                copy.pop((kind, account, key), None)
            else:
                copy[kind, account, key] = comparable(state)
        if not page:
            return count


def mirrored(connection: Sql) -> Copy:
    """The mirror itself."""
    copy: Copy = {}
    for kind, relation, account, key in (
        ("account", "mail.accounts", "id", "id::text"),
        ("person", "mail.people", "account_id", "address"),
        ("label", "mail.labels", "account_id", "label_id"),
        ("folder", "mail.folders", "account_id", "folder_id"),
        ("message", "mail.messages", "account_id", "message_id"),
    ):
        live = " where deleted_at is null" if kind == "message" else ""
        query = f"select {account}, {key}, to_jsonb(r) from {relation} r{live}".encode()
        copy |= {(kind, row[0], row[1]): row[2] for row in connection.execute(query).fetchall()}
    for (kind, owner, name_of_row), state in copy.items():
        if kind == "message":
            state.pop("digest")
            for name, table in CHILDREN.items():
                query = f"select to_jsonb(r) - 'account_id' - 'message_id' from mail.{table} r".encode()
                mine = b" where account_id = %s and message_id = %s"
                state[name] = [row[0] for row in connection.execute(query + mine, (owner, name_of_row)).fetchall()]
    return {key: comparable(state) for key, state in copy.items()}


def test_what_an_export_holds_and_what_the_feed_says_behind_it_is_the_mirror(
    engine: Engine, database: str, connection: Sql, tmp_path: Path
) -> None:
    first, second = leased(engine, upstream_id="1"), leased(engine, upstream_id="2")
    for store in (first, second):
        store.commit(listed(*(message(f"m{n}", folder_id="inbox") for n in range(12))))
        store.commit(gone("m11"))
    before = mirrored(connection)

    # Under way while the export begins, and older than what ends before it does: the one every shortcut loses.
    with psycopg.connect(as_superuser(database)) as slow:
        slow.execute("update mail.messages set subject = 'slow', changed_at = sync.now(), changed_in ="
                     " pg_current_xact_id() where account_id = 1 and message_id = 'm0'")  # fmt: skip
        second.commit(fetched(message("m1", labels=(UNREAD,))))
        at_the_start = mirrored(connection)
        steps = iter(range(100))

        def write(_: object) -> None:
            """Commit something between any two pieces of the export; the slow one ends in the middle."""
            step = next(steps)
            second.commit(fetched(message(f"m{step}", subject=f"step {step}", labels=(INBOX, Label("l9", f"{step}")))))
            second.commit(fetched(message(f"new{step}", to=(Person(f"{step}@example.com", "New"),), folder_id="later")))
            if step == 5:
                slow.commit()
            if step > 5:
                first.commit(gone(f"m{step}"))
                first.commit(fetched(message("m0", labels=(Label(f"l{step}", None),))))

        manifest = export(engine, [1, 2], "jsonl", tmp_path / "out", observe=write, piece=1)
    assert next(steps) > 20, "something was committed between any two pieces"

    copy = exported(tmp_path / "out")
    assert copy == at_the_start != before
    newest = max(int(row["changed_in"]) for row in Export(tmp_path / "out").rows("messages"))
    assert manifest.feed.horizon < newest, "a reader that goes on behind the newest row would lose the slow one"
    assert copy != mirrored(connection)

    assert applied(copy, connection, "etl", after=manifest.feed.position) > 20
    assert copy == mirrored(connection)


def test_a_consumer_can_be_told_to_go_on_behind_an_export(engine: Engine, connection: Sql, tmp_path: Path) -> None:
    store = leased(engine)
    store.commit(listed(*(message(f"m{n}") for n in range(5))))
    assert applied({}, connection, "etl") > 5
    manifest = export(engine, [1], "jsonl", tmp_path / "out")
    store.commit(fetched(message("m2", subject="later")))
    for _ in range(2):
        hand_over(engine, "etl", manifest.feed.position)
        copy = exported(tmp_path / "out")
        assert applied(copy, connection, "etl") <= 3
        assert copy == mirrored(connection)
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())["feed"]
    assert told == {"position": manifest.feed.position, "horizon": manifest.feed.horizon}


def test_an_export_holds_nobody_s_feed_back(engine: Engine, connection: Sql, tmp_path: Path) -> None:
    store = leased(engine)
    store.commit(listed(*(message(f"m{n}") for n in range(3))))
    horizons: list[int] = []

    def look(_: object) -> None:
        store.commit(fetched(message("m1", subject=f"look {len(horizons)}")))
        row = connection.execute("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint").fetchone()
        assert row is not None
        horizons.append(row[0])

    manifest = export(engine, [1], "jsonl", tmp_path / "out", observe=look, piece=1)
    assert len(horizons) >= 3
    assert [manifest.feed.horizon, *horizons] == sorted({manifest.feed.horizon, *horizons}), "it goes on meanwhile"
