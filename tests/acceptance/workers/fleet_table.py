"""`python -m tests.acceptance.workers.fleet_table --write`: what a big backfill does to the others; docs/fleet.md.

Real workers, beat, Valkey, sandbox and a PostgreSQL with its usual, durable settings share this machine. Twice in turn:
a minute without a backfill, then one account with a long history. The lag of a message runs from before the request
that delivers it to the commit of the transaction that wrote its row.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.acceptance.corpus_table import machine
from tests.acceptance.stage import ROOT, Mailbox, Upstream, upstream
from tests.acceptance.workers.fleet import Fleet, running, wait_until
from tests.conftest import prepare
from worker.local.postgres import start
from worker.local.valkey import start_valkey
from worker.store import accounts

PAGE = ROOT / "docs" / "fleet.md"
SMALL, SMALL_MESSAGES = 49, 200
POLL, DISPATCH, EVERY = 5, 1, 0.2
LAG = """
    select extract(epoch from pg_xact_commit_timestamp(xmin))::float8 from mail.messages
    where account_id = %s and message_id = %s
"""
HEAD = """# A big backfill beside other accounts

{small} accounts with {each} messages each are polled every {poll} seconds; every {every} seconds one of them, drawn at
random, gets a new message. An account with {big:,} messages is added to them, twice. How long does it take from a
message's arrival to the commit of its row, for the {small}, while that history is read, and while there is none?

Written by `python -m tests.acceptance.workers.fleet_table --write` on {machine}.
Two Celery workers with two processes each (`live`, `backfill`), beat, Valkey, PostgreSQL with its durable settings, the
sandbox that serves the mail and the program that measures share the processors. `MAILMIRROR_POLL_SECONDS` and
`MAILMIRROR_POLL_SLOWEST` are {poll}, `MAILMIRROR_DISPATCH_SECONDS` is {dispatch}; everything else is as it comes.
Load average of the machine before the start: {load:.1f}.

Waiting alone costs half the interval and half the time between two looks of beat in the middle: {floor:.2f} s.
"""


@dataclass(frozen=True)
class Phase:
    """One part of the measurement."""

    name: str
    lags: list[float]
    seconds: float
    messages: int
    cpu: dict[str, float]

    def cells(self) -> tuple[str, ...]:
        ordered = sorted(self.lags)
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        rate = f"{self.messages / self.seconds:,.0f}" if self.messages else ""
        return (self.name, f"{len(ordered)}", f"{statistics.median(ordered):.2f}", f"{p95:.2f}", f"{ordered[-1]:.2f}",
                f"{self.seconds:.1f}", rate)  # fmt: skip


class Arrivals(threading.Thread):
    """Lets mail arrive in the small mailboxes until told to stop."""

    def __init__(self, boxes: dict[int, Mailbox], dice: random.Random) -> None:
        super().__init__(daemon=True)
        self._boxes, self._dice = boxes, dice
        self._stopped = threading.Event()
        self.sent: list[tuple[int, str, float]] = []

    def run(self) -> None:
        while not self._stopped.wait(EVERY):
            account = self._dice.choice(list(self._boxes))
            at = time.time()
            [message] = self._boxes[account].deliver()
            self.sent.append((account, message, at))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


class Measurement:
    """A fleet at work, and what it costs."""

    def __init__(self, fleet: Fleet, roles: dict[str, int], small: dict[int, Mailbox], seed: int) -> None:
        self._fleet, self._roles, self._small = fleet, roles, small
        self._dice = random.Random(seed)

    def phase(self, name: str, messages: int, over: Callable[[], bool]) -> Phase:
        """Let mail arrive until it is over, and until the last of it is mirrored."""
        cpu, began = self._cpu(), time.monotonic()
        arrivals = Arrivals(self._small, self._dice)
        arrivals.start()
        while not over():
            time.sleep(0.5)
        seconds = time.monotonic() - began
        used = {role: spent - cpu[role] for role, spent in self._cpu().items()}
        arrivals.stop()
        return Phase(name, [self._lag(*one) for one in arrivals.sent], seconds, messages, used)

    def _lag(self, account: int, message: str, at: float) -> float:
        until = time.monotonic() + 300
        while not (found := self._fleet.sql(LAG, account, message)):
            assert time.monotonic() < until, f"message {message} never came"
            time.sleep(0.2)
        return float(found[0][0]) - at

    def _cpu(self) -> dict[str, float]:
        return {role: cpu_of(pid) for role, pid in self._roles.items()}


def cpu_of(pid: int) -> float:
    """Seconds of processor time of a process, its children, and those of them that have ended."""
    own = psutil.Process(pid)
    if own == psutil.Process():
        return sum(own.cpu_times()[:2])
    family = [own, *own.children(recursive=True)]
    total = 0.0
    for process in family:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def sandbox_pid() -> int:
    """The process of the sandbox that was started here."""
    return next(child.pid for child in psutil.Process().children() if "worker.sandbox" in child.cmdline())


def complete(fleet: Fleet, account: int) -> bool:
    """Whether an account's whole history is mirrored."""
    open_windows = "select count(*) filter (where state = 'open'), count(*) from sync.windows where account_id = %s"
    [(left, all_of_them)] = fleet.sql(open_windows, account)
    return bool(all_of_them) and not left


def caught_up(fleet: Fleet) -> None:
    """Wait until every account is complete and was polled after this moment."""
    wait_until(lambda: all(complete(fleet, account) for account in fleet.boxes), "complete mirrors", 600)
    fleet.wait_for_polls("their completion")


@contextmanager
def at_work(folder: Path) -> Iterator[tuple[Fleet, Upstream, dict[str, int], str]]:
    """Start everything."""
    with (
        start(settings={"track_commit_timestamp": "on"}) as postgres,
        start_valkey() as valkey,
        upstream("--accounts", str(SMALL), "--messages", str(SMALL_MESSAGES)) as serving,
    ):
        url = prepare(postgres.url)
        settings = {"MAILMIRROR_POLL_SECONDS": POLL, "MAILMIRROR_POLL_SLOWEST": POLL,
                    "MAILMIRROR_DISPATCH_SECONDS": DISPATCH, "MAILMIRROR_SLICE_SECONDS": 30,
                    "MAILMIRROR_BACK_OFF": 10}  # fmt: skip
        as_text = {name: str(value) for name, value in settings.items()}
        with running(Fleet(url, valkey.url, serving.url, folder, **as_text)) as fleet:
            roles = {
                "worker live": fleet.worker("live").pid, "worker backfill": fleet.worker("backfill").pid,
                "beat": fleet.beat().pid, "PostgreSQL": postgres.pid, "Valkey": valkey.pid,
                "sandbox": sandbox_pid(), "this program": psutil.Process().pid,
            }  # fmt: skip
            yield fleet, serving, roles, machine(postgres)


def measure(big: int, quiet: float) -> tuple[list[Phase], str, bool]:
    """Measure all phases; also says on what, and whether every mirror was equal at the end."""
    with tempfile.TemporaryDirectory() as folder, at_work(Path(folder)) as (fleet, serving, roles, what):
        small = {fleet.add(box): box for box in serving.served()}
        caught_up(fleet)
        measurement = Measurement(fleet, roles, small, seed=1)
        phases = []
        for turn in ("first", "second"):
            end = time.monotonic() + quiet
            phases.append(measurement.phase(f"no backfill, {turn}", 0, lambda end=end: time.monotonic() >= end))  # type: ignore[misc]  # bound at once
            box = serving.mailbox(big)
            account = fleet.add(box)
            phases.append(
                measurement.phase(f"{big:,} messages, {turn}", big, lambda account=account: complete(fleet, account))  # type: ignore[misc]  # bound at once
            )
            caught_up(fleet)
            report = fleet.truth(account)
            if not report.equal:
                sys.stderr.write(f"{report}\n")
                return phases, what, False
            accounts.pause(fleet.mirror.engine, account)
            del fleet.boxes[account]
        return phases, what, all(fleet.truth(account).equal for account in small)


def page(phases: list[Phase], what: str, big: int, *, load: float, equal: bool) -> Iterator[str]:
    """The page, line by line."""
    yield HEAD.format(small=SMALL, each=SMALL_MESSAGES, poll=POLL, every=EVERY, big=big, machine=what,
                      dispatch=DISPATCH, load=load, floor=POLL / 2 + DISPATCH / 2)  # fmt: skip
    yield "| phase | new messages | lag, median (s) | 95 % (s) | most (s) | phase took (s) | backfill, messages/s |"
    yield "|---" + "|---:" * 6 + "|"
    for phase in phases:
        yield "| " + " | ".join(phase.cells()) + " |"
    yield ""
    yield f"All mirrors against the sandbox's own truth at the end: {'equal' if equal else '**they differ**'}."
    yield ""
    yield "Processor time by process, in percent of one core:"
    yield ""
    yield "| phase | " + " | ".join(phases[0].cpu) + " |"
    yield "|---" + "|---:" * len(phases[0].cpu) + "|"
    for phase in phases:
        yield (
            f"| {phase.name} | " + " | ".join(f"{100 * used / phase.seconds:.0f}" for used in phase.cpu.values()) + " |"
        )


def main() -> int:
    """Measure everything and print or write the page; returns 1 when a mirror is not equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/fleet.md instead of printing")
    parser.add_argument("--messages", type=int, default=100_000, help="messages of the big account")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds of a phase without a backfill")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    phases, what, equal = measure(given.messages, given.quiet)
    text = "\n".join(page(phases, what, given.messages, load=load, equal=equal)) + "\n"
    if given.write:
        PAGE.write_text(text)
    else:
        sys.stdout.write(text)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
