"""The folders of a local PostgreSQL: where data and programs may lie, and how data is first made."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from worker.local.binaries import PostgresBinaries, wheel_root
from worker.local.errors import LocalError
from worker.local.process import Account

SUPERUSER = "app"
"""Made with the cluster; migrates and owns. Workers log in as `WORKER`."""

WORKER = "mailmirror_worker"
"""The user in the URL of a stack's own database; `mailmirror roles apply --login` lets it in."""

_PASSWORD_FILE = "mailmirror.password"  # noqa: S105 - a file name
_BUILTIN_LOCALES_SINCE = 17
_INITDB_SECONDS = 120.0


def environment() -> dict[str, str]:
    """Return the whole environment of PostgreSQL's programs: nothing of ours leaks into them."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def temporary_folder(account: Account | None) -> Path:
    """Make a private folder that `account` owns and can reach."""
    # Root's own temporary folder may be closed to others; /var/tmp never is.
    parent = "/var/tmp" if account and Path("/var/tmp").is_dir() else None  # noqa: S108 - mkdtemp below
    folder = Path(tempfile.mkdtemp(prefix="mailmirror-", dir=parent))
    give(folder, account)
    return folder


def discard(folders: Iterable[Path]) -> None:
    """Remove folders as far as they exist."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def settle(data_dir: Path, account: Account | None) -> Path:
    """Return where the data that is wanted in `data_dir` really lies, within reach of `account`.

    The folder itself need not exist yet, its parent does afterwards. Raises LocalError when the place is
    taken.
    """
    data_dir = data_dir.absolute()
    if data_dir.is_symlink() and not data_dir.exists():
        if data_dir.readlink().parent.is_dir():
            return data_dir.readlink()  # an earlier start got no further than this
        data_dir.unlink()  # its temporary folder was cleaned away
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    if data_dir.exists():
        _check_existing(data_dir, account)
    if account is None or account.can_reach(data_dir):
        return data_dir
    if data_dir.exists():
        raise LocalError(f"{data_dir} cannot be reached by the user PostgreSQL runs under: move or remove it")
    home = temporary_folder(account)
    data_dir.symlink_to(home / "data")
    return home / "data"


def _check_existing(data_dir: Path, account: Account | None) -> None:
    if not data_dir.is_dir():
        raise LocalError(f"{data_dir} is a file: name a folder for PostgreSQL's data")
    owner = data_dir.stat().st_uid
    if owner == (account.uid if account else os.geteuid()):
        if any(data_dir.iterdir()) and major_of_data(data_dir) is None:
            raise LocalError(f"{data_dir} holds something else than PostgreSQL's data: name another folder")
    elif account is None or any(data_dir.iterdir()):
        raise LocalError(f"{data_dir} belongs to another user (uid {owner}): name another folder, or remove it")


def major_of_data(data: Path) -> int | None:
    """Return the major version that made the data in this folder; None when there is none."""
    try:
        return int((data / "PG_VERSION").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None


def password_of(data: Path) -> str | None:
    """Return the password that this data asks for; None when it asks for none."""
    try:
        return (data / _PASSWORD_FILE).read_text().strip()
    except FileNotFoundError:
        return None


def within_reach(binaries: PostgresBinaries, account: Account | None) -> tuple[PostgresBinaries, Path | None]:
    """Return binaries that `account` can execute, and the temporary folder of the copy if it took one."""
    if account is None or account.can_reach(binaries.bindir / "postgres"):
        return binaries, None
    prefix = binaries.bindir.parent
    package = wheel_root(binaries.bindir)
    if package is None:
        raise LocalError(
            f"{prefix} cannot be reached by the user PostgreSQL runs under: "
            f"install PostgreSQL for the whole machine, or set DATABASE_URL"
        )
    folder = temporary_folder(account)
    try:
        copy = folder / package.name / prefix.relative_to(package)
        left_out = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(prefix, copy, symlinks=True, ignore=left_out)
        # Shared libraries of a wheel lie beside the package and are found by relative path.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    except BaseException:
        discard([folder])
        raise
    return PostgresBinaries(copy / "bin", binaries.major, binaries.origin), folder


def ensure(data: Path, binaries: PostgresBinaries, account: Account | None, *, password: bool) -> None:
    """Make a new cluster in `data` unless there is one; it appears whole or not at all."""
    if major_of_data(data) is not None:
        return
    try:
        workshop = Path(tempfile.mkdtemp(prefix=f".{data.name}-", dir=data.parent))
    except OSError as error:
        raise LocalError(f"PostgreSQL's data cannot be made in {data}: {error.strerror}") from error
    try:
        give(workshop, account)
        fresh = workshop / "data"
        secret = workshop / "password"
        if password:
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_urlsafe(24))
            give(secret, account)
        _initdb(fresh, binaries, account, secret if password else None)
        if password:
            secret.rename(fresh / _PASSWORD_FILE)
        fresh.rename(data)  # replaces an empty folder, refuses any other
    except OSError as error:
        raise LocalError(f"PostgreSQL's data cannot be made in {data}: {error.strerror}") from error
    finally:
        discard([workshop])


def _initdb(data: Path, binaries: PostgresBinaries, account: Account | None, secret: Path | None) -> None:
    command = [str(binaries.bindir / "initdb"), "-D", str(data), "-U", SUPERUSER, "-E", "UTF8", "--no-sync"]
    command += ["--locale=C"]  # depends on no locale of this machine
    if binaries.major >= _BUILTIN_LOCALES_SINCE:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--auth=trust"] if secret is None else ["--auth=scram-sha-256", f"--pwfile={secret}"]
    done = subprocess.run(
        command,
        cwd="/",
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_INITDB_SECONDS,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LocalError(f"initdb of PostgreSQL {binaries.major} failed: {' / '.join(words[-5:])}")


def give(path: Path, account: Account | None) -> None:
    """Make `account` the owner of a file or folder; without one it stays ours."""
    if account is not None:
        os.chown(path, account.uid, account.gid)
