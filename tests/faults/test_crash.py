"""`kill -9` at every step of a sync: the next run goes on where it stopped, and mirror and mailbox end equal.

MAILMIRROR_TEST_STEPS=all kills at every step, "17 18" at these; by default at every few.
"""

import itertools
import os
from collections.abc import Iterator, Sequence

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mailbox, Mirrored, Upstream
from tests.faults.crash import Forks, forks

WANTED = os.environ.get("MAILMIRROR_TEST_STEPS", "")
ONE_AT_A_TIME = {"parallel_windows": 1, "parallel_fetches": 1, "page_size": 5, "window_messages": 12}
IN_VAIN = 8
"""Requests that a killed run may have made for nothing: those in flight, and what every run begins with."""


@pytest.fixture(scope="module")
def server() -> Iterator[Forks]:
    with forks() as running:
        yield running


def chosen(steps: int, at_most: int) -> Sequence[int]:
    """The steps to kill at."""
    if WANTED and WANTED != "all":
        return [int(step) for step in WANTED.split()]
    every = 1 if WANTED == "all" else max(1, -(-steps // at_most))
    return range(1 + steps % every, steps + 1, every)


def again(step: str) -> str:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    return f"repeat with: MAILMIRROR_TEST_STEPS='{step}' .venv/bin/pytest '{test}'"


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
def test_a_first_sync_killed_at_any_step_ends_equal_and_does_not_begin_anew(
    calm_upstream: Upstream, mirror_of: MakeMirror, server: Forks
) -> None:
    box = calm_upstream.mailbox(24, days=40, switches={"page_size_cap": 5})
    accounts = mirrors(mirror_of, box)
    whole = next(accounts)
    before = box.last_request()
    steps = server.sync(environment(whole), whole.id).steps
    requests = box.last_request() - before
    whole.must_be_equal()
    for step, mirrored in zip(chosen(steps, 30), accounts, strict=False):
        before = box.last_request()
        died = server.sync(environment(mirrored), mirrored.id, step)
        assert died.killed, again(str(step))
        assert cursor_and_ledger_began_together(mirrored), (died, again(str(step)))
        known = mirrored.live()
        assert mirrored.sync().quiet
        made = box.last_request() - before
        mirrored.close()
        report = mirrored.truth()
        assert report.equal, f"killed before: {died.last}\n{again(str(step))}\n{report}"
        assert report.open_problems == (), again(str(step))
        assert known <= mirrored.live(), again(str(step))
        assert made <= requests + IN_VAIN, f"{made} requests where {requests} do\n{again(str(step))}"


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
def test_a_later_sync_killed_at_any_step_ends_equal_by_events_alone(
    calm_upstream: Upstream, mirror_of: MakeMirror, server: Forks
) -> None:
    measured, box = calm_upstream.mailbox(16, days=40), calm_upstream.mailbox(16, days=40)
    [like] = prepared(mirrors(mirror_of, measured), 1)
    change(measured)
    steps = server.sync(environment(like), like.id).steps
    like.must_be_equal()
    places = chosen(steps, 20)
    ready = prepared(mirrors(mirror_of, box), len(places))
    change(box)
    for step, mirrored in zip(places, ready, strict=True):
        died = server.sync(environment(mirrored), mirrored.id, step)
        assert died.killed, again(str(step))
        run = mirrored.sync()
        assert run.totals.walks == 0, "a walk would hide a cursor that ran ahead"
        mirrored.close()
        report = mirrored.truth()
        assert report.equal, f"killed before: {died.last}\n{again(str(step))}\n{report}"
        assert report.open_problems == (), again(str(step))


@pytest.mark.fault("P2")
def test_a_sync_killed_again_while_it_recovers_ends_equal(
    calm_upstream: Upstream, mirror_of: MakeMirror, server: Forks
) -> None:
    box = calm_upstream.mailbox(24, days=40, switches={"page_size_cap": 5})
    accounts = mirrors(mirror_of, box)
    whole = next(accounts)
    steps = server.sync(environment(whole), whole.id).steps
    pairs = [(first, second) for first in range(5, steps, steps // 4) for second in range(3, steps // 2, steps // 6)]
    twice = 0
    for (first, second), mirrored in zip(pairs, accounts, strict=False):
        assert server.sync(environment(mirrored), mirrored.id, first).killed
        twice += server.sync(environment(mirrored), mirrored.id, second).killed
        mirrored.sync()
        mirrored.close()
        report = mirrored.truth()
        assert report.equal, f"killed at {first}, then at {second}\n{report}"
    assert twice > len(pairs) // 2
