"""How a poll notices that events may have been lost before it could read them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.unit.sync.ends import NOW, Mailbox, MemoryStore, StillClock
from worker.records import Cursor, Position
from worker.sync.activity import follow
from worker.sync.limits import SAFE_AGE, Limits
from worker.sync.run import Run


class Slept(MemoryStore):
    """A store whose time passes while a poll is under way."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.moments: Iterator[datetime] = iter([NOW])
        self.later = NOW + timedelta(seconds=seconds)

    def now(self) -> datetime:
        return next(self.moments, self.later)


@pytest.mark.parametrize(("seconds", "anew"), [(60.0, False), (SAFE_AGE - 30.0, False), (SAFE_AGE + 1.0, True)])
def test_a_poll_that_took_a_day_walks_everything_again(seconds: float, anew: bool) -> None:
    mailbox, store = Mailbox({"m1": NOW}), Slept(seconds)
    engine = Run(mailbox, store, StillClock(), Limits())
    try:
        position = Position(Cursor(str(len(mailbox.log))), True, 10.0)
        (batch,) = follow(mailbox, store, engine._looker, position)
    finally:
        engine.close()
    assert batch.ledger.walk_all is anew
