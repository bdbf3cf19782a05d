"""What stands before a worker's log, the last thing that can keep a credential out of it; and what it has to carry."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

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

IMPORTED = """
import sys
import worker.tasks
print(*sorted({name.partition(".")[0] for name, module in sys.modules.items() if module}))
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env={"REDIS_URL": "redis://nowhere.invalid", "PATH": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_nothing_that_looks_like_a_credential_gets_into_the_log() -> None:
    done = run(PROGRAM)
    assert "CANARY" not in done.stderr + done.stdout
    for kept in ("Bearer ***", "APIKey ***", "redis://***@host:1/0", "ValueError", "Received what is no task.",
                 "an ordinary line: 3 added in 0.1 s, see user@host"):  # fmt: skip
        assert kept in done.stderr


def test_a_worker_carries_no_library_that_it_never_uses() -> None:
    loaded = set(run(IMPORTED).stdout.split())
    assert {"celery", "psycopg", "worker"} <= loaded
    assert loaded & {"alembic", "mako", "rich", "pygments", "typer", "uvicorn"} == set()


THREADS = """
import ctypes
import threading
from celery.signals import worker_process_init
import worker.celery
worker_process_init.send(sender=None)
together, held = threading.Barrier(8), []
def work():
    together.wait()
    held.append(bytearray(50_000))
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, out)
libc.fclose(out)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="another C library")
def test_threads_of_a_worker_process_keep_no_heaps_of_their_own() -> None:
    assert run(THREADS).stdout.count("<heap nr=") == 1
