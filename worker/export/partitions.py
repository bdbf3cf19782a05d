"""Rows into files: one open file per table, a new one with every partition and whenever one is full."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from worker.export.folder import File, within
from worker.export.formats import Format, Writer
from worker.export.manifest import ColumnEntry, FileEntry, TableEntry
from worker.store.export import TABLES, Row, Snapshot, Table

PART_ROWS = 500_000
PART_BYTES = 128 * 1024 * 1024
"""A file is full with so many rows or bytes; the piece that fills it may go a little beyond."""


class Part:
    """An open file."""

    def __init__(self, path: str, file: File, writer: Writer) -> None:
        self.path = path
        self.place = path.rpartition("/")[0]
        self.file = file
        self.writer = writer
        self.rows = 0

    @property
    def size(self) -> int:
        """Bytes written and held, about."""
        return self.file.size + self.writer.held


class Limits(Struct, frozen=True):
    """When a file is full."""

    rows: int = PART_ROWS
    size: int = PART_BYTES


class Partitions:
    """The files of an export in the folder it is written to."""

    def __init__(self, folder: Path, format_: Format, snapshot: Snapshot, limits: Limits) -> None:
        self._folder = folder
        self._format = format_
        self._snapshot = snapshot
        self._limits = limits
        self.rows: Counter[str] = Counter()
        """By table: what was written."""
        self._open: dict[str, Part] = {}
        self._done: defaultdict[str, list[FileEntry]] = defaultdict(list)
        self._last: dict[str, tuple[str, int]] = {}
        """By table: the partition written last, and how many files it has."""

    def write(self, table: Table, partition: str, rows: Sequence[Row]) -> None:
        """Add rows to a partition (`account_id=1/month=2026-03`); one that was left must not be come back to."""
        place = f"{table.name}/{partition}".rstrip("/")
        part = self._open.get(table.name)
        if part is not None and part.place != place:
            self._close(table)
            part = None
        if part is None:
            part = self._open[table.name] = self._begin(table, place)
        part.writer.write(rows)
        part.rows += len(rows)
        self.rows[table.name] += len(rows)
        if part.rows >= self._limits.rows or part.size >= self._limits.size:
            self._close(table)

    def finish(self) -> dict[str, TableEntry]:
        """Close what is open, and say what there is."""
        for table in TABLES:
            self._close(table)
        return {table.name: self._entry(table) for table in TABLES}

    def drop(self) -> None:
        """Close what is open without writing any more."""
        for part in self._open.values():
            part.file.drop()
            part.file.close()

    def _begin(self, table: Table, place: str) -> Part:
        before, number = self._last.get(table.name, ("", 0))
        number = number if before == place else 0
        self._last[table.name] = place, number + 1
        name = f"part-{number:05}.{self._format.suffix}"
        file = File(within(self._folder, place) / name)
        try:
            return Part(f"{place}/{name}", file, self._format.open(file, table, self._snapshot))
        except BaseException:
            file.drop()
            file.close()
            raise

    def _close(self, table: Table) -> None:
        part = self._open.get(table.name)
        if part is None:
            return
        part.writer.finish()
        entry = FileEntry(part.path, part.rows, part.file.size, part.file.sha256)
        part.file.close()
        del self._open[table.name]
        self._done[table.name].append(entry)

    def _entry(self, table: Table) -> TableEntry:
        columns = tuple(
            ColumnEntry(column.name, column.kind, column.required, self._snapshot.comment(table, column))
            for column in self._format.columns(table)
        )
        files = tuple(self._done[table.name])
        return TableEntry(self.rows[table.name], columns, files)
