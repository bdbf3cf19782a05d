"""A fleet for tests: real `celery worker` and `beat` processes over a real Valkey, and servers that can be restarted.

MAILMIRROR_TEST_CELERY=folder runs the processes with the Celery installed in that folder
(`pip install --target folder celery==5.6.3`).
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.acceptance.stage import ROOT, Mailbox, settings_for
from tests.conftest import as_superuser
from tests.truth import Report, differences
from worker.bootstrap import Mirror
from worker.local import cluster
from worker.local.postgres import THROW_AWAY, RunningPostgres, start
from worker.local.process import Child, open_log, spawn
from worker.local.valkey import RunningValkey, start_valkey

OTHER_CELERY = os.environ.get("MAILMIRROR_TEST_CELERY")
PATIENCE = 100.0
"""Seconds; only a broken promise takes that long: the mark of a task that was lost wears off after 75 at most."""
MARK_SECONDS = 121
"""After this long an account that was picked, and whose task was lost, is picked again (store/dispatch.py)."""
HURRY_SECONDS = 4.0
QUICK = {
    "MAILMIRROR_POLL_SECONDS": "1",
    "MAILMIRROR_POLL_SLOWEST": "2",
    "MAILMIRROR_DISPATCH_SECONDS": "0.3",
    "MAILMIRROR_BACK_OFF": "0.5",
    "MAILMIRROR_SLICE_SECONDS": "10",
}
SHIFTED = (
    "create or replace function sync.now() returns timestamptz language sql stable parallel safe"
    " return pg_catalog.now() + interval '{} seconds'"
)


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Return as soon as it is true; fail with `what` was waited for when it never becomes so."""
    until = time.monotonic() + patience
    while not true():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.05)


@dataclass
class Process:
    """One Celery process, which ends when we do, with its log and its children."""

    child: Child
    log: Path

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child.running

    def children(self) -> list[psutil.Process]:
        """The children, the one that has worked most first."""
        found = psutil.Process(self.pid).children()
        return sorted(found, key=lambda child: -sum(child.cpu_times()[:2]))

    def kill(self) -> None:
        """Kill it and its children: as when the machine ends them all."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.child.stop()

    def stop(self) -> None:
        """Ask it to end; what does not listen is killed."""
        self.child.stop()


@dataclass
class Servers:
    """A Postgres that keeps its data and a Valkey that keeps nothing, both to be ended and begun again."""

    folder: Path
    postgres: RunningPostgres = field(init=False)
    valkey: RunningValkey = field(init=False)

    def __post_init__(self) -> None:
        self.postgres = start(data_dir=self.folder / "postgres", settings=THROW_AWAY)
        self.valkey = start_valkey()

    def restart_postgres(self, how: signal.Signals) -> None:
        """End Postgres by a signal of its own (SIGINT: fast, SIGQUIT: at once) and begin it again."""
        port = psycopg.conninfo.conninfo_to_dict(self.postgres.url)["port"]
        os.kill(self.postgres.pid, how)
        wait_until(lambda: not self.postgres.running, "Postgres to end")
        self.postgres.stop()
        self.postgres = start(data_dir=self.folder / "postgres", settings=THROW_AWAY, port=int(str(port)))

    def restart_valkey(self, away: float) -> None:
        """End Valkey at once, and after some seconds begin an empty one in its place."""
        self.kill_valkey()
        time.sleep(away)
        self.start_valkey()

    def kill_valkey(self) -> None:
        """End Valkey at once."""
        os.kill(self.valkey.pid, signal.SIGKILL)
        wait_until(lambda: not self.valkey.running, "Valkey to end")
        self.valkey.stop()

    def start_valkey(self) -> None:
        """Begin an empty Valkey in the place of the one that has ended."""
        password = self.valkey.url.partition("//:")[2].partition("@")[0]
        self.valkey = start_valkey(port=self.valkey.port, password=password)

    def stop(self) -> None:
        """End both, and remove the data: for root it lies behind a link, where PostgreSQL's own user can reach it."""
        self.valkey.stop()
        self.postgres.stop()
        link = self.folder / "postgres"
        if link.is_symlink():
            cluster.discard([link.readlink().parent])


class Fleet:
    """Accounts in one database, and the processes that mirror them."""

    def __init__(self, database_url: str, redis_url: str, upstream_url: str, folder: Path, **more: str) -> None:
        self.plain_url = as_superuser(database_url)
        """For the test's own acts and for the judge."""
        self.redis_url = redis_url
        self.folder = folder
        self.boxes: dict[int, Mailbox] = {}
        self.processes: list[Process] = []
        self.shifted = 0
        self.hurry = False
        """Whether waiting moves the mirror's clock, so that marks of tasks that were lost wear off soon."""
        self.environment = {
            **QUICK,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "MAILMIRROR_KLOUDLESS_URL": upstream_url,
            "MAILMIRROR_DATA": str(folder),
            **more,
        }
        self.mirror = Mirror.open(settings_for(database_url, upstream_url, folder), make_keys=True)

    # --- processes

    def worker(
        self, queues: str = "live,backfill", *options: str, concurrency: int = 2, pool: str = "prefork"
    ) -> Process:
        """Start a worker."""
        name = f"{queues.partition(',')[0]}{len(self.processes)}@%h"
        return self._celery(
            "worker", "--queues", queues, "--pool", pool, "--concurrency", str(concurrency), "--hostname", name,
            "--loglevel", "INFO", "--without-gossip", "--without-mingle", *options,
        )  # fmt: skip

    def beat(self) -> Process:
        """Start a beat."""
        schedule = self.folder / f"schedule{len(self.processes)}"
        return self._celery("beat", "--schedule", str(schedule), "--loglevel", "INFO")

    def _celery(self, *arguments: str) -> Process:
        log = self.folder / f"{arguments[0]}{len(self.processes)}.log"
        with open_log(log) as output:
            child = spawn(
                [sys.executable, "-m", "celery", "-A", "worker.celery", *arguments],
                output=output,
                env=environment(self.environment),
                cwd=ROOT,
                signals=((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)),
            )
        self.processes.append(Process(child, log))
        return self.processes[-1]

    def command(self, *arguments: str, feed: str = "") -> str:
        """Run `mailmirror`; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=ROOT, env=environment(self.environment), input=feed, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self) -> str:
        """What all processes have written."""
        return "\n".join(process.log.read_text(errors="replace") for process in self.processes)

    def stop(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.kill()
        self.mirror.close()

    # --- accounts

    def add(self, box: Mailbox, tenant: str = "default") -> int:
        """Add a mailbox; returns the account's id."""
        account = self.mirror.add_account("kloudless", upstream_id=str(box.id), token=box.token, tenant_id=tenant)
        self.boxes[account.id] = box
        return account.id

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run SQL in a session of its own; rows where there are any."""
        with psycopg.connect(self.plain_url, autocommit=True) as connection:
            found = connection.execute(statement.encode(), values or None)
            return found.fetchall() if found.description else []

    def one(self, statement: str, *values: object) -> Any:
        """The first value of the first row."""
        return self.sql(statement, *values)[0][0]

    def count(self, account: int) -> int:
        return int(self.one("select count(*) from mail.live_messages where account_id = %s", account))

    def let_marks_wear_off(self) -> None:
        """Move the mirror's clock on, so that nobody has to wait for tasks that were lost."""
        self.shifted += MARK_SECONDS
        self.sql(SHIFTED.format(self.shifted))

    def wait_for_polls(self, what: str, patience: float = PATIENCE) -> None:
        """Wait until every account was polled to its end from now on."""
        now = self.one("select sync.now()")
        late = "select count(*) from sync.accounts where status <> 'paused' and (polled_at is null or polled_at <= %s)"
        self._wait(lambda: self.one(late, now) == 0, f"a poll of every account after {what}", patience)

    def wait_for_rest(self, patience: float = PATIENCE) -> None:
        """Wait until every account was polled to its end after this moment, and nothing is due or at work."""
        now = self.one("select sync.now()")
        busy = """
            select count(*) from sync.accounts a where (status = 'active' and (polled_at is null or polled_at <= %s))
               or lease_until is not null or status not in ('active', 'degraded') or backfill_due_at <= sync.now()
               or exists (select from sync.windows w where w.account_id = a.id
                          and (state = 'open' or next_walk_at <= sync.now()))
               or exists (select from sync.problems p where p.account_id = a.id and p.state = 'open')
        """
        self._wait(lambda: self.one(busy, now) == 0, "rest", patience)

    def _wait(self, true: Callable[[], bool], what: str, patience: float) -> None:
        """Wait; in a hurry, the mirror's clock is moved on now and then."""
        hurry_at = time.monotonic() + HURRY_SECONDS

        def look() -> bool:
            nonlocal hurry_at
            if true():
                return True
            if self.hurry and time.monotonic() > hurry_at:
                self.let_marks_wear_off()
                hurry_at = time.monotonic() + HURRY_SECONDS
            return False

        try:
            wait_until(look, what, patience)
        except AssertionError as error:
            error.add_note(self.standing())
            raise

    def standing(self) -> str:
        """Every account in a line, for a failure."""
        rows = self.sql(
            "select id, status, status_reason, failures, lease_owner, polled_at, next_due_at, queued_until,"
            " backfill_due_at, backfill_queued_until, sync.now() from sync.accounts order by id"
        )
        rows += self.sql("select account_id, kind, subject, cause, attempts, not_before from sync.problems"
                         " where state = 'open'")  # fmt: skip
        rows += self.sql("select account_id, state, after, next_walk_at from sync.windows where state = 'open'"
                         " or next_walk_at <= sync.now()")  # fmt: skip
        return "\n".join(map(str, rows))

    def truth(self, account: int) -> Report:
        """Let the judge compare one account."""
        box = self.boxes[account]
        return differences(self.plain_url, box.upstream.admin_url, box.id, account)

    def must_be_equal(self) -> None:
        """Fail unless every mirror is its mailbox."""
        for account in self.boxes:
            report = self.truth(account)
            assert report.equal, f"account {account}\n{report}"


def environment(ours: dict[str, str]) -> dict[str, str]:
    """An environment with our settings and no others."""
    kept = {name: text for name, text in os.environ.items()
            if not name.startswith(("MAILMIRROR_", "DATABASE_URL", "REDIS_URL"))}  # fmt: skip
    if OTHER_CELERY:
        kept["PYTHONPATH"] = OTHER_CELERY
    return {**kept, **ours}


@contextmanager
def running(fleet: Fleet) -> Iterator[Fleet]:
    """Stop the fleet at the end of the with block."""
    try:
        yield fleet
    finally:
        fleet.stop()


def tracebacks(log: str) -> list[str]:
    """The last line of each traceback."""
    return re.findall(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*(.*)", log)
