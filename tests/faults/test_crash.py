"""`kill -9` at every step, and at lines, of a sync: the next run goes on where it stopped, and ends equal.

By default a sample, drawn by MAILMIRROR_TEST_SEED. MAILMIRROR_TEST_POINTS=200 kills at so many lines and pairs of steps
a test, and at every step; MAILMIRROR_TEST_KILL_AT="17 18" at these alone ("17-3" for a pair).
"""

import itertools
import os
import random
from collections.abc import Iterator, Sequence

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mailbox, Mirrored, Upstream
from tests.faults import figures
from tests.faults.crash import Died, Forks, Unit, forks

POINTS = int(os.environ.get("MAILMIRROR_TEST_POINTS", "0"))
KILL_AT = os.environ.get("MAILMIRROR_TEST_KILL_AT", "").split()
SEED = os.environ.get("MAILMIRROR_TEST_SEED", "1")
UNITS: tuple[Unit, ...] = ("step", "line")
ONE_AT_A_TIME = {"parallel_windows": 1, "parallel_fetches": 1, "page_size": 5, "window_messages": 12}
IN_VAIN = 8
"""Requests that a killed run may have made for nothing: those in flight, and what every run begins with."""


@pytest.fixture(scope="module")
def server() -> Iterator[Forks]:
    with forks() as running:
        yield running


def chosen(whole: Died, unit: Unit, at_most: int) -> Sequence[int]:
    """The steps or lines to kill at: of lines, half are drawn from all, half from those that were never run before."""
    if KILL_AT:
        return [int(one) for one in KILL_AT]
    if unit == "step":
        every = 1 if POINTS else max(1, -(-whole.steps // at_most))
        return range(1 + whole.steps % every, whole.steps + 1, every)
    dice, many = random.Random(SEED), (POINTS or at_most) // 2
    # Runs differ by a few lines: the last ones are not for sure.
    any_line = dice.sample(range(1, whole.steps * 49 // 50), many)
    return sorted({*any_line, *dice.sample(whole.fresh[:-20], min(many, len(whole.fresh) - 20))})


def again(point: object) -> str:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    return f"repeat with: MAILMIRROR_TEST_KILL_AT='{point}' .venv/bin/pytest '{test}'"


def environment(mirrored: Mirrored) -> dict[str, str]:
    figures = {f"MAILMIRROR_{name.upper()}": str(value) for name, value in ONE_AT_A_TIME.items()}
    return {**mirrored.environment(), **figures}


def cursor_and_ledger_began_together(mirrored: Mirrored) -> bool:
    """I2: a ledger without a cursor would list first and listen later."""
    windows = mirrored.one("select count(*) from sync.windows where account_id = %s", mirrored.id)
    cursors = mirrored.one("select count(*) from sync.cursors where account_id = %s", mirrored.id)
    return bool(windows) == bool(cursors)


def mirrors(mirror_of: MakeMirror, box: Mailbox) -> Iterator[Mirrored]:
    """One mirror of the same mailbox after another, each an account of its own."""
    for number in itertools.count():
        yield mirror_of(box, tenant=f"step {number}", **ONE_AT_A_TIME)


@pytest.mark.fault("P1")
@pytest.mark.parametrize("unit", UNITS)
def test_a_first_sync_killed_at_any_point_ends_equal_and_does_not_begin_anew(
    calm_upstream: Upstream, mirror_of: MakeMirror, server: Forks, unit: Unit
) -> None:
    box = calm_upstream.mailbox(24, days=40, switches={"page_size_cap": 5})
    accounts = mirrors(mirror_of, box)
    whole = next(accounts)
    before = box.last_request()
    points = chosen(server.sync(environment(whole), whole.id, unit=unit), unit, 14)
    requests = box.last_request() - before
    whole.must_be_equal()
    for step, mirrored in zip(points, accounts, strict=False):
        before = box.last_request()
        died = server.sync(environment(mirrored), mirrored.id, step, unit)
        assert died.killed, again(step)
        assert cursor_and_ledger_began_together(mirrored), (died, again(step))
        known = mirrored.live()
        assert mirrored.sync().quiet
        made = box.last_request() - before
        mirrored.close()
        report = mirrored.truth()
        assert report.equal, f"killed before: {died.last}\n{again(step)}\n{report}"
        assert report.open_problems == (), again(step)
        assert known <= mirrored.live(), again(step)
        assert made <= requests + IN_VAIN, f"{made} requests where {requests} do\n{again(step)}"
    figures.count(f"{unit}s killed at", len(points))


def change(box: Mailbox) -> None:
    """Everything that can happen to mail, once."""
    ids = box.ids()
    box.deliver(2)
    box.deliver(1, created="2001-02-03T04:05:06Z")
    box.delete(message_ids=ids[3:6])
    box.do("relabel", message_ids=ids[8:10], add=["Seen again"], remove=["INBOX"])
    box.delete(message_ids=box.deliver(1))


def prepared(accounts: Iterator[Mirrored], count: int) -> list[Mirrored]:
    """Mirrors that are up to date."""
    ready = []
    for mirrored in itertools.islice(accounts, count):
        assert mirrored.sync().quiet
        mirrored.mirror.engine.dispose()  # hundreds of them must not hold a connection each
        ready.append(mirrored)
    return ready


@pytest.mark.fault("P1")
@pytest.mark.parametrize("unit", UNITS)
def test_a_later_sync_killed_at_any_point_ends_equal_by_events_alone(
    calm_upstream: Upstream, mirror_of: MakeMirror, server: Forks, unit: Unit
) -> None:
    measured, box = calm_upstream.mailbox(16, days=40), calm_upstream.mailbox(16, days=40)
    [like] = prepared(mirrors(mirror_of, measured), 1)
    change(measured)
    places = chosen(server.sync(environment(like), like.id, unit=unit), unit, 10)
    like.must_be_equal()
    ready = prepared(mirrors(mirror_of, box), len(places))
    change(box)
    for step, mirrored in zip(places, ready, strict=True):
        died = server.sync(environment(mirrored), mirrored.id, step, unit)
        assert died.killed, again(step)
        run = mirrored.sync()
        assert run.totals.walks == 0, "a walk would hide a cursor that ran ahead"
        mirrored.close()
        report = mirrored.truth()
        assert report.equal, f"killed before: {died.last}\n{again(step)}\n{report}"
        assert report.open_problems == (), again(step)
    figures.count(f"{unit}s killed at", len(places))


def pairs_of(steps: int) -> Sequence[tuple[int, int]]:
    """Steps to kill at, and steps of the run that recovers."""
    if KILL_AT:
        return [(int(first), int(second)) for first, _, second in (one.partition("-") for one in KILL_AT)]
    dice = random.Random(SEED)
    return [(dice.randrange(5, steps), dice.randrange(3, steps // 2)) for _ in range(POINTS or 8)]


@pytest.mark.fault("P2")
def test_a_sync_killed_again_while_it_recovers_ends_equal(
    calm_upstream: Upstream, mirror_of: MakeMirror, server: Forks
) -> None:
    box = calm_upstream.mailbox(24, days=40, switches={"page_size_cap": 5})
    accounts = mirrors(mirror_of, box)
    whole = next(accounts)
    pairs = pairs_of(server.sync(environment(whole), whole.id).steps)
    twice = 0
    for (first, second), mirrored in zip(pairs, accounts, strict=False):
        assert server.sync(environment(mirrored), mirrored.id, first).killed
        twice += server.sync(environment(mirrored), mirrored.id, second).killed
        mirrored.sync()
        mirrored.close()
        report = mirrored.truth()
        assert report.equal, f"killed at {first}, then at {second}\n{again(f'{first}-{second}')}\n{report}"
        assert report.open_problems == (), again(f"{first}-{second}")
    assert twice >= len(pairs) // 2
    figures.count("pairs of steps killed at", len(pairs))
