"""`kill -9` of `mailmirror sync` at random moments: each run goes on where the last one stopped, and the end is equal.

The seed fixes after how many requests of each run it is killed.
"""

import json
import os
import random
import subprocess
import sys
import time

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import ROOT, Mirrored, Upstream

SEEDS = [int(seed) for seed in os.environ.get("MAILMIRROR_TEST_SEEDS", "1").split()]
MESSAGES = int(os.environ.get("MAILMIRROR_TEST_MESSAGES", "4000"))
KILLS = 10
PAGE = 50
SLACK = 12
"""Requests that a killed run may have made in vain: pages in flight, and what every run begins with."""


def started(mirrored: Mirrored) -> subprocess.Popen[str]:
    """Start `mailmirror sync` in a process of its own."""
    variables = {**mirrored.environment(), "MAILMIRROR_PAGE_SIZE": str(PAGE)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILMIRROR_")}
    command = [sys.executable, "-m", "worker", "sync", str(mirrored.id), "--json"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**kept, **variables})


def run_to_the_end(mirrored: Mirrored) -> str:
    """Run `mailmirror sync` without disturbing it; returns what it printed."""
    with started(mirrored) as process:
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    return printed


def count(mirrored: Mirrored) -> int:
    return int(mirrored.one("select count(*) from mail.messages where account_id = %s", mirrored.id))


def wait_for_requests(mirrored: Mirrored, number: int, process: subprocess.Popen[str]) -> None:
    """Wait until the sandbox has seen this many requests, or the process is done."""
    while process.poll() is None and mirrored.box.last_request() < number:
        time.sleep(0.001)


@pytest.mark.fault("P1")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_sync_killed_ten_times_ends_equal_and_never_begins_anew(
    calm_upstream: Upstream, mirror_of: MakeMirror, seed: int
) -> None:
    dice = random.Random(seed)
    box = calm_upstream.mailbox(MESSAGES, switches={"paging": dice.choice(["keyset", "offset"])})
    mirrored = mirror_of(box)
    first, pages = box.last_request(), MESSAGES // PAGE
    before = in_the_middle = 0
    for _ in range(KILLS):
        with started(mirrored) as process:
            wait_for_requests(mirrored, box.last_request() + dice.randrange(1, 4 + pages // KILLS), process)
            time.sleep(dice.uniform(0, 0.01))
            in_the_middle += process.poll() is None
            process.kill()
        now = count(mirrored)
        assert now >= before, "messages were lost"
        before = now
    assert in_the_middle >= KILLS // 2
    assert before > 0, "no run came far enough to be killed in the middle"
    printed = run_to_the_end(mirrored)
    assert json.loads(printed)
    mirrored.must_be_equal()
    made = box.last_request() - first
    assert made <= 1.5 * pages + SLACK * KILLS + 40, f"seed {seed}: {made} requests for {pages} pages"


def test_a_killed_run_leaves_no_wait_on_the_same_machine(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(400)
    box.arm("slow_answer", route="list", count=None, args={"seconds": 30})
    mirrored = mirror_of(box)
    with started(mirrored) as process:
        wait_for_requests(mirrored, box.last_request() + 6, process)
        process.kill()
    assert mirrored.one("select lease_owner from sync.accounts where id = %s", mirrored.id) is not None
    box.calm()
    run_to_the_end(mirrored)
    mirrored.must_be_equal()
