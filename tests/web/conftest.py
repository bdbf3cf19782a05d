"""A page over a fresh database, read-only or with a token."""

from collections.abc import Iterator

import pytest

from tests.web.serving import TOKEN, Client, served
from worker.config import Settings


@pytest.fixture
def settings(database: str) -> Settings:
    return Settings(database_url=database)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """The read-only page."""
    with served(settings) as page:
        yield Client(page.port)


@pytest.fixture
def guarded(database: str) -> Iterator[Client]:
    """A page with a token, of which nobody has given it yet."""
    with served(Settings(database_url=database, web_token=TOKEN)) as page:
        yield Client(page.port)
