"""A queue whose memory is full loses nothing that Postgres does not give again, and never holds an account twice."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from tests.acceptance.stage import ROOT
from tests.conftest import PostgresServer
from worker.local.valkey import RunningValkey

ACCOUNTS = 30


def dispatch(database: str, queue: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Do what the scheduler's task does, in a process of its own."""
    ours = {"DATABASE_URL": database, "REDIS_URL": queue, "MAILMIRROR_DATA": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", "from worker import tasks; tasks.dispatch()"],
        cwd=ROOT, env={**os.environ, **ours}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.fault("P14")
def test_a_full_queue_refuses_and_everybody_is_rung_for_once_there_is_room(
    postgres: PostgresServer, database: str, connection: psycopg.Connection, valkey: RunningValkey, tmp_path: Path
) -> None:
    connection.execute(
        "insert into sync.accounts (kind, upstream_id, next_due_at)"
        f" select 'kloudless', n::text, now() from generate_series(1, {ACCOUNTS}) as n"
    )
    keyring = tmp_path / "keys"
    assert not keyring.exists()
    with redis.Redis.from_url(valkey.url) as queue:
        queue.set("canary", "still here")
        used = queue.info("memory")["used_memory"]
        queue.config_set("maxmemory", int(used) - 1)
        refused = dispatch(database, valkey.url, tmp_path)
        assert refused.returncode == 0
        assert "The queue takes nothing now" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert queue.llen("live") == 0
        assert queue.get("canary") == b"still here", "nothing is evicted"
        queue.config_set("maxmemory", 0)
        connection.execute("update sync.accounts set queued_until = queued_until - interval '121 s'")
        for _ in range(2):
            rung = dispatch(database, valkey.url, tmp_path)
            assert rung.returncode == 0, rung.stderr
        assert queue.llen("live") == ACCOUNTS, "I8: one ring an account"
