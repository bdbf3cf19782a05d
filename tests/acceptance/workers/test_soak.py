"""The soak in small: everything changes, breaks and dies for a minute, and ends equal. `make soak` does ten.

MAILMIRROR_TEST_SOAK_SECONDS sets how long; MAILMIRROR_TEST_SEED draws other faults.
"""

import os
import sys
from pathlib import Path

import pytest

from tests.faults.soak import Plan, soak

SECONDS = float(os.environ.get("MAILMIRROR_TEST_SOAK_SECONDS", "75"))
SEED = int(os.environ.get("MAILMIRROR_TEST_SEED", "1"))


@pytest.mark.thorough
@pytest.mark.fault("P5", "P6", "P12", "P15")
def test_changes_faults_and_deaths_all_at_once_end_equal(tmp_path: Path) -> None:
    plan = Plan(seconds=SECONDS, fault_every=1.0, kill_every=7.0, seed=SEED)
    outcome = soak(plan, tmp_path)
    sys.stdout.write(outcome.table())
    assert outcome.broken == []
