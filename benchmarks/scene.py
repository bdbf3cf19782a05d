"""A whole installation at work: workers, beat, Valkey, PostgreSQL, and sandboxes in processes of their own.

The sandboxes stand for somebody else's machines, but share this one: all but the first run with little priority.
Accounts of one scene keep the upstream they were added with, so that a mailbox that is read does not hold up the
answers for others.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks import server
from tests.acceptance.stage import Mailbox, upstream
from tests.acceptance.workers.fleet import Fleet, Process, wait_until
from tests.acceptance.workers.fleet import running as fleet_running
from tests.acceptance.workers.fleet_table import cpu_of
from tests.conftest import prepare
from worker.bootstrap.mirror import UPSTREAM
from worker.local.valkey import start_valkey
from worker.store import accounts

DISPATCH = 2
"""Seconds between two looks of beat at what is due: the default."""
SLOW = 15
"""How much a sandbox lets others go first (nice)."""
BACKFILL_NICE = int(os.environ.get("BENCH_BACKFILL_NICE", "0"))
"""How much the backfill worker lets others go first; 0 is how it comes."""
READY = " ready."
"""What a worker's log says when its processes are up."""
SERVER = {"autovacuum": "on", "track_commit_timestamp": "on", "max_connections": "100"}
UNPOLLED = "select count(*) from sync.accounts where polled_at is null or lease_until is not null"
OTHER_COLUMNS = """
    select string_agg(column_name, ', ') from information_schema.columns
    where table_schema = 'sync' and table_name = 'windows' and column_name <> 'account_id'
"""
COPY_WINDOWS = """
    insert into sync.windows (account_id, {columns})
    select other, {columns} from sync.windows, unnest(%s::bigint[]) as other where account_id = %s
"""
COPY_DUE = """
    update sync.accounts a set backfill_due_at = first.backfill_due_at
    from sync.accounts first where first.id = %s and a.id = any(%s)
"""
POLLS = "select sum(lease_epoch)::float8 from sync.accounts where id = any(%s)"
"""Every turn begins with a lease, and every lease has the next number."""


@dataclass
class Scene:
    """Accounts and the processes that keep them current."""

    fleet: Fleet
    console: psycopg.Connection[Any]
    servers: dict[str, int]
    """Process ids by what they are."""
    interval: float
    roles: dict[str, Process] = field(default_factory=dict)

    def add(self, boxes: Iterable[Mailbox]) -> list[int]:
        """Add mailboxes as accounts, which are due at once."""
        made = []
        for box in boxes:
            account = accounts.add(
                self.fleet.mirror.engine,
                kind="kloudless",
                upstream_id=str(box.id),
                service=box.service,
                settings={UPSTREAM: box.upstream.url},
                token=box.token,
                keys=self.fleet.mirror.keys,
            )
            self.fleet.boxes[account.id] = box
            made.append(account.id)
        return made

    def start(self, *, live: int = 4, backfill: int = 2, **settings: object) -> None:
        """Start beat, and a worker for each queue, with as many processes as in docker-compose.yml."""
        self.fleet.environment |= {f"MAILMIRROR_{name.upper()}": str(value) for name, value in settings.items()}
        self.roles["worker live"] = self.fleet.worker("live", concurrency=live)
        if backfill:
            self.roles["worker backfill"] = self.fleet.worker("backfill", concurrency=backfill)
            os.setpriority(os.PRIO_PROCESS, self.roles["worker backfill"].pid, BACKFILL_NICE)
        self.roles["beat"] = self.fleet.beat()
        for role, process in self.roles.items():
            if role != "beat":
                wait_until(lambda log=process.log: READY in log.read_text(errors="replace"), f"{role} to be ready")  # type: ignore[misc]  # bound at once

    def stop(self) -> None:
        """End beat and the workers; a lease they held is given back."""
        for process in self.roles.values():
            process.stop()
        self.roles.clear()
        self.console.execute(
            "update sync.accounts set lease_owner = null, lease_until = null, queued_until = null,"
            " backfill_queued_until = null where lease_owner is not null or queued_until is not null"
            " or backfill_queued_until is not null"
        )

    def fill(self, ids: Sequence[int], patience: float = 900.0) -> None:
        """Bring empty mailboxes to where a mirror stands that is complete.

        The first goes the whole way. The others poll as any account does; the ledger of the first, with its closed and
        empty windows, is theirs too: their mailboxes are the same.
        """
        self.fleet.mirror.sync(ids[0], stop=lambda: False)
        self.console.execute("update sync.accounts set backfill_due_at = null where id = any(%s)", (list(ids[1:]),))
        self.start(backfill=0, live_slots=500, dispatch_seconds=1)
        wait_until(lambda: self.one(UNPOLLED) == 0, "every account's first poll", patience)
        self.stop()
        for name in ("LIVE_SLOTS", "DISPATCH_SECONDS"):
            del self.fleet.environment[f"MAILMIRROR_{name}"]
        self.fleet.environment["MAILMIRROR_DISPATCH_SECONDS"] = str(DISPATCH)
        self.console.execute("delete from sync.windows where account_id = any(%s)", (list(ids[1:]),))
        columns = self.one(OTHER_COLUMNS)
        self.console.execute(COPY_WINDOWS.format(columns=columns).encode(), (list(ids[1:]), ids[0]))
        self.console.execute(COPY_DUE, (ids[0], list(ids[1:])))
        self.console.execute("vacuum analyze")

    def only(self, ids: Sequence[int]) -> None:
        """Let these accounts alone be at work, due evenly over the interval."""
        self.console.execute(
            "update sync.accounts set status = case when id = any(%s) then 'active' else 'paused' end,"
            " poll_seconds = %s, next_due_at = sync.now() + random() * make_interval(secs => %s)",
            (list(ids), self.interval, self.interval),
        )

    def one(self, statement: str, *values: object) -> Any:
        found = self.console.execute(statement.encode(), values or None).fetchone()
        assert found is not None
        return found[0]

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time by process so far."""
        pids = {**{role: process.pid for role, process in self.roles.items()}, **self.servers}
        return {role: cpu_of(pid) for role, pid in pids.items()}


@contextmanager
def installed(interval: float, *sandboxes: Sequence[str]) -> Iterator[tuple[Scene, list[list[Mailbox]]]]:
    """Run all but workers and beat; gives the scene and the mailboxes of each sandbox."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(server.running(SERVER))
        valkey = stack.enter_context(start_valkey())
        servers = {"PostgreSQL": postgres.pid, "Valkey": valkey.pid, "this program": os.getpid()}
        boxes = []
        for number, arguments in enumerate(sandboxes):
            before = {child.pid for child in psutil.Process().children()}
            boxes.append(stack.enter_context(upstream(*arguments)).served())
            [pid] = {child.pid for child in psutil.Process().children()} - before
            if number:
                os.setpriority(os.PRIO_PROCESS, pid, SLOW)
            servers[f"sandbox {number + 1}"] = pid
        settings = {
            "MAILMIRROR_POLL_SECONDS": str(interval),
            "MAILMIRROR_POLL_SLOWEST": str(interval),
            "MAILMIRROR_DISPATCH_SECONDS": str(DISPATCH),
            "MAILMIRROR_BACK_OFF": "10",
            "MAILMIRROR_SLICE_SECONDS": "30",
        }
        fleet = Fleet(prepare(postgres.url), valkey.url, boxes[0][0].upstream.url, folder, **settings)
        del fleet.environment["MAILMIRROR_KLOUDLESS_URL"]  # each account has its own
        stack.enter_context(fleet_running(fleet))
        with psycopg.connect(fleet.plain_url, autocommit=True) as console:
            yield Scene(fleet, console, servers, interval), boxes
