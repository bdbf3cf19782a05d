"""`python -m benchmarks.crew`: one worker process, which mirrors the accounts it is told to, as fast as it can.

It reads a line of account ids, syncs them one after another, and answers with a line: seconds of CPU and messages.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.acceptance.stage import ROOT
from worker.bootstrap import Mirror
from worker.config import Settings, from_environment, to_environment

PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Member:
    """One such process, seen from outside."""

    process: subprocess.Popen[str]

    def begin(self, accounts: Sequence[int]) -> None:
        """Send it to work."""
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, accounts)) + "\n")
        self.process.stdin.flush()

    def result(self) -> tuple[float, int]:
        """Wait for it; returns seconds of CPU and messages read."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A worker process of the bench ended early.")
        said = json.loads(line)
        return float(said["cpu"]), int(said["read"])


@contextmanager
def member(settings: Settings) -> Iterator[Member]:
    """Have a worker process for the length of a with block, with everything imported and connected."""
    command = [sys.executable, "-m", "benchmarks.crew"]
    environment = to_environment(settings, os.environ)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield Member(process)
        finally:
            process.stdin.close()
            process.wait(30)


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def main() -> None:
    """Work until there are no more orders."""
    mirror = Mirror.open(from_environment())
    print("ready", flush=True)
    for line in sys.stdin:
        before, read = time.process_time(), 0
        for account in map(int, line.split()):
            read += mirror.sync(account, stop=_after(PATIENCE)).totals.read
        print(json.dumps({"cpu": time.process_time() - before, "read": read}), flush=True)
    mirror.close()


if __name__ == "__main__":
    main()
