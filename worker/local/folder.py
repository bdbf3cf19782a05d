"""The folder in which one stack keeps its data and logs, and the lock that keeps a second stack out."""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from worker.local import cluster
from worker.local.errors import LocalError
from worker.local.process import open_log, server_account

_LOCK = "lock"
DATABASE_URL_FILE = "database_url"
_OWNER_URL = "owner_url"
_ENDING_SECONDS = 60.0
LARGEST_LOG = 10_000_000


class DataFolder:
    """A folder that belongs to one stack at a time; a temporary one is removed at the end."""

    def __init__(self, path: Path | None) -> None:
        """Take `path`, made if need be, or a temporary folder. Raises LocalError when another stack has it."""
        self.temporary = path is None
        self.path = Path(tempfile.mkdtemp(prefix="mailmirror-")) if path is None else _make(path.absolute())
        self._lock: int | None = _take(self.path)

    @property
    def lock(self) -> int:
        """The open file that holds the lock; it is held as long as any process has the file open."""
        if self._lock is None:
            raise LocalError(f"{self.path} was given back")
        return self._lock

    def subfolder(self, name: str) -> Path:
        """Make a folder for our own processes, closed to others."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def log_path(self, name: str) -> Path:
        """Return where the process of this name writes what it says."""
        return self.subfolder("log") / f"{name}.log"

    def open_log(self, name: str) -> BinaryIO:
        """Open that file for appending, readable by us alone."""
        return open_log(self.log_path(name))

    def trim_logs(self) -> None:
        """Empty logs that have grown large, keeping one copy of each; their writers append and do not notice."""
        for path in self.subfolder("log").glob("*.log"):
            if path.stat().st_size > LARGEST_LOG:
                shutil.copy(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)

    @property
    def database_url_file(self) -> Path:
        """The file that holds the URL of the database kept here."""
        return self.path / DATABASE_URL_FILE

    @property
    def owner_url_file(self) -> Path:
        """The file that holds the URL of the user who owns that database."""
        return self.path / _OWNER_URL

    def note_database_url(self, url: str, owner_url: str | None = None) -> None:
        """Write the URLs where DATABASE_URL_FILE and MAILMIRROR_OWNER_URL_FILE can name them, for one user alone."""
        for path, text in ((self.owner_url_file, owner_url), (self.database_url_file, url)):
            if text is None:
                continue
            fresh = path.with_name(f".{path.name}")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
                file.write(f"{text}\n")
            fresh.replace(path)

    def noted_port(self) -> int | None:
        """Return the port in the last URL, so that it stays the same from start to start."""
        port = self._noted().rpartition("@")[2].partition(":")[2].partition("/")[0]
        return int(port) if port.isdigit() and 0 < int(port) <= 65_535 else None  # noqa: PLR2004  # the last port

    def noted_password(self, user: str) -> str | None:
        """Return the password in the last URL, if it was this user's, so that it stays the same, too."""
        name, _, password = self._noted().partition("://")[2].rpartition("@")[0].partition(":")
        return unquote(password) if name == user and password else None

    def _noted(self) -> str:
        try:
            return self.database_url_file.read_text()
        except OSError:
            return ""

    def give_back(self) -> None:
        """Let others have the folder, or remove it when it was temporary. Twice is fine."""
        if self._lock is None:
            return
        os.close(self._lock)
        self._lock = None
        if self.temporary:
            cluster.discard([self.path])


def _make(path: Path) -> Path:
    # PostgreSQL must pass through where it runs under an account of its own; what lies here is closed by itself.
    mode = 0o700 if server_account() is None else 0o711
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"data cannot be kept in {path}: {error.strerror}; set MAILMIRROR_DATA") from error
    return path.resolve()


def _take(path: Path) -> int:
    """Lock the folder and leave our pid in it; waits for processes of a stack that was killed to end."""
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LocalError(f"data cannot be kept in {path}: {error.strerror}; set MAILMIRROR_DATA") from error
    try:
        _wait_for(lock, path)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _wait_for(lock: int, path: Path) -> None:
    deadline = time.monotonic() + _ENDING_SECONDS
    while not _locked(lock):
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip()
        if not owner.isdigit() or _runs(int(owner)) or time.monotonic() > deadline:
            raise LocalError(
                f"{path} is in use by another mailmirror (process {owner or 'unknown'}): "
                f"stop that one first, or set MAILMIRROR_DATA to another folder"
            )
        time.sleep(0.05)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
