"""Who holds a lease: a name for this process, and whether a named process of this machine is dead.

A worker killed without warning leaves its lease behind for up to 90 seconds. When its name shows that it ran here and
is no more, the next one need not wait. A wrong guess does no harm: the fence stops whoever was overtaken.
"""

import os
import socket
from functools import cache
from pathlib import Path

from msgspec import Struct

PROC = Path("/proc")


class Owner(Struct, frozen=True):
    """A process as its name tells: machine, process id, and what tells it from a later one of the same id."""

    machine: str
    pid: int
    birth: str


@cache
def _machine() -> str:
    """Host name, and the process-id namespace where there are several (containers)."""
    try:
        namespace = (PROC / "self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        namespace = ""
    return "/".join(part for part in (socket.gethostname(), namespace) if part)


def this_process() -> str:
    """Name this process as the owner of a lease."""
    return _name_of(os.getpid())


@cache
def _name_of(pid: int) -> str:
    return f"{_machine()}:{pid}:{_birth(pid)}"


def shown(name: str) -> str:
    """The owner as people look for it: host and process id."""
    owner = _parsed(name)
    return name if owner is None else f"{owner.machine.partition('/')[0]}:{owner.pid}"


def is_dead(name: str) -> bool:
    """Whether the name is of a process of this machine that does not run any more; False when in doubt."""
    owner = _parsed(name)
    if owner is None or owner.machine != _machine():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _birth(owner.pid) != owner.birth


def _parsed(name: str) -> Owner | None:
    machine, _, rest = name.partition(":")
    pid, _, birth = rest.partition(":")
    return Owner(machine, int(pid), birth) if pid.isdigit() else None


def _birth(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty where that cannot be read."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    # The name of the program stands in brackets and may hold anything; the 22nd field of the line is the start.
    fields = stat.rpartition(")")[2].split()
    return "zombie" if fields[0] == "Z" else fields[19]
