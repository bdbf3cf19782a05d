"""`manifest.json`: what an export holds, file by file, of which moment, and where the change feed goes on behind it."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

NAME = "manifest.json"
VERSION = 1
"""Grows when a reader of the manifest or of the files would have to be changed."""


class FileEntry(Struct, frozen=True):
    """One file."""

    path: str
    """Within the export, with slashes."""
    rows: int
    bytes: int
    sha256: str


class ColumnEntry(Struct, frozen=True):
    """One column of a table's files."""

    name: str
    type: str
    required: bool
    comment: str


class TableEntry(Struct, frozen=True):
    """One table."""

    rows: int
    columns: tuple[ColumnEntry, ...]
    files: tuple[FileEntry, ...]


class AccountEntry(Struct, frozen=True):
    """One account."""

    id: int
    address: str | None


class Feed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the change feed goes on."""

    position: str
    """Behind all that is here for certain: changes from there on may be here already, and none is missing."""
    horizon: int
    """The oldest transaction that was under way: `changed_in` of what is here for certain is below it."""
    consumer: str | None = None
    """Who was told to go on there, afterwards: the file itself never says so."""


class Manifest(Struct, frozen=True, kw_only=True):
    """Everything about an export."""

    kind: str = "mailmirror-export"
    version: int = VERSION
    format: str
    snapshot_at: datetime
    """The database's time of the moment that is shown."""
    schema_revision: str
    accounts: tuple[AccountEntry, ...]
    feed: Feed
    notes: Mapping[str, str]
    tables: Mapping[str, TableEntry]

    @property
    def files(self) -> int:
        """Number of files, the manifest apart."""
        return sum(len(table.files) for table in self.tables.values())

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(file.bytes for table in self.tables.values() for file in table.files)

    def write(self, folder: Path) -> None:
        """Put it into the folder it describes."""
        descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
