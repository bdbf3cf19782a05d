"""What stands before a worker's log: the last thing that can keep a credential out of it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import logging
from worker.celery import app
app.log.setup(loglevel="INFO", redirect_stdouts=False)
log = logging.getLogger("any.library")
log.warning("sent Authorization: Bearer %s to it", "abc-CANARY.1")
log.warning("{'authorization': 'bearer abc-CANARY'}")
log.warning("APIKey CANARY; and redis://:CANARY@host:1/0, postgresql://app:CANARY@host/x")
try:
    raise ValueError("Bearer CANARY")
except ValueError:
    log.exception("it failed")
logging.getLogger("celery.task").error("Bearer CANARY")
logging.getLogger("celery.worker.consumer.consumer").error("Received what is no task.\\n\\nThe contents were CANARY")
log.warning("an ordinary line: 3 added in 0.1 s, see user@host")
"""


def test_nothing_that_looks_like_a_credential_gets_into_the_log() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT, env={"REDIS_URL": "redis://nowhere.invalid", "PATH": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "CANARY" not in done.stderr + done.stdout
    for kept in ("Bearer ***", "APIKey ***", "redis://***@host:1/0", "ValueError", "Received what is no task.",
                 "an ordinary line: 3 added in 0.1 s, see user@host"):  # fmt: skip
        assert kept in done.stderr
