"""Readers of mail files: mbox, mbox.gz (mboxrd), Maildir, tar and tar.gz of .eml files."""

import mmap
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from .problems import MailboxMissing, NotAMailbox
from .spool import Spool, Stretch

try:
    from isal import igzip as gzip
except ImportError:  # isal has no wheel everywhere; the standard library reads the same, slower
    import gzip  # type: ignore[no-redef] # same interface

_CHUNK = 1 << 20
_BLOCK = 512
_TIME = re.compile(rb"\d\d:\d\d")
_GZIP = b"\x1f\x8b"


class Found(NamedTuple):
    """Hold one message of a file: where it lies, the `From ` line, Maildir folder and flags, the file's time."""

    stretch: Stretch
    head: bytes
    from_line: str = ""
    folder: str = ""
    flags: str | None = None


def read_mailbox(path: str | Path, spool: Spool) -> Iterator[Found]:
    """Yield the messages of a file or Maildir in order; there must be one at least.

    Raises MailboxMissing or NotAMailbox, each with one sentence that says what to do.
    """
    path = Path(path)
    empty = True
    try:
        if not path.exists():
            raise MailboxMissing(f"{path} does not exist. Give the path of a mailbox file.")
        for found in _maildir(path, spool) if path.is_dir() else _file(path, spool):
            empty = False
            yield found
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise MailboxMissing(f"{path} cannot be read ({error}). Give a mailbox file that is whole.") from error
    if empty:
        raise NotAMailbox(f"{path} is empty: it holds no mail. Give a mailbox file with at least one message.")


def _not_one(path: Path) -> NotAMailbox:
    return NotAMailbox(f"{path} is not an mbox, Maildir or .tar.gz of .eml files. Give a mailbox file.")


def _file(path: Path, spool: Spool) -> Iterator[Found]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    with _opened(path, packed=packed) as file:
        start = file.read(_BLOCK)
    if start[257:262] == b"ustar" or (start and len(start) == _BLOCK and _old_tar(path)):
        yield from _tar(path, spool, packed=packed)
    elif not start.strip() or start.lstrip(b"\r\n").startswith(b"From "):
        yield from _mbox(path, spool, packed=packed)
    else:
        raise _not_one(path)


def _opened(path: Path, *, packed: bool) -> IO[bytes]:
    opener: Any = gzip.open if packed else open
    return cast("IO[bytes]", opener(path, "rb"))


def _old_tar(path: Path) -> bool:
    return path.name.endswith((".tar", ".tar.gz", ".tgz")) and tarfile.is_tarfile(path)


def _tar(path: Path, spool: Spool, *, packed: bool) -> Iterator[Found]:
    count = 0
    with (
        _opened(path, packed=packed) as outer,
        tarfile.open(fileobj=outer, mode="r|") as archive,
    ):
        for member in archive:
            if not member.isfile() or not member.name.lower().endswith(".eml"):
                continue
            file = archive.extractfile(member)
            if file is not None:
                count += 1
                raw = file.read()
                yield Found(spool.add(raw), raw)
    if not count:
        raise _not_one(path)


def _mbox(path: Path, spool: Spool, *, packed: bool) -> Iterator[Found]:
    start = 0
    if packed:
        start = spool.end()
        with _opened(path, packed=True) as file:
            while chunk := file.read(_CHUNK):
                spool.append(chunk)
        fd, data = spool.map(start)
    else:
        fd, data = spool.map_file(path)
    try:
        yield from _messages(path, fd, data, start)
    finally:
        if isinstance(data, mmap.mmap):
            data.close()


def _messages(path: Path, fd: int, data: mmap.mmap | bytes, start: int) -> Iterator[Found]:
    """Cut an mbox at its `From ` lines; the blank line before each belongs to the separator."""
    end = len(data)
    here = _separator(data, start, first=True)
    if here is None:
        if data[start:end].strip():
            raise _not_one(path)
        return
    while here is not None:
        after = _separator(data, here[1] - 1)
        stop = after[0] if after else end
        if data[stop - 2 : stop] in (b"\n\n", b"\r\n"):
            stop -= 2 if data[stop - 4 : stop] == b"\r\n\r\n" else 1
        stop = max(stop, here[1])
        stretch = Stretch(fd, here[1], stop - here[1], escaped=True)
        yield Found(stretch, data[here[1] : stop], data[here[0] : here[1]].decode("latin-1").strip())
        here = after


def _separator(data: mmap.mmap | bytes, start: int, *, first: bool = False) -> tuple[int, int] | None:
    """Return where the next `From ` line begins and ends; one without a time of day is text."""
    if first:
        while data[start : start + 1] in (b"\r", b"\n"):
            start += 1
    place = start if first and data[start : start + 5] == b"From " else data.find(b"\nFrom ", start) + 1
    while place > 0 or (first and place == start):
        line_end = data.find(b"\n", place) + 1 or len(data)
        if _TIME.search(data[place:line_end]):
            return place, line_end
        first = False
        place = data.find(b"\nFrom ", line_end - 1) + 1
    return None


def _maildir(path: Path, spool: Spool) -> Iterator[Found]:
    """Read `cur` and `new` of a Maildir and of its `.Sub.Folders`."""
    folders = [path, *sorted(p for p in path.iterdir() if p.is_dir() and p.name.startswith("."))]
    folders = [p for p in folders if (p / "cur").is_dir() or (p / "new").is_dir()]
    if not folders:
        raise _not_one(path)
    for folder in folders:
        name = "" if folder == path else folder.name.lstrip(".").replace(".", "/")
        for file in sorted([*folder.glob("cur/*"), *folder.glob("new/*")], key=lambda p: p.name):
            if file.is_file() and not file.name.startswith("."):
                raw = file.read_bytes()
                flags = file.name.partition(":2,")[2]
                yield Found(spool.add(raw), raw, folder=name, flags=flags)
