"""What the fault tests share: a mirror that must recover, a clock that can be moved, something done in mid-run."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from tests.acceptance.stage import Mirrored
from worker.bootstrap import Totals

NOW = "create or replace function sync.now() returns timestamptz language sql stable parallel safe return {}"


def shift(mirrored: Mirrored, by: timedelta) -> None:
    """Move the time that is written by so much from the real one."""
    mirrored.sql(NOW.format(f"pg_catalog.now() + interval '{by.total_seconds()} seconds'"))


def wait_until(true: Callable[[], object], what: str) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.01)


def recovers(mirrored: Mirrored) -> None:
    """I1, I7: the next run needs no help, ends equal, and nothing is left to say."""
    assert mirrored.sync().quiet
    report = mirrored.must_be_equal()
    assert report.open_problems == ()
    found = mirrored.sql("select status, status_reason, lease_owner from sync.accounts where id = %s", mirrored.id)
    assert found == [("active", None, None)], found


@contextmanager
def at_commit(mirrored: Mirrored, number: int, act: Callable[[], object]) -> Iterator[Callable[[Totals], None]]:
    """Act once, after this many commits of a run; fails when the run was over before."""
    done = False

    def observe(totals: Totals) -> None:
        nonlocal done
        if totals.commits >= number and not done:
            done = True
            act()

    yield observe
    assert done, "the run was over too soon"


def sync(mirrored: Mirrored, observe: Callable[[Totals], None]) -> Any:
    return mirrored.mirror.sync(mirrored.id, stop=lambda: False, observe=observe)
