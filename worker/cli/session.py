"""What most commands begin with: the settings, the open mirror, and the account a person named."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker import config
from worker.cli import output
from worker.cli.interrupts import Interrupts
from worker.config import Settings
from worker.ports import Source

if TYPE_CHECKING:  # loading the database takes half a second, which `--help` need not wait for
    from worker.bootstrap import Mirror


def settings() -> Settings:
    """Read the settings, and say which variables are none; raises UsageError naming the one that is wrong."""
    found = config.from_environment()
    for sentence in config.unknown():
        output.note(sentence)
    return found


@contextmanager
def mirror(interrupts: Interrupts | None = None) -> Iterator["Mirror"]:
    """Open the mirror of the settings for one command; its requests can be interrupted where `interrupts` is given."""
    from worker.bootstrap import AccountRow, Mirror

    class Opened(Mirror):
        def source(self, account: AccountRow, token: str | None) -> Source:
            found = super().source(account, token)
            return found if interrupts is None else interrupts.watch(found)

    opened = Opened.open(settings())
    try:
        yield opened
    finally:
        opened.close()
