"""A PostgreSQL of our own on loopback: throw-away for tests, or kept in a folder for `up` and `demo`.

Works as an ordinary user and as root. PostgreSQL refuses to run as root, so then it runs as `nobody`, which
must be able to reach its programs and its data: programs out of reach are copied to a temporary folder, data
whose place is out of reach lives in one, with a symbolic link at the place that was asked for.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from worker.local import cluster
from worker.local.binaries import PostgresBinaries, find_binaries
from worker.local.errors import LocalError
from worker.local.process import Child, PortTakenError, RunningServer, free_port, open_log, server_account, spawn

__all__ = ["THROW_AWAY", "PostgresBinaries", "RunningPostgres", "find_binaries", "start"]

# For data nobody will miss: no waiting for the disk.
THROW_AWAY: Mapping[str, str] = MappingProxyType(
    {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
)

_START_SECONDS = 60.0
_PORT_ATTEMPTS = 5
_LOG_TAIL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPostgres(RunningServer):
    """One running PostgreSQL, and where its data lies."""

    data_dir: Path
    binaries: PostgresBinaries

    def url_for(self, user: str, password: str) -> str:
        """Return the URL of the same database for another user."""
        return f"postgresql://{user}:{quote(password, safe='')}@{self.url.rpartition('@')[2]}"


def start(
    binaries: PostgresBinaries | None = None,
    data_dir: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
    *,
    password: bool = False,
    port: int | None = None,
    holding: Sequence[int] = (),
) -> RunningPostgres:
    """Start a server on 127.0.0.1 and a free port, `port` if that is free, and return when it takes connections.

    Without `data_dir` the data is temporary and gone after `stop`. With it the data stays, and the next start
    goes on with it. `password` makes new data ask for a random password, which is part of the URL then;
    without it everybody on this machine may connect. For `holding` see `process.spawn`. Raises LocalError when
    there is no PostgreSQL or it does not start.
    """
    account = server_account()
    for attempt in range(_PORT_ATTEMPTS):
        temporary: list[Path] = []
        try:
            if data_dir is None:
                temporary.append(cluster.temporary_folder(account))
                data = temporary[0] / "data"
            else:
                data = cluster.settle(data_dir, account)
            chosen = binaries or _choose(cluster.major_of_data(data), data)
            reachable, copied = cluster.within_reach(chosen, account)
            if copied is not None:
                temporary.append(copied)
            cluster.ensure(data, reachable, account, password=password)
            listen_on = port if port is not None and attempt == 0 else free_port()
            return _run(reachable, data, settings, temporary, listen_on, holding)
        except PortTakenError:
            cluster.discard(temporary)
        except BaseException:
            cluster.discard(temporary)
            raise
    raise LocalError(f"no free port for PostgreSQL was found in {_PORT_ATTEMPTS} attempts")


def _choose(major: int | None, data: Path) -> PostgresBinaries:
    every = find_binaries()
    if not every:
        raise LocalError(
            "no PostgreSQL 15 or newer on this machine: install one (Debian, Ubuntu: apt install postgresql; "
            "macOS: brew install postgresql) or set DATABASE_URL to one that runs elsewhere"
        )
    fitting = [binaries for binaries in every if major in (None, binaries.major)]
    if not fitting:
        raise LocalError(
            f"{data} was made by PostgreSQL {major}, which is not on this machine: "
            f"install that version, or move the folder away to begin anew"
        )
    return fitting[0]


def _run(
    binaries: PostgresBinaries,
    data: Path,
    settings: Mapping[str, str],
    temporary: list[Path],
    port: int,
    holding: Sequence[int],
) -> RunningPostgres:
    fixed = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",  # their paths have a limit of about 100 bytes; loopback has none
        "logging_collector": "off",
        # What a statement was about stays out of the log: DETAIL and CONTEXT print rows, parameters are contents.
        "log_error_verbosity": "terse",
        "log_parameter_max_length_on_error": "0",
    }
    options = [f"--{name}={value}" for name, value in {**settings, **fixed}.items()]
    log = data / "server.log"
    with open_log(log) as output:
        start_of_words = output.seek(0, os.SEEK_END)
        child = spawn(
            [str(binaries.bindir / "postgres"), "-D", str(data), *options],
            output=output,
            env=cluster.environment(),
            account=server_account(),
            remove=temporary,
            holding=holding,
        )
        ready = False
        try:
            ready = _wait_until_ready(child, data)
        finally:
            if not ready:
                child.stop()
        if ready:
            return RunningPostgres(
                url=_url(data, port),
                pid=child.pid,
                port=port,
                log=log,
                child=child,
                data_dir=data,
                binaries=binaries,
            )
        # The supervisor has removed a temporary log by now, but it is still open here.
        output.seek(start_of_words)
        words = output.read().decode(errors="replace")
    if "could not bind" in words:
        raise PortTakenError
    raise LocalError(f"PostgreSQL {binaries.major} does not start: {_gist(words)}")


def _wait_until_ready(child: Child, data: Path) -> bool:
    """Return True when the server takes connections, False when it ended instead."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        # Line 1 of this file is the pid, line 8 the state: pg_ctl waits the same way.
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except OSError:
            lines = []
        if lines[:1] == [str(child.pid)] and [line.strip() for line in lines[7:8]] == ["ready"]:
            return True
        if not child.running:
            return False
        time.sleep(0.01)
    raise LocalError(f"PostgreSQL is not ready after {_START_SECONDS:.0f} seconds; its log is {data}/server.log")


def _gist(words: str) -> str:
    lines = [line.partition("FATAL:")[2].strip() or line.strip() for line in words.splitlines()]
    return " / ".join(filter(None, lines))[-_LOG_TAIL:] or "it left no word"


def _url(data: Path, port: int) -> str:
    secret = cluster.password_of(data)
    user = cluster.SUPERUSER if secret is None else f"{cluster.SUPERUSER}:{quote(secret, safe='')}"
    return f"postgresql://{user}@127.0.0.1:{port}/postgres"
