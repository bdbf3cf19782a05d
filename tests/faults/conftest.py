"""Fixtures of the fault tests: the stage of the acceptance tests, and the check of `fault` marks."""

from pathlib import Path

import pytest

from tests.acceptance.conftest import calm_upstream, mirror_of, shared_upstream
from tests.canary import canaries, pytest_runtest_makereport
from tests.faults import matrix

__all__ = ["calm_upstream", "canaries", "mirror_of", "pytest_runtest_makereport", "shared_upstream"]

HERE = Path(__file__).parent
STAGE = {"shared_upstream", "calm_upstream", "mirror_of"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse marks that name no row; mark what starts a sandbox, so that `make check` leaves it out."""
    matrix.check(items)
    for item in items:
        if item.path.is_relative_to(HERE) and STAGE & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)
