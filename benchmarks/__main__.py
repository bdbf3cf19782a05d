"""`python -m benchmarks [--only PART[,PART]] [--rounds N]`: run the parts, print one table, keep the figures."""

import argparse
import importlib
import time

from benchmarks import report, server

PARTS = ("store", "idle", "growth", "latency", "workers", "memory", "fleet", "neighbours", "profiles", "path")
MODULES = {"visible": "neighbours"}
"""Parts that are measured along with another one."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, help="rounds that count (each part has its own default)")
    given = parser.parse_args()
    wanted = list(dict.fromkeys(MODULES.get(name, name) for name in given.only.split(",") if name))
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    rows: list[report.Row] = []
    chosen = server.chosen()
    facts = report.machine(postgres=chosen.major, lz4=server.has_lz4(chosen))
    for name in wanted:
        began = time.monotonic()
        part = importlib.import_module(f"benchmarks.{name}")
        # A part that is asked for by its name may take its time.
        measure = getattr(part, "alone", part.run) if wanted == [name] else part.run
        found = measure(given.rounds) if given.rounds else measure()
        rows += found
        report.keep(found, facts)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    report.show(rows)


if __name__ == "__main__":
    main()
