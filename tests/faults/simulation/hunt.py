"""Plays seeds in a process of its own, perhaps with a mutant in it, until one fails as it is said to.

    python -m tests.faults.simulation.hunt DATABASE_URL WORDS SEED [SEED …]

The database is one that a simulation has prepared. Prints the first seed whose failure begins with the words; exit
code 1 when none does. The mutant is the one that MAILMIRROR_TEST_MUTANT names.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.faults import mutants  # first: it takes the mutant in before anything of the worker is imported
from tests.faults.simulation.play import play
from tests.faults.simulation.postgres import Postgres


def hunt(url: str, words: str, seeds: Sequence[int]) -> int | None:
    """Play until a seed fails with these words; failures in other words are told and passed over."""
    opened = Postgres(url, prepare=False)
    try:
        for seed in seeds:
            try:
                play(seed, opened)
            except AssertionError as error:
                sys.stderr.write(f"seed {seed}: {str(error).splitlines()[0]}\n")
                if str(error).startswith(words):
                    return seed
        return None
    finally:
        opened.close()


def killed_by(mutant: str, url: str, words: str, seeds: Sequence[int], patience: float) -> tuple[int | None, str]:
    """Hunt in another process with the mutant in it; returns the seed that kills it, and what was said."""
    command = [sys.executable, "-m", "tests.faults.simulation.hunt", url, words, *map(str, seeds)]
    done = subprocess.run(
        command,
        cwd=mutants.ROOT,
        env={**os.environ, mutants.CHOSEN: mutant},
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    return (int(done.stdout) if done.returncode == 0 else None), done.stderr


if __name__ == "__main__":
    found = hunt(sys.argv[1], sys.argv[2], [int(seed) for seed in sys.argv[3:]])
    if found is None:
        sys.exit(1)
    sys.stdout.write(f"{found}\n")
