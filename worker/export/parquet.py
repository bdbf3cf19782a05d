"""Parquet files; the one place that imports pyarrow."""

from collections.abc import Mapping, Sequence
from io import RawIOBase
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from worker.store.export import Column, Kind, Row, Snapshot, Table

GROUP_ROWS = 50_000
GROUP_BYTES = 16 * 1024 * 1024
"""A row group is written when so much is held."""

TIME = pa.timestamp("us", tz="UTC")
TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "time": TIME,
    "texts": pa.list_(pa.string()),
    "json": pa.string(),
    "transaction": pa.int64(),
}

REPEATED = frozenset(
    {"folder_id", "label_id", "role", "address", "email", "mime_type", "kind", "service", "status", "tenant_id",
     "thread_id", "message_id", "name", "subject"}
)  # fmt: skip
"""Columns whose values come again and again: they are written once, in a dictionary, as long as that is small."""

IN_PATH = frozenset({"account_id"})
"""What readers take from the path, as in Hive; in the file, too, it would be there twice."""


class Parquet:
    """See `formats.Format`."""

    suffix = "parquet"
    notes: Mapping[str, str] = {
        "compression": "zstd",
        "times": "microseconds, UTC",
        "json": "text",
        "partitions": "Hive: account_id and month stand in the path, not in the file",
    }

    def columns(self, table: Table) -> tuple[Column, ...]:
        """See `formats.Format`."""
        return tuple(column for column in table.columns if column.name not in IN_PATH)

    def open(self, file: RawIOBase, table: Table, snapshot: Snapshot) -> "Groups":
        """See `formats.Format`."""
        kept = [place for place, column in enumerate(table.columns) if column.name not in IN_PATH]
        columns = self.columns(table)
        schema = pa.schema([_field(column, snapshot.comment(table, column)) for column in columns])
        return Groups(file, schema, kept, [column.name for column in columns if column.name in REPEATED])


class Groups:
    """Rows of one file, held until they fill a row group."""

    def __init__(self, file: RawIOBase, schema: pa.Schema, kept: Sequence[int], repeated: list[str]) -> None:
        self._schema = schema
        self._kept = kept
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0
        self.held = 0
        self._writer = parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=repeated)

    def write(self, rows: Sequence[Row]) -> None:
        """See `formats.Writer`."""
        values: list[Sequence[Any]] = list(zip(*rows, strict=True))
        arrays = [pa.array(values[place], field.type) for place, field in zip(self._kept, self._schema, strict=True)]
        batch = pa.record_batch(arrays, schema=self._schema)
        self._batches.append(batch)
        self._rows += batch.num_rows
        self.held += batch.nbytes
        if self._rows >= GROUP_ROWS or self.held >= GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        """See `formats.Writer`."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches, self._schema), row_group_size=self._rows)
        self._batches.clear()
        self._rows = self.held = 0


def _field(column: Column, comment: str) -> pa.Field:
    return pa.field(
        column.name,
        TYPES[column.kind],
        nullable=not column.required,
        metadata={"comment": comment} if comment else None,
    )
