"""Parts `neighbours` and `visible`: what one account's long backfill does to 999 small ones, and to itself.

In turn, in one run: the big account is paused, then it backfills. Mail arrives all the time in accounts drawn at
random, and in the big one while it is read. The big account has a sandbox of its own (`benchmarks.scene`). Its history
is as long as it is said, whether or not the time is enough to read it to its end.
"""

import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from benchmarks import scene
from benchmarks.fleet import per_poll
from benchmarks.frame import Spread
from benchmarks.lags import looked, quantile
from benchmarks.report import Row
from benchmarks.scene import DISPATCH, POLLS, Scene
from tests.acceptance.stage import Mailbox
from tests.acceptance.workers.fleet_table import LAG, Arrivals
from worker.store import accounts

SMALL = int(os.environ.get("BENCH_NEIGHBOURS_SMALL", "999"))
BIG = int(os.environ.get("BENCH_NEIGHBOURS_BIG", "1000000"))
"""Messages."""
INTERVAL = 30.0
ALONE, TOGETHER = 36.0, 54.0
"""Seconds of a phase without and with the backfill."""
SETTLE = 5.0
FEW, ROUNDS = 1, 3
"""Rounds among all parts, and where the part was asked for."""
PATIENCE = 120.0
BOUND = INTERVAL + DISPATCH
Sent = tuple[int, str, float]


@dataclass
class Phases:
    """What was seen, phase by phase."""

    alone: list[list[float]] = field(default_factory=list)
    together: list[list[float]] = field(default_factory=list)
    small: list[Sent] = field(default_factory=list)
    """Mail for small accounts that arrived so early in a backfill's phase that it must have been seen in it."""
    big: list[Sent] = field(default_factory=list)
    backfilled: int = 0
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)


class Street:
    """The small accounts and the big one."""

    def __init__(self, at_work: Scene, small: Mapping[int, Mailbox], big: Mapping[int, Mailbox]) -> None:
        self._at_work, self._small, self._big = at_work, dict(small), dict(big)
        self._dice = random.Random(1)
        self.seen = Phases()

    @property
    def _id(self) -> int:
        return next(iter(self._big))

    def alone(self) -> None:
        """One phase without the backfill."""
        accounts.pause(self._at_work.fleet.mirror.engine, self._id)
        time.sleep(SETTLE)
        arrivals = Arrivals(self._small, self._dice)
        arrivals.start()
        self.seen.alone.append(looked(self._at_work.fleet.plain_url, list(self._small), ALONE).late)
        arrivals.stop()

    def together(self) -> None:
        """One phase with the backfill."""
        accounts.resume(self._at_work.fleet.mirror.engine, self._id)
        time.sleep(SETTLE)
        both = [Arrivals(self._small, self._dice), Arrivals(self._big, self._dice)]
        before, began = self._mirrored(), time.time()
        cpu, polls = self._at_work.cpu(), self._at_work.one(POLLS, list(self._small))
        for one in both:
            one.start()
        self.seen.together.append(looked(self._at_work.fleet.plain_url, list(self._small), TOGETHER).late)
        for one in both:
            one.stop()
        ended = time.time()
        polls = self._at_work.one(POLLS, list(self._small)) - polls
        self.seen.cpu = per_poll(self._at_work, cpu, polls)
        self.seen.backfilled += self._mirrored() - before
        self.seen.seconds += ended - began
        for kept, one in zip((self.seen.small, self.seen.big), both, strict=True):
            kept += [sent for sent in one.sent if sent[2] < ended - BOUND - SETTLE]

    def _mirrored(self) -> int:
        return int(self._at_work.one("select count(*) from mail.messages where account_id = %s", self._id))

    def visible(self, sent: Sequence[Sent]) -> list[float]:
        """Seconds from each arrival to the commit of its row."""
        until = time.monotonic() + PATIENCE
        found = []
        with psycopg.connect(self._at_work.fleet.plain_url, autocommit=True) as connection:
            for account, message, at in sent:
                while (row := connection.execute(LAG.encode(), (account, message)).fetchone()) is None:
                    if time.monotonic() > until:
                        raise SystemExit(f"Message {message} of account {account} never came.")
                    time.sleep(0.2)
                found.append(float(row[0]) - at)
        return found


def alone(rounds: int = ROUNDS) -> list[Row]:
    """Measure in more rounds."""
    return run(rounds)


def run(rounds: int = FEW) -> list[Row]:
    """Measure both parts."""
    few = ("--accounts", str(SMALL), "--messages", "0")
    # Accounts without mail stand before the big one, so that its number is its own.
    many = ("--accounts", str(SMALL), "--messages", "0")
    with scene.installed(INTERVAL, few, many) as (at_work, [boxes, placeholders]):
        ids = at_work.add(boxes)
        at_work.fill(ids)
        big = placeholders[0].upstream.mailbox(BIG)
        street = Street(at_work, dict(zip(ids, boxes, strict=True)), {at_work.add([big])[0]: big})
        at_work.only(ids)
        at_work.start()
        for _ in range(rounds):
            street.alone()
            street.together()
        seen = street.seen
        small, own = street.visible(seen.small), street.visible(seen.big)
    return _rows(seen, small, own)


def _rows(seen: Phases, small: Sequence[float], own: Sequence[float]) -> list[Row]:
    rate = seen.backfilled / seen.seconds
    pairs = [
        (quantile(without, 0.5), quantile(beside, 0.5))
        for without, beside in zip(seen.alone, seen.together, strict=True)
    ]
    details = {
        "medians": pairs,
        "p95": [(quantile(a, 0.95), quantile(b, 0.95)) for a, b in zip(seen.alone, seen.together, strict=True)],
        "polls": [(len(a), len(b)) for a, b in zip(seen.alone, seen.together, strict=True)],
        "backfill_messages_per_second": rate,
        "cpu_ms_per_poll": seen.cpu,
    }
    counts = [sum(map(len, phases)) for phases in (seen.alone, seen.together)]
    note = (
        f"{SMALL:,} accounts at {INTERVAL:.0f} s beside one of {BIG:,} messages, {rate:,.0f} of them a second;"
        f" {len(pairs)} times {counts[0] // len(pairs):,} polls without, {counts[1] // len(pairs):,} with it"
    )
    bound = INTERVAL + DISPATCH
    return [
        Row(
            part="neighbours",
            what="median lag of small accounts with a backfill, against without",
            value=Spread.of(beside / without for without, beside in pairs),
            must=1.10,
            aim=1.03,
            less_is_better=True,
            note=note,
            details=details,
        ),
        _seen("of the account that backfills", own, bound),
        _seen("of the small ones", small, bound),
    ]


def _seen(whose: str, lags: Sequence[float], bound: float) -> Row:
    return Row(
        part="visible",
        what=f"change to visible in SQL, 95 %, {whose}",
        value=Spread(quantile(lags, 0.95), min(lags), max(lags)),
        unit="s",
        must=bound + 1.0,
        aim=bound + 0.3,
        less_is_better=True,
        note=f"{len(lags)} changes; poll interval {INTERVAL:.0f} s, dispatch {DISPATCH} s",
        details={"median": quantile(lags, 0.5)},
    )
