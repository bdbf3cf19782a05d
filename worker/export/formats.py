"""The formats of an export, by name, and the two that are text: JSON lines and CSV."""

import importlib
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from io import RawIOBase
from typing import Any, Protocol

import msgspec

from worker.errors import UsageError
from worker.store.export import Column, Row, Snapshot, Table

FORMATS = ("parquet", "jsonl", "csv")

PYARROW = "pyarrow>=22,<27"
"""What Parquet needs: the extra of that name."""


class Writer(Protocol):
    """Writes rows into one file."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows; they may be held back for a while."""
        ...

    def finish(self) -> None:
        """Write what was held back, and what ends the file; the file stays open."""
        ...

    @property
    def held(self) -> int:
        """Bytes held back, about."""
        ...


class Format(Protocol):
    """A kind of file."""

    suffix: str
    notes: Mapping[str, str]
    """What a reader must know, for the manifest."""

    def columns(self, table: Table) -> tuple[Column, ...]:
        """The columns in a file of this table; the others stand in its path."""
        ...

    def open(self, file: RawIOBase, table: Table, snapshot: Snapshot) -> Writer:
        """Begin a file."""
        ...


def named(name: str) -> Format:
    """Give a format of `FORMATS`; raises UsageError where what it needs is not installed."""
    if name != "parquet":
        return Text(name, *TEXTS[name])
    try:
        # Loaded only where it is asked for: most installations do without.
        module = importlib.import_module("worker.export.parquet")
    except ImportError as error:
        install = f"{shlex.quote(sys.executable)} -m pip install '{PYARROW}'"
        raise UsageError(f"Parquet needs pyarrow, which is not installed: {install}. Or take jsonl or csv.") from error
    found: Format = module.Parquet()
    return found


class Text:
    """Files of lines; every column stands in them."""

    def __init__(self, suffix: str, lines: "type[JsonLines | Csv]", notes: Mapping[str, str]) -> None:
        self.suffix = suffix
        self.notes = notes
        self._lines = lines

    def columns(self, table: Table) -> tuple[Column, ...]:
        """See `Format`."""
        return table.columns

    def open(self, file: RawIOBase, table: Table, snapshot: Snapshot) -> Writer:
        """See `Format`."""
        del snapshot
        return self._lines(file, table)


class JsonLines:
    """One object a line; every column is there, null or not."""

    held = 0

    def __init__(self, file: RawIOBase, table: Table) -> None:
        self._file = file
        self._names = [column.name for column in table.columns]
        self._raw = [column.name for column in table.columns if column.kind == "json"]
        self._encoder = msgspec.json.Encoder()

    def write(self, rows: Sequence[Row]) -> None:
        """See `Writer`."""
        self._file.write(b"".join(map(self._line, rows)))

    def finish(self) -> None:
        """See `Writer`."""

    def _line(self, row: Row) -> bytes:
        shown = dict(zip(self._names, row, strict=True))
        for name in self._raw:
            if shown[name] is not None:
                shown[name] = msgspec.Raw(shown[name].encode())
        return self._encoder.encode(shown) + b"\n"


FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet would compute, or would after it has dropped the first letter; behind apostrophes, too, so that
taking away the one that was put before it gives back every cell as it was."""


class Csv:
    """RFC 4180, in UTF-8; texts stand in quotation marks, so that an empty one differs from null, an empty cell."""

    held = 0

    def __init__(self, file: RawIOBase, table: Table) -> None:
        self._file = file
        self._cells = [CELLS[column.kind] for column in table.columns]
        self._file.write(",".join(column.name for column in table.columns).encode() + b"\r\n")

    def write(self, rows: Sequence[Row]) -> None:
        """See `Writer`."""
        self._file.write("".join(map(self._line, rows)).encode())

    def finish(self) -> None:
        """See `Writer`."""

    def _line(self, row: Row) -> str:
        cells = ("" if value is None else cell(value) for cell, value in zip(self._cells, row, strict=True))
        return ",".join(cells) + "\r\n"


def cell(text: str) -> str:
    """A text as a cell: inert, and in quotation marks."""
    inert = "'" if FORMULA.match(text) else ""
    return f'"{inert}' + text.replace('"', '""') + '"'


def moment(value: datetime) -> str:
    """A time as ISO 8601, UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


CELLS: dict[str, Callable[[Any], str]] = {
    "text": cell,
    "json": cell,
    "texts": lambda value: cell(msgspec.json.encode(value).decode()),
    "integer": str,
    "transaction": str,
    "boolean": lambda value: "true" if value else "false",
    "time": moment,
}

TIMES = "ISO 8601, UTC"
TEXTS: dict[str, tuple[type[JsonLines | Csv], Mapping[str, str]]] = {
    "jsonl": (JsonLines, {"encoding": "UTF-8, one JSON object a line", "times": TIMES}),
    "csv": (
        Csv,
        {
            "encoding": "UTF-8, RFC 4180, one heading",
            "times": TIMES,
            "null": 'an empty cell; an empty text is ""',
            "lists": "JSON",
            "formulas": "A cell that begins with = + - @, their full-width forms, a tab, CR or LF, perhaps behind "
            "apostrophes, has an apostrophe put before it, so that a spreadsheet computes nothing. "
            "To get the text, take the first apostrophe away from cells that match "
            r"^'+[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]",
        },
    ),
}
