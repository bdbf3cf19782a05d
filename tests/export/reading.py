"""Reads an export as a stranger would: by its manifest and with plain readers of each format."""

import csv
import hashlib
import io
import json
import re
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

Row = dict[str, Any]
csv.field_size_limit(1 << 30)  # a body is longer than the usual limit
INERT = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


class Export:
    """A finished export; the manifest is held against the files when it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.files = {table: [file["path"] for file in entry["files"]] for table, entry in self._tables()}
        self._check()

    def rows(self, table: str) -> list[Row]:
        """The rows of a table, with what stands in the path."""
        return [row for path in self.files[table] for row in self._rows(table, path)]

    def months(self, table: str) -> list[tuple[str, Row]]:
        """The same, each with the month of its path."""
        return [
            (re.findall("month=([^/]+)/", path)[0], row)
            for path in self.files[table]
            for row in self._rows(table, path)
        ]

    def everything(self) -> dict[str, list[Row]]:
        """All tables."""
        return {table: self.rows(table) for table, _ in self._tables()}

    def _tables(self) -> Iterator[tuple[str, Any]]:
        return iter(self.manifest["tables"].items())

    def _check(self) -> None:
        there = {path for path in self.folder.rglob("*") if path.is_file()} - {self.folder / "manifest.json"}
        assert there == {self.folder / path for paths in self.files.values() for path in paths}
        for table, entry in self._tables():
            for file in entry["files"]:
                path = self.folder / file["path"]
                data = path.read_bytes()
                assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
                assert len(list(self._rows(table, file["path"]))) == file["rows"]
            assert entry["rows"] == sum(file["rows"] for file in entry["files"])
        for path in (self.folder, *self.folder.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)

    def _rows(self, table: str, path: str) -> Iterator[Row]:
        file = self.folder / path
        account = re.findall("account_id=([0-9]+)/", path)
        here = {"account_id": int(account[0])} if account else {}
        if file.suffix == ".parquet":
            # The file alone: the reader of data sets would read the path by itself.
            found: list[Row] = parquet.ParquetFile(file).read().to_pylist()
            rows: Iterable[Row] = ({**here, **row} for row in found)
        elif file.suffix == ".jsonl":
            rows = map(json.loads, file.read_bytes().decode().split("\n")[:-1])
        else:
            rows = csv.DictReader(io.StringIO(file.read_bytes().decode(), newline=""), strict=True)
        kinds = {column["name"]: column["type"] for column in self.manifest["tables"][table]["columns"]}
        for row in rows:
            assert row.keys() == kinds.keys() | here.keys()
            assert not here or int(row["account_id"]) == here["account_id"]
            yield {name: _value(value, kinds.get(name, "integer"), file.suffix) for name, value in row.items()}


def _value(value: Any, kind: str, suffix: str) -> Any:
    """What was meant: only Parquet has types for all of it."""
    if suffix == ".csv":
        if value == "":
            return None  # or an empty text: this reader does not tell them apart
        if kind in {"text", "texts", "json"}:
            value = value[1:] if INERT.match(value) else value
        if kind not in {"text", "time"}:
            value = json.loads(value)
    if suffix == ".parquet" and kind == "json":
        return None if value is None else json.loads(value)
    if kind == "time" and isinstance(value, str):
        assert value.endswith("Z")
        return datetime.fromisoformat(value)
    return value


def emptied(row: Row) -> Row:
    """The row as CSV's readers see it."""
    return {name: None if value == "" else value for name, value in row.items()}


def schema(export: Export, table: str) -> pa.Schema:
    """The schema that every Parquet file of a table has."""
    found = [parquet.read_schema(export.folder / path) for path in export.files[table]]
    assert all(one.equals(found[0], check_metadata=True) for one in found)
    return found[0]
