"""Stands between us and a server we started, and ends the server when we end, however we end.

A script of its own: `python -I -S supervise.py`, standard library only. The first line of its standard
input says what to run, as JSON; then the input stays open for as long as the starter lives. When it closes,
or the starter is gone, or a signal asks for it, the server is told to stop, is killed if it does not, and
the folders named for removal are removed (those in `clear` stay when the server ended by itself).
Threads of the starter may come and go: nothing depends on them.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from types import FrameType
from typing import Any

_TICK = 0.2
_PR_SET_PDEATHSIG = 1
_stop_asked = False


def _ask_stop(_number: int, _frame: FrameType | None) -> None:
    global _stop_asked  # noqa: PLW0603 - a signal handler has nowhere else to leave word
    _stop_asked = True


def _read_order() -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            sys.exit(0)
        data += piece
    order: dict[str, Any] = json.loads(data)
    return order


def _spawn(order: dict[str, Any]) -> subprocess.Popen[bytes]:
    account = {"user": order["uid"], "group": order["gid"], "extra_groups": []} if "uid" in order else {}
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    dying_wish = order["signals"][0][0]

    def follow_supervisor() -> None:
        # Runs after the change of user, which would clear the wish. It is the net below the net:
        # it matters only when this very process is killed.
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, dying_wish, 0, 0, 0)

    child = subprocess.Popen(
        order["command"],
        cwd=order["cwd"],
        env=order["env"],
        stdin=subprocess.PIPE if order["feed"] else subprocess.DEVNULL,
        stdout=2,
        stderr=2,
        start_new_session=True,
        preexec_fn=follow_supervisor,  # noqa: PLW1509 - this process has one thread
        **account,
    )
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError), child.stdin:  # it ended before it read
            child.stdin.write(order["feed"].encode())
    return child


def _wait(child: subprocess.Popen[bytes], starter: int) -> None:
    """Return when the child has ended or somebody wants it to."""
    while child.poll() is None and not _stop_asked and os.getppid() == starter:
        readable, _, _ = select.select([0], [], [], _TICK)
        if readable and not os.read(0, 4096):
            return


def _stop(child: subprocess.Popen[bytes], signals: list[tuple[int, float]]) -> None:
    for number, patience in signals:
        if child.poll() is not None:
            break
        child.send_signal(number)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left; macOS says the second
        os.killpg(child.pid, signal.SIGKILL)  # its own children that stayed behind


def main() -> int:
    """Run what standard input orders; return its exit status."""
    starter = os.getppid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ask_stop)
    order = _read_order()
    try:
        child = _spawn(order)
    except OSError as error:
        os.write(1, f"! {error}\n".encode())
        return 127
    os.write(1, f"{child.pid}\n".encode())
    os.close(1)
    _wait(child, starter)
    by_itself = child.poll() is not None
    _stop(child, order["signals"])
    for folder in order["remove"] if by_itself else [*order["remove"], *order["clear"]]:
        shutil.rmtree(folder, ignore_errors=True)
    status = child.returncode
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
