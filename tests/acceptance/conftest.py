"""Fixtures of the acceptance tests: one sandbox for all of them, a mailbox and a mirror for each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import Mailbox, Mirrored, Upstream, upstream
from tests.canary import canaries, pytest_runtest_makereport, search_mirror

__all__ = ["canaries", "pytest_runtest_makereport"]

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here starts a sandbox, so `make check` leaves it out."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """A sandbox without accounts, its secrets marked; tests add their own and leave its clock alone."""
    with upstream("--accounts", "0", module="tests.canary") as running:
        yield running


@pytest.fixture
def calm_upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    """The shared sandbox with no fault armed before and after."""
    shared_upstream.post("/faults/clear", fired=True)
    yield shared_upstream
    shared_upstream.post("/faults/clear", fired=True)


MakeMirror = Callable[..., Mirrored]


@pytest.fixture
def mirror_of(database: str, tmp_path: Path) -> Iterator[MakeMirror]:
    """Make mirrors of mailboxes in a fresh database; they are closed at the end, and searched for what may not be."""
    made: list[Mirrored] = []

    def make(box: Mailbox, **settings: Any) -> Mirrored:
        made.append(Mirrored(database, box, tmp_path, **settings))
        return made[-1]

    yield make
    for mirrored in made:
        mirrored.close()
    if made:
        url = database.replace("postgresql+psycopg://", "postgresql://", 1)
        search_mirror(url, {**made[0].environment(), "DATABASE_URL": url})
