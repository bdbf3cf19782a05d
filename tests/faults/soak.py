"""`python -m tests.faults.soak --minutes 10`: mailboxes that change, faults, and deaths, all at once and for long.

Real workers, beat, Valkey, PostgreSQL and sandbox. Twenty changes a second over all mailboxes; every few seconds a
fault of the next kind that the sandbox knows is armed; every quarter of a minute something is killed. A person looks in
now and then and does what only a person may: resumes an account that was refused, confirms deletions that are held. One
worker (threads) is never killed: its memory is judged. At the end everything rests, and every mirror must be equal.

Prints one table; exit 1 when a promise was broken. Memory and log files stay in --keep.
"""

import argparse
import contextlib
import itertools
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.acceptance.stage import Mailbox, Upstream, upstream
from tests.acceptance.workers.fleet import PATIENCE, SHIFTED, Fleet, Servers, running
from tests.conftest import prepare
from tests.faults.memory import Memory, slope
from worker.errors import MailmirrorError
from worker.store import accounts

SERVICES = ("gmail", "outlook_email", "imap", "exchange_email")
BRIEF: dict[str, dict[str, Any]] = {
    "hang": {"seconds": 3},
    "slow_answer": {"seconds": 2},
    "slow_body": {"seconds": 2},
    "slow_drip": {"bytes": 4000, "seconds": 0.05},
    "rate_limit": {"retry_after": 2},
    "deep_nesting": {"depth": 50_000},
}
"""What a fault needs in order to be over soon."""
LONG = 30.0
"""Seconds an account may wait before the person lets it go on."""
WARM_UP = 0.3
"""Share of the time after which memory is judged."""
LARGEST_ANSWER = 32 << 20
MOST_MEMORY = 300.0
"""Megabytes a process may hold at any moment: two of the largest answers at once, and what it needs anyway."""


@dataclass(frozen=True)
class Plan:
    """How long, how much, how often; seconds."""

    seconds: float
    mailboxes: int = 8
    messages: int = 1000
    changes: float = 20.0
    """Changes a second, over all mailboxes."""
    fault_every: float = 4.0
    kill_every: float = 15.0
    walk_every: float = 5.0
    seed: int = 1


@dataclass
class Outcome:
    """What is printed, and what was broken."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def table(self) -> str:
        width = max(len(name) for name, _ in self.rows)
        lines = [f"{name:{width}}  {value}" for name, value in self.rows]
        return "\n".join([*lines, *(f"BROKEN: {one}" for one in self.broken)]) + "\n"

    def judge(self, good: bool, what: str) -> None:
        if not good:
            self.broken.append(what)


class Every(threading.Thread):
    """Does something again and again until told to rest; a failure is kept and told by `rest`."""

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._seconds, self._act = seconds, act
        self._resting = threading.Event()
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        due = time.monotonic()
        while not self._resting.wait(max(0.0, due - time.monotonic())):
            due += self._seconds
            try:
                self._act()
            except Exception as error:  # noqa: BLE001  # raised in the thread that waits for this one
                self._error = error
                return

    def rest(self) -> None:
        self._resting.set()
        self.join()
        if self._error is not None:
            raise self._error


@contextlib.contextmanager
def while_postgres_is_away() -> Iterator[None]:
    """Leave it for the next time: it is away because this very program has ended it."""
    with contextlib.suppress(psycopg.OperationalError, MailmirrorError):
        yield


class Soak:
    """One run."""

    def __init__(self, plan: Plan, fleet: Fleet, servers: Servers, up: Upstream) -> None:
        self.plan, self.fleet, self.servers, self.up = plan, fleet, servers, up
        self.dice = random.Random(plan.seed)
        self.killed: Counter[str] = Counter()
        self.gave_up: list[str] = []
        self.person: Counter[str] = Counter()
        self.armed: Counter[str] = Counter()
        self.changes = 0
        for number in range(plan.mailboxes):
            fleet.add(up.mailbox(plan.messages, SERVICES[number % len(SERVICES)], days=400))
        self.workers = {"live": fleet.worker("live"), "backfill": fleet.worker("backfill")}
        self.spared = fleet.worker("live,backfill", pool="threads", concurrency=2)
        self.workers |= {"spared": self.spared, "beat": fleet.beat()}
        self.lock = threading.Lock()
        self.memory = Memory(lambda: {role: one for role, one in self.workers.items() if role != "beat"})

    @property
    def boxes(self) -> list[Mailbox]:
        return list(self.fleet.boxes.values())

    # --- what happens

    def change(self) -> None:
        """A tenth of a second's changes, in the next mailbox."""
        many = max(1, round(self.plan.changes / 10))
        self.boxes[self.changes // many % len(self.boxes)].churn(many, self.plan.seed * 100_000 + self.changes)
        self.changes += many

    def arm(self, kinds: Iterator[str]) -> None:
        """Let the next kind of fault meet an account."""
        kind = next(kinds)
        self.dice.choice(self.boxes).arm(kind, count=self.dice.randint(1, 2), args=BRIEF.get(kind, {}))
        self.armed[kind] += 1

    def walk(self) -> None:
        """Make an account's windows due, as if their day had come: faults of lists need lists."""
        with while_postgres_is_away():
            account = self.dice.choice(list(self.fleet.boxes))
            self.fleet.sql(
                "update sync.windows set next_walk_at = sync.now() where account_id = %s and state <> 'open'", account
            )
            self.fleet.sql("update sync.accounts set backfill_due_at = sync.now() where backfill_due_at > sync.now()")

    def look_in(self) -> None:
        """Do what a person would be asked to do."""
        with while_postgres_is_away():
            for account, status in self.fleet.sql(
                "select id, status from sync.accounts where status in ('auth_required', 'gone') or"
                " status = 'backing_off' and next_due_at > sync.now() + make_interval(secs => %s)", LONG
            ):  # fmt: skip
                accounts.resume(self.fleet.mirror.engine, account)
                self.person[f"resumed ({status})"] += 1
            self.fleet.sql("delete from sync.throttles where until > sync.now() + make_interval(secs => %s)", LONG)
            for (account,) in self.fleet.sql(
                "select distinct account_id from sync.problems where kind = 'held_delete' and state = 'open'"
            ):
                self.fleet.mirror.confirm_deletes(account)
                self.person["confirmed deletions"] += 1

    # --- what dies

    def disasters(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What is killed, in turn."""
        return itertools.cycle((
            ("worker child", lambda: self.kill_child("live")),
            ("worker with its children", lambda: self.kill("backfill")),
            ("Postgres session", self.kill_backend),
            ("Valkey", lambda: self.servers.restart_valkey(away=1.0)),
            ("beat", lambda: self.kill("beat")),
            ("Postgres, fast restart", lambda: self.servers.restart_postgres(signal.SIGINT)),
            ("worker child", lambda: self.kill_child("backfill")),
            ("worker with its children", lambda: self.kill("live")),
        ))  # fmt: skip

    def strike(self, turn: Iterator[tuple[str, Callable[[], None]]]) -> None:
        what, act = next(turn)
        with self.lock:
            act()
        self.killed[what] += 1

    def kill(self, role: str) -> None:
        """Kill a process and begin it again, as a supervisor would."""
        self.workers[role].kill()
        self.begin(role)

    def begin(self, role: str) -> None:
        fleet = self.fleet
        self.workers[role] = fleet.beat() if role == "beat" else fleet.worker(role)

    def kill_child(self, role: str) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            self.workers[role].children()[0].kill()

    def kill_backend(self) -> None:
        """Kill a session's process: Postgres ends all others and recovers."""
        with while_postgres_is_away():
            [(pid,)] = self.fleet.sql(
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                " and backend_type = 'client backend' order by state = 'active' desc, random() limit 1"
            )
            psutil.Process(pid).kill()

    def supervise(self) -> None:
        """Begin again what ended by itself, and remember it."""
        with self.lock:
            for role, process in list(self.workers.items()):
                if not process.running:
                    self.gave_up.append(role)
                    if role == "spared":
                        raise AssertionError(
                            f"the worker that nobody kills has ended:\n{process.log.read_text()[-3000:]}"
                        )
                    self.begin(role)

    # --- how it goes

    def run(self) -> None:
        """Let everything happen for as long as planned."""
        kinds = sorted(self.up.get("/faults")["kinds"])
        self.dice.shuffle(kinds)
        rotating, turn, plan = itertools.cycle(kinds), self.disasters(), self.plan
        at_work = [
            Every(0.1, self.change),
            Every(plan.fault_every, lambda: self.arm(rotating)),
            Every(plan.walk_every, self.walk),
            Every(1.0, self.supervise),
            Every(5.0, self.look_in),
            Every(2.0, self.memory.take),
        ]
        end = time.monotonic() + plan.seconds
        try:
            while time.monotonic() + plan.kill_every < end:
                time.sleep(plan.kill_every)
                self.strike(turn)
            time.sleep(max(0.0, end - time.monotonic()))
        finally:
            for one in at_work:
                one.rest()

    def rest(self) -> int:
        """Let everything come to rest; returns how many mirrors were equal before a day was over."""
        self.up.post("/faults/clear")
        person = Every(3.0, self.look_in)
        try:
            self._wait_for_rest(3600)
            equal = sum(self.fleet.truth(account).equal for account in self.fleet.boxes)
            # Accounts that said they had no activity are asked again after a day.
            self.fleet.sql("update sync.windows set next_walk_at = sync.now() where state <> 'open'")
            self._wait_for_rest(25 * 3600)
        finally:
            person.rest()
        return equal

    def _wait_for_rest(self, seconds: int) -> None:
        """Move the clock on, now and then: it ends all waits at once, but also the leases of who is at work."""
        for patience in (PATIENCE, 2 * PATIENCE, 3 * PATIENCE):
            self.fleet.shifted += seconds
            self.fleet.sql(SHIFTED.format(self.fleet.shifted))
            with contextlib.suppress(AssertionError):
                self.fleet.wait_for_rest(patience)
                return
        self.fleet.wait_for_rest(PATIENCE)

    def told(self, equal_before: int, began: float) -> Outcome:
        """Judge and tell."""
        fleet, outcome = self.fleet, Outcome()
        log = fleet.log()
        fired = {kind: count for kind, count in self.up.get("/faults")["fired"].items() if count}
        truths = {account: fleet.truth(account) for account in fleet.boxes}
        equal = sum(report.equal for report in truths.values())
        problems = sum(len(report.open_problems) for report in truths.values())
        messages = sum(report.checked for report in truths.values())
        unexpected = Counter(re.findall(r"Account \d+ \(\w+\): unexpected (\w+)", log))
        asleep = sorted(set(self.armed) - set(fired))
        ran = self.plan.seconds
        outcome.rows += [
            ("time", f"{ran:.0f} s of disturbance, {time.monotonic() - began - ran:.0f} s until all was at rest"),
            ("mailboxes", f"{len(truths)} with {messages:,} messages at the end"),
            ("changes", f"{self.changes:,} ({self.changes / ran:.1f} a second)"),
            ("faults armed", f"{sum(self.armed.values())} of {len(self.armed)} kinds"),
            ("faults that fired", f"{sum(fired.values())} of {len(fired)} kinds"),
            ("armed and never met", ", ".join(asleep) or "none"),
            ("killed", ", ".join(f"{what} {count}" for what, count in sorted(self.killed.items()))),
            ("ended by themselves", ", ".join(self.gave_up) or "none"),
            ("a person", ", ".join(f"{what} {count}" for what, count in sorted(self.person.items())) or "not needed"),
            ("turns", f"{fleet.one('select sum(lease_epoch) from sync.accounts'):,}"),
            ("turns ended by an error", f"{fleet.one('select count(*) from sync.runs where error is not null'):,}"),
            ("equal after an hour", f"{equal_before} of {len(truths)}"),
            ("equal after a day and a walk", f"{equal} of {len(truths)}"),
            ("problems open", str(problems)),
            ("unexpected errors", ", ".join(f"{kind} {count}" for kind, count in unexpected.items()) or "none"),
        ]  # fmt: skip
        self._memory(outcome)
        outcome.judge(
            equal == len(truths), f"not equal: {[f'{a}: {r}' for a, r in truths.items() if not r.equal]}"[:3000]
        )
        outcome.judge(problems == 0, f"{problems} problems are open")
        outcome.judge(not self.gave_up, f"ended by themselves: {self.gave_up}")
        outcome.judge(not unexpected, f"unexpected errors: {unexpected}")
        return outcome

    def _memory(self, outcome: Outcome) -> None:
        """Judge the worker that was never killed: grown by less than a twelfth since it was warm."""
        samples = self.memory.of(self.spared.pid, WARM_UP * self.plan.seconds)
        tasks = self.spared.log.read_text(errors="replace").count("succeeded in")
        middle = statistics.median(held for _, held in samples)
        grown, span = slope(samples) * (samples[-1][0] - samples[0][0]), samples[-1][0] - samples[0][0]
        highest = max(held for *_, held in self.memory.samples)
        outcome.rows += [
            ("the spared worker", f"{tasks:,} tasks; memory judged over {span:.0f} s"),
            ("its memory", f"median {middle:.1f} MB, slope {60 * slope(samples):+.2f} MB a minute"),
            ("most that any process held", f"{highest:.0f} MB"),
        ]  # fmt: skip
        outcome.judge(grown < middle / 12, f"memory grows: {grown:.1f} MB in {span:.0f} s")
        outcome.judge(highest < MOST_MEMORY, f"a process held {highest:.0f} MB")


def soak(plan: Plan, folder: Path, keep: Path | None = None) -> Outcome:
    """Do all of it; what the processes wrote and held is copied to `keep`."""
    servers = Servers(folder)
    try:
        with upstream("--accounts", "0") as up:
            url = prepare(servers.postgres.url)
            settings = {"MAILMIRROR_PAGE_SIZE": "50", "MAILMIRROR_SLICE_SECONDS": "8",
                        "MAILMIRROR_REQUEST_TIMEOUT": "10", "MAILMIRROR_MAX_RESPONSE": str(LARGEST_ANSWER)}  # fmt: skip
            with running(Fleet(url, servers.valkey.url, up.url, folder, **settings)) as fleet:
                began = time.monotonic()
                run = Soak(plan, fleet, servers, up)
                try:
                    run.run()
                    return run.told(run.rest(), began)
                finally:
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        run.memory.save(keep / "memory.csv")
                        for log in folder.glob("*.log"):
                            shutil.copy(log, keep)
    finally:
        servers.stop()


def main(arguments: Sequence[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for memory.csv and the processes' logs")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        outcome = soak(Plan(seconds=60 * given.minutes, seed=given.seed), Path(folder), given.keep)
    sys.stdout.write(outcome.table())
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
