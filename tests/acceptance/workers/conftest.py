"""Fixtures for what real Celery processes do: a fleet of its own for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.stage import Upstream
from tests.acceptance.workers.fleet import Fleet, running
from worker.local.valkey import RunningValkey

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def fleet_of(database: str, valkey: RunningValkey, calm_upstream: Upstream, tmp_path: Path) -> Iterator[MakeFleet]:
    """Make a fleet over a fresh database and an empty Valkey; it is stopped at the end."""
    with ExitStack() as stack:

        def make(**settings: str) -> Fleet:
            return stack.enter_context(running(Fleet(database, valkey.url, calm_upstream.url, tmp_path, **settings)))

        yield make
