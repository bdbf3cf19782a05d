"""Turn after turn in one process: memory does not grow. MAILMIRROR_TEST_TURNS=5000 does more of them."""

import json
import os
import subprocess
import sys

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import ROOT, Upstream

TURNS = int(os.environ.get("MAILMIRROR_TEST_TURNS", "2000"))
MOST = 3.0
"""Megabytes; a leak of two kilobytes a turn shows in two thousand."""
WORK = """
import gc, json, os, sys, psutil
from worker.bootstrap import Mirror
from worker.config import from_environment

account, turns = int(sys.argv[1]), int(sys.argv[2])
mirror = Mirror.open(from_environment())
held = []
for turn in range(turns):
    with mirror.engine.begin() as connection:
        connection.exec_driver_sql("update sync.accounts set next_due_at = sync.now(), backfill_due_at = sync.now()")
        if turn % 10 == 0:
            connection.exec_driver_sql("update sync.windows set next_walk_at = sync.now() where before is not null")
    assert mirror.take_turn(account, "backfill" if turn % 10 == 0 else "live").quiet
    if turn % (turns // 10) == turns // 10 - 1:
        gc.collect()
        held.append(psutil.Process().memory_info().rss / 1e6)
print(json.dumps(held))
"""


@pytest.mark.thorough
@pytest.mark.fault("P27")
def test_memory_is_flat_over_turns_that_poll_and_turns_that_walk(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box = calm_upstream.mailbox(50)
    mirrored = mirror_of(box)
    mirrored.sync()
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(mirrored.id), str(TURNS)],
        cwd=ROOT, env={**os.environ, **mirrored.environment()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)
    assert held[-1] - held[2] < MOST, held
    sys.stdout.write(f"{TURNS} turns: {held[0]:.1f} MB at first, {held[2]:.1f} when warm, {held[-1]:.1f} at the end\n")
    mirrored.must_be_equal()
