"""What most commands begin with: the settings, the open mirror, and the account a person named."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker import config
from worker.config import Settings

if TYPE_CHECKING:  # loading the database takes half a second, which `--help` need not wait for
    from worker.bootstrap import Mirror


def settings() -> Settings:
    """Read the settings; raises UsageError naming the variable that is wrong."""
    return config.from_environment()


@contextmanager
def mirror() -> Iterator["Mirror"]:
    """Open the mirror of the settings for one command."""
    from worker.bootstrap import Mirror

    opened = Mirror.open(settings())
    try:
        yield opened
    finally:
        opened.close()
