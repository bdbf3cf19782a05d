"""Child processes that never outlive us (`Child`), their logs, and the account servers run under when we are root."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

from worker.local.errors import LocalError

_SUPERVISOR = Path(__file__).with_name("supervise.py")
_SPARE_SECONDS = 10.0

# Fast shutdown, immediate shutdown, and the end: signal and seconds to wait after it.
DEFAULT_SIGNALS = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True, slots=True)
class Account:
    """Names the user and group a server runs under."""

    uid: int
    gid: int

    def can_reach(self, folder: Path) -> bool:
        """Tell whether this account may pass through every parent of `folder`."""
        for parent in folder.absolute().parents:
            facts = parent.stat()
            bit = 0o100 if facts.st_uid == self.uid else 0o010 if facts.st_gid == self.gid else 0o001
            if not facts.st_mode & bit:
                return False
        return True


def server_account() -> Account | None:
    """Return the account servers run under: `nobody` when we are root, else None for our own."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


class Child:
    """One running command that ends when we end, also when we are killed."""

    def __init__(self, supervisor: subprocess.Popen[bytes], pid: int, patience: float) -> None:
        self.pid = pid
        self._supervisor = supervisor
        self._patience = patience
        self._owner = os.getpid()

    @property
    def running(self) -> bool:
        """Whether the command still runs."""
        return self._supervisor.poll() is None

    def ask_to_stop(self) -> None:
        """Tell the command to stop, and do not wait."""
        if os.getpid() != self._owner:
            return  # a fork of the starter holds this object too, and must not end what it does not own
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()

    def stop(self) -> None:
        """Tell the command to stop, wait until it and its temporary folders are gone. Twice is fine."""
        if os.getpid() != self._owner:
            return
        self.ask_to_stop()
        try:
            self._supervisor.wait(self._patience + _SPARE_SECONDS)
        except subprocess.TimeoutExpired:
            self._supervisor.terminate()
            raise LocalError(f"process {self.pid} does not stop; end it by hand") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


class PortTakenError(Exception):
    """Somebody took the port between our looking and the server's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """One running server; leave the `with` block, or call `stop`, to end it."""

    url: str = field(repr=False)
    pid: int
    port: int
    log: Path
    child: Child = field(repr=False)

    @property
    def running(self) -> bool:
        """Whether the server still runs."""
        return self.child.running

    def stop(self) -> None:
        """Shut the server down and remove what was temporary; a second call does nothing."""
        self.child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def open_log(log: Path) -> BinaryIO:
    """Open a log file for appending, readable by its owner alone."""
    # O_NOFOLLOW: root must not be led astray by a link in a folder that another account owns.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(log, flags, 0o600), "r+b", buffering=0)


def free_port() -> int:
    """Find a port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def spawn(
    command: Sequence[str],
    *,
    output: BinaryIO,
    env: Mapping[str, str],
    cwd: Path = Path("/"),
    account: Account | None = None,
    signals: Sequence[tuple[int, float]] = DEFAULT_SIGNALS,
    feed: str = "",
    remove: Sequence[Path] = (),
    clear: Sequence[Path] = (),
    holding: Sequence[int] = (),
) -> Child:
    """Start `command` under a supervisor, its output going to the open file `output`.

    `feed` is what the command finds on its standard input. `signals` are sent one after the other at the end,
    each with its seconds of patience. After that the folders in `remove` are deleted, and those in `clear`
    unless the command ended by itself. The open files in `holding` stay open until all that is done: a lock on
    one of them tells others that something still runs. Raises LocalError when the command cannot be executed.
    """
    order: dict[str, object] = {
        "command": list(command),
        "cwd": str(cwd),
        "env": dict(env),
        "signals": [[int(number), patience] for number, patience in signals],
        "feed": feed,
        "remove": [str(folder) for folder in remove],
        "clear": [str(folder) for folder in clear],
    }
    if account is not None:
        order |= {"uid": account.uid, "gid": account.gid}
    supervisor = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=output,
        cwd="/",
        start_new_session=True,
        pass_fds=tuple(holding),
    )
    if supervisor.stdin is None or supervisor.stdout is None:  # pragma: no cover - PIPE was asked for
        raise LocalError("the supervisor has no pipes")
    # By pipe, not by argument: an environment may hold a password, and arguments are public.
    supervisor.stdin.write(json.dumps(order).encode() + b"\n")
    supervisor.stdin.flush()
    with supervisor.stdout:
        answer = supervisor.stdout.readline().decode(errors="replace").strip()
    if not answer.isdigit():
        supervisor.stdin.close()
        supervisor.wait(_SPARE_SECONDS)
        raise LocalError(f"{command[0]} cannot be started: {answer.removeprefix('! ') or 'no reason given'}")
    return Child(supervisor, int(answer), sum(patience for _, patience in signals))
