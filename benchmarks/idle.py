"""Part `idle`: one look at an account that has nothing new, at default settings, as a task takes it."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks import server
from benchmarks.frame import Contestant, Meter, Spread, compete
from benchmarks.report import Row
from tests.acceptance.stage import Mirrored, upstream
from worker.local.postgres import RunningPostgres

POLLS = 100
ROUNDS = 7
CONTROL = re.compile(r"(begin|commit|rollback)\b", re.IGNORECASE)
LOGGED = re.compile(r"^(?P<connection>\d+) LOG: +(?:statement|execute \S+): (?P<words>.*(?:\n\t.*)*)", re.MULTILINE)


class Idle:
    """A caught-up account that can be polled again and again."""

    def __init__(self, mirrored: Mirrored, console: psycopg.Connection[Any]) -> None:
        self.mirrored = mirrored
        self._console = console

    def poll(self) -> int:
        """Take one turn from the live queue; returns the requests it sent."""
        return self.mirrored.mirror.take_turn(self.mirrored.id, "live").requests

    def polls(self, count: int = POLLS) -> None:
        """Take turns, each made due with one cheap statement of somebody else's connection."""
        for _ in range(count):
            self.due()
            self.poll()

    def dues(self, count: int = POLLS) -> None:
        """Make it due as often as `polls` does, and nothing else."""
        for _ in range(count):
            self.due()

    def due(self) -> None:
        self._console.execute("update sync.accounts set next_due_at = sync.now()")


def statements(log: str) -> tuple[list[str], list[str]]:
    """Read what was asked for out of a server's log: statements, and what only opens or ends a transaction."""
    every = [" ".join(found["words"].split()) for found in LOGGED.finditer(log)]
    return [one for one in every if not CONTROL.match(one)], [one for one in every if CONTROL.match(one)]


def traced(postgres: RunningPostgres, database: str, idle: Idle) -> tuple[list[str], list[str], int]:
    """Poll a few times with every statement logged; returns the last poll's statements, control, and requests."""
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"alter database {database} set log_statement = 'all'".encode())
    idle.mirrored.with_settings()
    requests, log = 0, ""
    for _ in range(4):
        idle.due()
        at = postgres.log.stat().st_size
        requests = idle.poll()
        with postgres.log.open() as file:
            file.seek(at)
            log = file.read()
    return *statements(log), requests


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure one idle poll."""
    prefix = {"log_line_prefix": "%p "}
    with (
        tempfile.TemporaryDirectory() as folder,
        server.running(prefix) as postgres,
        upstream("--messages", "300") as sandbox,
    ):
        url = server.database(postgres, "bench")
        mirrored = Mirrored(url, sandbox.served()[0], Path(folder))
        try:
            mirrored.sync(60)
            with psycopg.connect(url, autocommit=True) as console:
                console.execute("vacuum analyze")
                idle = Idle(mirrored, console)
                once = Contestant(name="idle", prepare=idle.due, run=idle.polls)
                ping = Contestant(name="due", prepare=idle.due, run=idle.dues)
                costs = compete(Meter(postgres.pid), [once, ping], rounds)
                asked, control, requests = traced(postgres, "bench", idle)
        finally:
            mirrored.close()
    # Making it due is no part of a poll.
    pairs = list(zip(costs["idle"], costs["due"], strict=True))
    client = [(poll.client - due.client) / POLLS * 1e3 for poll, due in pairs]
    postgres_cpu = [(poll.server - due.server) / POLLS * 1e3 for poll, due in pairs]
    return [
        _row("client CPU of an idle poll", Spread.of(client), 5.0, 2.5, unit="ms"),
        Row(part="idle", what="Postgres CPU of an idle poll", value=Spread.of(postgres_cpu), unit="ms"),
        _row("statements of an idle poll", _count(asked), 4, 2, details={"statements": asked, "control": control}),
        Row(part="idle", what="begin, commit and rollback besides", value=_count(control), unit=""),
        _row("requests of an idle poll", Spread.of([requests]), 1, 1, details={"median_ms": median(client)}),
    ]


def _count(lines: Sequence[str]) -> Spread:
    return Spread.of([len(lines)])


def _row(
    what: str, value: Spread, must: float, aim: float, *, unit: str = "", details: dict[str, Any] | None = None
) -> Row:
    return Row(
        part="idle", what=what, value=value, unit=unit, must=must, aim=aim, less_is_better=True, details=details or {}
    )
