"""Bytes of explicit mail: where a message lies in an open file, and a temporary file for what has none."""

import mmap
import os
import re
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

_ESCAPED = re.compile(rb"(?m)^>(>*From )")


class Stretch(NamedTuple):
    """Name the bytes of one message: file descriptor, offset, length, and whether `From ` lines are escaped."""

    fd: int
    offset: int
    length: int
    escaped: bool = False

    def read(self) -> bytes:
        """Return the original bytes of the message."""
        return self.tidy(os.pread(self.fd, self.length, self.offset))

    def tidy(self, raw: bytes) -> bytes:
        """Undo the mbox escaping of bytes that were read by other means."""
        return _ESCAPED.sub(rb"\1", raw) if self.escaped and b"From " in raw else raw


class Spool:
    """Keep message bytes on disk; memory holds offsets only."""

    def __init__(self) -> None:
        """Open an unnamed temporary file."""
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="mail-sandbox-")  # noqa: SIM115 - lives as long as the sandbox
        self._end = 0
        self._files: list[IO[bytes]] = []

    def add(self, raw: bytes) -> Stretch:
        """Append one message."""
        return Stretch(self._file.fileno(), self.append(raw), len(raw))

    def append(self, chunk: bytes) -> int:
        """Append bytes and return their offset."""
        offset = self._end
        self._end += os.pwrite(self._file.fileno(), chunk, offset)
        return offset

    def end(self) -> int:
        """Return the offset the next bytes get."""
        return self._end

    def map(self, offset: int = 0) -> tuple[int, mmap.mmap | bytes]:
        """Map what was spooled, for scanning; `offset` says whether there is anything after it."""
        if self._end <= offset:
            return self._file.fileno(), b""
        return self._file.fileno(), mmap.mmap(self._file.fileno(), self._end, access=mmap.ACCESS_READ)

    def map_file(self, path: Path) -> tuple[int, mmap.mmap | bytes]:
        """Map a file of the user's in place; it stays open until close()."""
        file = path.open("rb")
        self._files.append(file)
        if path.stat().st_size == 0:
            return file.fileno(), b""
        return file.fileno(), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Give the disk space back."""
        for file in (self._file, *self._files):
            file.close()
