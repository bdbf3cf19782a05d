"""Part `fleet`: thousands of accounts polled at their interval by real workers; how late, how far apart, how many.

All of it runs on this machine, the sandbox too (`benchmarks.scene`). The mailboxes are empty: what a poll costs that
finds nothing does not depend on how much is mirrored (part `idle`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import scene
from benchmarks.frame import Spread
from benchmarks.lags import Lags, looked, quantile
from benchmarks.report import Row
from benchmarks.scene import POLLS, Scene

SETTLE = 5.0
RAMP_SECONDS = 5.0
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it."""

    accounts: int
    interval: float
    seconds: float
    """Of looking on with all accounts at work."""
    part_seconds: float
    """Of looking on with a part of them."""


DEFAULT = Size(2000, 60.0, 85.0, 10.0)
FULL = Size(10_000, 300.0, 1200.0, 120.0)


def alone(rounds: int = ROUNDS) -> list[Row]:
    """Measure at full size: the part was asked for by its name."""
    return run(rounds, FULL)


def run(rounds: int = ROUNDS, size: Size = DEFAULT) -> list[Row]:
    """Measure the fleet."""
    arguments = ("--accounts", str(size.accounts), "--messages", "0")
    with scene.installed(size.interval, arguments) as (at_work, [boxes]):
        began = time.monotonic()
        ids = at_work.add(boxes)
        at_work.fill(ids)
        filled = time.monotonic() - began
        at_work.start()
        curve = [_step(at_work, ids[: len(ids) // parts], size.part_seconds) for parts in (4, 2)]
        lags, used = _looked(at_work, ids, size.seconds)
        curve.append(_point(lags, len(ids)))
        at_work.stop()
        rates, most = _ramp(at_work, ids, rounds)
    details = {"curve": curve, "cpu_ms_per_poll": used, "filled_in": round(filled, 1), "interval": size.interval}
    return [
        _row("poll to poll, 95 %, in intervals", _quantiles(lags.apart, size.interval), size, lags.apart, details),
        _row("lag from due to polled, 95 %, in intervals", _quantiles(lags.late, size.interval), size, lags.late),
        Row(
            part="fleet",
            what="most polls in a second when all are due",
            value=rates,
            unit="/s",
            note=f"four live processes; {len(ids):,} accounts; all parts share the machine",
            details={"cpu_ms_per_poll": most},
        ),
    ]


def _looked(at_work: Scene, ids: Sequence[int], seconds: float) -> tuple[Lags, dict[str, float]]:
    at_work.only(ids)
    time.sleep(SETTLE)
    before, polls = at_work.cpu(), at_work.one(POLLS, list(ids))
    lags = looked(at_work.fleet.plain_url, ids, seconds)
    return lags, per_poll(at_work, before, at_work.one(POLLS, list(ids)) - polls)


def per_poll(at_work: Scene, before: dict[str, float], polls: float) -> dict[str, float]:
    """Milliseconds of processor time per poll, by process."""
    return {role: round((spent - before.get(role, 0.0)) / polls * 1e3, 2) for role, spent in at_work.cpu().items()}


def _step(at_work: Scene, ids: Sequence[int], seconds: float) -> dict[str, float]:
    lags, _ = _looked(at_work, ids, seconds)
    return _point(lags, len(ids))


def _point(lags: Lags, count: int) -> dict[str, float]:
    return {
        "accounts": count,
        "polls": len(lags.late),
        "median": round(quantile(lags.late, 0.5), 3),
        "p95": round(quantile(lags.late, 0.95), 3),
    }


def _ramp(at_work: Scene, ids: Sequence[int], rounds: int) -> tuple[Spread, dict[str, float]]:
    """Let everything be due all the time, and count."""
    at_work.only(ids)
    at_work.console.execute("update sync.accounts set next_due_at = sync.now()")
    # More than are done between two looks of beat, so that nobody waits for the next one.
    at_work.start(poll_seconds=1, poll_slowest=1, live_slots=600, dispatch_seconds=1)
    time.sleep(2 * SETTLE)
    found = []
    began = at_work.cpu()
    first = at_work.one(POLLS, list(ids))
    for _ in range(rounds):
        at, before = time.monotonic(), at_work.one(POLLS, list(ids))
        time.sleep(RAMP_SECONDS)
        found.append((at_work.one(POLLS, list(ids)) - before) / (time.monotonic() - at))
    used = per_poll(at_work, began, at_work.one(POLLS, list(ids)) - first)
    at_work.stop()
    return Spread.of(found), used


def _quantiles(values: Sequence[float], interval: float) -> Spread:
    """The 95 % with the median and the most, in intervals."""
    return Spread(quantile(values, 0.95) / interval, quantile(values, 0.5) / interval, max(values) / interval)


def _row(what: str, value: Spread, size: Size, seen: Sequence[float], details: dict[str, Any] | None = None) -> Row:
    note = f"{size.accounts:,} accounts at {size.interval:.0f} s, {len(seen):,} polls; spread: median to most"
    return Row(
        part="fleet",
        what=what,
        value=value,
        must=2.0,
        aim=1.2,
        less_is_better=True,
        note=note,
        details={"seconds_median": quantile(seen, 0.5), "seconds_p95": quantile(seen, 0.95), **(details or {})},
    )
