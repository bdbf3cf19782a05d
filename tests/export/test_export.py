"""Files of an export: their size, their schema, what is held in memory, and what a full disk leaves."""

import gc
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from sqlalchemy.engine import Engine

from tests.export import scenes
from tests.export.reading import Export, schema
from tests.integration.store.mail import leased, listed, message
from worker.errors import MailmirrorError, UsageError
from worker.export import FORMATS, export, parquet
from worker.export.partitions import Limits
from worker.store.export import TABLES

MIB = 1024 * 1024
NOT_EXPORTED = {"messages": {"digest", "deleted_at", "found_gone"}}
"""A fingerprint for the worker alone, and what is null for live mail."""


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_file_is_followed_by_another(
    engine: Engine, connection: psycopg.Connection, tmp_path: Path, name: str
) -> None:
    first, second = scenes.account(engine), scenes.account(engine, "2")
    scenes.fill(connection, first, 50)
    scenes.fill(connection, second, 5)
    export(engine, [first, second], name, tmp_path / "all")
    export(engine, [first, second], name, tmp_path / "small", limits=Limits(rows=20), piece=2500 * 10)
    whole, small = Export(tmp_path / "all"), Export(tmp_path / "small")
    for table, rows in whole.everything().items():
        assert sorted(map(repr, rows)) == sorted(map(repr, small.rows(table))), table
    assert [row["message_id"] for row in small.rows("messages")][:50] == [f"m{n}" for n in range(1, 51)]
    assert whole.files["messages"] == [f"messages/account_id={a}/month=2026-01/part-00000.{name}" for a in (1, 2)]
    assert len(small.files["messages"]) > 3
    assert {Path(path).name for path in small.files["messages"]} >= {f"part-0000{n}.{name}" for n in range(3)}
    sizes = [file["rows"] for file in small.manifest["tables"]["message_people"]["files"]]
    assert max(sizes) < 20 + 3 * 11, "a file ends with the piece that fills it"


def test_only_the_accounts_that_are_named_are_exported(
    engine: Engine, connection: psycopg.Connection, tmp_path: Path
) -> None:
    first, second = scenes.account(engine), scenes.account(engine, "2")
    for account in (first, second):
        scenes.fill(connection, account, 5)
    export(engine, [second], "jsonl", tmp_path / "out")
    read = Export(tmp_path / "out")
    assert [account["id"] for account in read.manifest["accounts"]] == [second]
    assert {row["account_id"] for row in read.rows("message_labels")} == {second}
    with pytest.raises(UsageError, match="There is no account 7"):
        export(engine, [first, 7], "jsonl", tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_every_column_of_the_tables_is_exported_or_left_out_on_purpose(connection: psycopg.Connection) -> None:
    for table in TABLES:
        found = connection.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            (table.source,),
        ).fetchall()
        exported = {column.name for column in table.columns}
        assert exported == {name for (name,) in found} - NOT_EXPORTED.get(table.name, set()), table.name


def test_parquet_says_what_each_column_is(engine: Engine, tmp_path: Path) -> None:
    leased(engine).commit(listed(message(), message("m2", created=None, created_raw="soon")))
    export(engine, [1], "parquet", tmp_path / "out")
    read = Export(tmp_path / "out")
    messages = schema(read, "messages")
    assert messages.field("created").type == pa.timestamp("us", tz="UTC")
    assert {str(messages.field(name).type) for name in ("message_id", "thread_id", "folder_id")} == {"string"}
    assert not messages.field("message_id").nullable
    for table, entry in read.manifest["tables"].items():
        for column in entry["columns"]:
            assert column["comment"], (table, column)
            if entry["files"]:
                assert schema(read, table).field(column["name"]).metadata[b"comment"].decode() == column["comment"]
    assert {month: row["created_raw"] for month, row in read.months("messages")} == {"2026-03": None, "unknown": "soon"}
    assert {month for month, _ in read.months("attachments")} == {"2026-03", "unknown"}


@pytest.mark.parametrize("name", FORMATS)
def test_memory_is_bounded_whatever_the_size_of_the_mailbox(
    engine: Engine, connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", MIB)
    account, arrow = scenes.account(engine), [0]
    scenes.fill(connection, account, 1500, letters=16 * 1024)
    export(engine, [account], name, tmp_path / "first", piece=MIB)  # what is loaded once is not the mailbox
    gc.collect()
    tracemalloc.start()
    manifest = export(
        engine, [account], name, tmp_path / "out", piece=MIB, limits=Limits(size=4 * MIB),
        observe=lambda _: arrow.append(pa.total_allocated_bytes()),
    )  # fmt: skip
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert manifest.tables["messages"].rows == 1500
    assert connection.execute("select sum(length(text_body)) > 24e6 from mail.messages").fetchone() == (True,)
    assert peak < 8 * MIB
    assert max(arrow) < 8 * MIB


@contextmanager
def small_disk() -> Iterator[None]:
    """Let no file grow beyond 10 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", FORMATS)
def test_a_disk_that_takes_no_more_leaves_nothing(
    engine: Engine, connection: psycopg.Connection, tmp_path: Path, name: str
) -> None:
    account = scenes.account(engine)
    scenes.fill(connection, account, 500, letters=3000)
    with small_disk(), pytest.raises(MailmirrorError, match=r"could not be written: .+\. Nothing of it is left\."):
        export(engine, [account], name, tmp_path / "out", limits=Limits(rows=300))
    gc.collect()  # a writer that was given up must not complain
    assert list(tmp_path.iterdir()) == []
    export(engine, [account], name, tmp_path / "out")
    assert len(Export(tmp_path / "out").rows("messages")) == 500
