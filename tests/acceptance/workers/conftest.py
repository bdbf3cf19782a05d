"""Fixtures for what real Celery processes do: a fleet of its own for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.stage import Upstream
from tests.acceptance.workers.fleet import Fleet, running
from tests.canary import search, search_mirror, search_redis
from worker.local.valkey import RunningValkey

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def fleet_of(database: str, valkey: RunningValkey, calm_upstream: Upstream, tmp_path: Path) -> Iterator[MakeFleet]:
    """Make a fleet over a fresh database and an empty Valkey; it is stopped at the end, and all is searched."""
    made: list[Fleet] = []
    with ExitStack() as stack:

        def make(**settings: str) -> Fleet:
            made.append(Fleet(database, valkey.url, calm_upstream.url, tmp_path, **settings))
            return stack.enter_context(running(made[-1]))

        yield make
    for fleet in made:
        search("the log of a worker or beat", fleet.log())
        search_mirror(fleet.plain_url, fleet.environment)
    search_redis(valkey.url)
