"""What docs/feed.md says runs."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.store.mail import leased, listed, message
from worker.store.engine import connect

Sql = psycopg.Connection[Any]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "feed.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sql\n(.+?)```", PAGE, re.DOTALL)
TABLES = {
    "attachments",
    "folders",
    "labels",
    "message_folders_past",
    "message_labels",
    "message_labels_past",
    "message_people",
    "messages",
    "people",
}


@pytest.mark.parametrize("block", [block for block in BLOCKS if "subscription" not in block])
def test_the_sql_of_the_page_runs(database: str, connection: Sql, block: str) -> None:
    engine = connect(database)
    with leased(engine) as store:
        store.commit(listed(message()))
    engine.dispose()
    position = connection.execute("select mail.feed_position()").fetchone()
    assert position is not None
    connection.execute(block.replace("POSITION", position[0]).encode())


def test_the_publication_holds_the_tables_of_the_mirror_and_nothing_else(connection: Sql) -> None:
    (block,) = [block for block in BLOCKS if "create publication" in block]
    said: list[str] = []
    connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    connection.execute(block.encode())
    found = connection.execute("select schemaname, tablename from pg_publication_tables").fetchall()
    assert {schema for schema, _ in found} == {"mail"}
    assert {table for _, table in found} == TABLES
    assert any("wal_level" in sentence for sentence in said), "as the page says, it takes another wal_level"
    keys = connection.execute(
        "select relname from pg_class c where relnamespace = 'mail'::regnamespace and relkind = 'r' and"
        " (relreplident <> 'd' or not exists (select from pg_index where indrelid = c.oid and indisprimary))"
    ).fetchall()
    assert keys == [], "every table has a key by which its changes are told"
