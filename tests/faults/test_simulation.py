"""Whatever the order in which workers, owner, upstream, time and death act: every promise holds at every commit.

The seeds and how to choose them stand in `simulation/seeds.py`; what is promised, in `simulation/invariants.py`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import PostgresServer
from tests.faults import mutants
from tests.faults.simulation.hunt import killed_by
from tests.faults.simulation.play import play
from tests.faults.simulation.postgres import Postgres
from tests.faults.simulation.seeds import chosen

BITTEN = (
    ("no fence", "P9", range(40)),
    ("cursor before rows", "I2", range(40)),
    ("cursor after backfill", "I2", range(80)),
    ("a list revives a tombstone", "I12", range(80)),
    ("delete without GET", "I12", range(40)),
)
"""Known-bad builds, the promise that each breaks, and the seeds among which one must show it."""


@pytest.fixture(scope="module")
def simulated(postgres: PostgresServer) -> Iterator[Postgres]:
    """A database whose time only the simulation moves, one for many simulations."""
    name = postgres.create(postgres.migrated_template())
    opened = Postgres(postgres.url(name))
    yield opened
    opened.close()
    postgres.drop(name)


@pytest.mark.parametrize("seed", chosen())
def test_every_promise_holds_whatever_the_schedule(simulated: Postgres, seed: int) -> None:
    play(seed, simulated)


@pytest.mark.fault("P1", "P3", "P9", "U4", "U15", "U22", "U27", "U31")
def test_all_that_can_happen_does(simulated: Postgres) -> None:
    missing = {
        "dies: now", "dies before COMMIT", "its answer is lost", "is stopped for", "turn: LeaseLostError",
        "UpstreamFailedError", "PageTokenLostError", "CursorLostError", "events shuffled",
        "new mail not in a list", "deleted mail in a list", "event dropped",
    }  # fmt: skip
    for seed in range(60):
        missing -= play(seed, simulated).happened.keys()
        if not missing:
            break
    assert missing == set(), "no seed met these"


@pytest.mark.parametrize("seed", [2, 6])
def test_a_seed_is_the_same_schedule_every_time(simulated: Postgres, seed: int) -> None:
    first, again = play(seed, simulated).trace, play(seed, simulated).trace
    assert first == again
    assert len(first) > 50


def test_a_seed_is_the_same_schedule_in_another_process(simulated: Postgres) -> None:
    """Hashes of texts differ there, and so do all times, process ids and threads."""
    code = (
        "import sys; from tests.faults.simulation.play import play, Postgres;"
        " opened = Postgres(sys.argv[1], prepare=False); print(*play(2, opened).trace, sep='\\n'); opened.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, simulated.url],
        cwd=mutants.ROOT,
        env={**os.environ, "PYTHONHASHSEED": "17"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == list(play(2, simulated).trace)


@pytest.mark.parametrize(
    ("text", "seeds"), [("4711", [4711]), ("0-3", [0, 1, 2, 3]), ("3,7-9 11", [3, 7, 8, 9, 11]), ("5-4", [])]
)
def test_seeds_are_read_as_numbers_and_spans(text: str, seeds: list[int]) -> None:
    assert list(chosen(text)) == seeds


@pytest.mark.slow
@pytest.mark.parametrize(("mutant", "promise", "seeds"), BITTEN, ids=[name for name, _, _ in BITTEN])
def test_a_broken_promise_is_seen(simulated: Postgres, mutant: str, promise: str, seeds: range) -> None:
    seed, said = killed_by(mutant, simulated.url, promise, seeds, patience=900)
    assert seed is not None, f"{mutant!r} lives under {len(seeds)} seeds\n{said[-2000:]}"
