"""Fixtures of the tests of exports."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import Engine

from tests.acceptance.conftest import mirror_of
from worker.store.engine import connect

__all__ = ["mirror_of"]


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """The worker's engine over a fresh database."""
    opened = connect(database)
    yield opened
    opened.dispose()
