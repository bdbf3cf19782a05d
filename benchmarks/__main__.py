"""`python -m benchmarks [--only PART[,PART]] [--rounds N]`: run the parts, print one table, keep the figures.

All together they take a quarter of an hour. Parts that are named may take their time: some are larger then.
"""

import argparse
import importlib
import time

from benchmarks import report, server

PARTS = ("store", "idle", "growth", "latency", "workers", "memory", "fleet", "neighbours", "profiles", "path")
MODULES = {"visible": "neighbours"}
"""Parts that are measured along with another one."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", help=f"parts to run, at full size: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, help="rounds that count (each part has its own default)")
    given = parser.parse_args()
    named = given.only.split(",") if given.only else PARTS
    wanted = list(dict.fromkeys(MODULES.get(name, name) for name in named if name))
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    rows: list[report.Row] = []
    seconds: dict[str, float] = {}
    chosen = server.chosen()
    facts = report.machine(postgres=chosen.major, lz4=server.has_lz4(chosen))
    for name in wanted:
        began = time.monotonic()
        part = importlib.import_module(f"benchmarks.{name}")
        measure = getattr(part, "alone", part.run) if given.only else part.run
        found = measure(given.rounds) if given.rounds else measure()
        rows += found
        seconds[name] = time.monotonic() - began
        report.keep(found, {**facts, "seconds": round(seconds[name])})
        print(f"{name}: {seconds[name]:.0f} s", flush=True)
    report.show(rows)
    parts = ", ".join(f"{name} {taken:.0f}" for name, taken in seconds.items())
    print(f"Seconds: {parts}; together {sum(seconds.values()):.0f}", flush=True)


if __name__ == "__main__":
    main()
