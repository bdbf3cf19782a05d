"""The folder of an export: written beside its place under another name, and renamed when it is whole.

It holds mail: folders are 0700 and files 0600, whatever the umask.
"""

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from worker.errors import MailmirrorError, UsageError

PARTIAL = ".partial-"
"""Stands between the name of the folder and a random end while it is written."""

FOLDER_MODE = 0o700
FILE_MODE = 0o600


class File(io.RawIOBase):
    """A new file that knows how many bytes were written to it, and their SHA-256."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        self._hash = hashlib.sha256()
        self._dropped = False
        self.size = 0

    def writable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def tell(self) -> int:
        """See `io.IOBase`."""
        return self.size

    def write(self, data: object, /) -> int:
        """Write all of it; raises OSError when that cannot be."""
        left = memoryview(data).cast("B")  # type: ignore[arg-type]  # bytes, or a buffer of pyarrow's
        length = left.nbytes
        while left and not self._dropped:
            written = os.write(self._descriptor, left)
            self._hash.update(left[:written])
            left = left[written:]
            self.size += written
        return length

    def drop(self) -> None:
        """Write nothing any more: what a writer has left to say is for nobody."""
        self._dropped = True

    def close(self) -> None:
        """Have it on the disk, and close it."""
        if self.closed:
            return
        super().close()
        try:
            if not self._dropped:
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hexadecimal digits."""
        return self._hash.hexdigest()


@contextmanager
def whole(to: Path, remark: Callable[[str], None]) -> Iterator[Path]:
    """Give a folder to write into: at the end of the with block it becomes `to`, and before that it vanishes.

    Raises UsageError for a place that cannot be used, MailmirrorError when the disk does not take it; `remark` is told
    of folders that lie there unfinished.
    """
    target = _place(to)
    for left in _unfinished(target):
        remark(f"An export that was killed, or one that still runs, has left {left}. Remove it if none runs.")
    try:
        partial = Path(tempfile.mkdtemp(prefix=f"{target.name}{PARTIAL}", dir=target.parent))
    except OSError as error:
        raise UsageError(f"No folder can be made in {target.parent}: {_reason(error)}.") from error
    try:
        yield partial
        _put(partial, target, to)
    except OSError as error:
        rest = _remove(partial)
        raise MailmirrorError(f"The export could not be written: {_reason(error)}. {rest}") from error
    except BaseException:
        rest = _remove(partial)
        if rest != NOTHING_LEFT:
            remark(rest)
        raise


def within(folder: Path, place: str) -> Path:
    """Make the folders of `place` inside `folder`, as far as they are not there."""
    for name in place.split("/"):
        folder /= name
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    return folder


NOTHING_LEFT = "Nothing of it is left."


def _place(to: Path) -> Path:
    """Where the folder will lie, after links; raises UsageError where it cannot."""
    try:
        target = to.resolve()
        if target.is_dir():
            if any(target.iterdir()):
                raise UsageError(f"{to} is not empty. Name a folder that is not there yet.")
        elif os.path.lexists(target):
            raise UsageError(f"{to} is no folder. Name one that is not there yet.")
        if not target.parent.is_dir():
            raise UsageError(f"There is no folder {target.parent} to put {target.name} into. Make it first.")
    except OSError as error:
        raise UsageError(f"{to} cannot be used: {_reason(error)}.") from error
    return target


def _unfinished(target: Path) -> list[Path]:
    return sorted(path for path in target.parent.iterdir() if path.name.startswith(f"{target.name}{PARTIAL}"))


def _put(partial: Path, target: Path, to: Path) -> None:
    """Give the finished folder its name; an empty folder of that name gives way."""
    try:
        partial.rename(target)
    except OSError as error:
        if target.is_dir() and any(target.iterdir()):
            raise UsageError(
                f"{to} was filled by somebody else meanwhile. Name a folder that is not there yet."
            ) from error
        raise
    # The new name is there; whether it also outlives a power cut, not every file system lets us ask for.
    with suppress(OSError):
        parent = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _remove(partial: Path) -> str:
    """Remove what was written; says in a sentence what is left."""
    try:
        shutil.rmtree(partial)
    except (OSError, KeyboardInterrupt) as error:
        reason = _reason(error) if isinstance(error, OSError) else "interrupted"
        return f"What was written lies in {partial} ({reason}). Remove it."
    return NOTHING_LEFT


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
