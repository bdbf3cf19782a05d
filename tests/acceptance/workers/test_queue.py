"""The queue is a doorbell: it holds account numbers in JSON, and nothing that lies in it can harm a worker."""

import json
import pickle
import re
from pathlib import Path

import pytest
import redis

from tests.acceptance.stage import Upstream
from tests.acceptance.test_moving_mailbox import churning
from tests.acceptance.workers.conftest import MakeFleet
from tests.acceptance.workers.fleet import tracebacks, wait_until
from tests.acceptance.workers.queues import everything_was_taken, put, put_raw, watching
from tests.canary import search
from worker.store import accounts

NOBODY = 4242
CANARY = "canary-7f3a"
MAIL = f"""From: {CANARY}-sender <{CANARY}-from@secret.example>
To: {CANARY}-to@secret.example
Subject: {CANARY}-subject
Message-ID: <{CANARY}@secret.example>

{CANARY}-body
"""


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]  # a call is a call


@pytest.mark.fault("P23")
def test_a_stranger_s_message_neither_runs_nor_stops_the_worker(
    calm_upstream: Upstream, fleet_of: MakeFleet, tmp_path: Path
) -> None:
    fleet = fleet_of()
    box = calm_upstream.mailbox(30)
    account = fleet.add(box)
    trap = tmp_path / "trapped"
    assert pickle.dumps(Touch(trap))
    put(fleet, "mailmirror.sync_account", [Touch(trap)], serializer="pickle")
    put(fleet, "stranger.task", [account])
    put(fleet, "mailmirror.sync_account", [])
    put(fleet, "mailmirror.sync_account", [{"account": 1}])
    put(fleet, "mailmirror.sync_account", [10**30])
    worker = fleet.worker()
    fleet.beat()
    fleet.wait_for_rest()
    assert not trap.exists()
    assert worker.running
    log = fleet.log()
    assert "Refusing to deserialize" in log
    assert "stranger.task" in log
    box.deliver()
    fleet.wait_for_rest()
    fleet.must_be_equal()


def test_hostile_arguments_are_refused_and_not_even_repeated(
    calm_upstream: Upstream, fleet_of: MakeFleet, tmp_path: Path
) -> None:
    fleet = fleet_of()
    box = calm_upstream.mailbox(30)
    account = fleet.add(box)
    trap = tmp_path / "trapped"
    sync = "mailmirror.sync_account"
    put(fleet, sync, [f"{account}; drop table sync.accounts; --"])
    put(fleet, sync, [f"{account}"])
    put(fleet, sync, [f"{account} or 1=1\n[2026-01-01 00:00:00] a forged line"])
    put(fleet, sync, [[account]])
    put(fleet, sync, [True])
    put(fleet, sync, [None])
    put(fleet, sync, [float(account)])
    put(fleet, sync, [account, "more", CANARY])
    put(fleet, sync, [account], {"purge": True, "url": "http://evil.example"})
    put(fleet, sync, {"account_id": account})
    put(fleet, sync, ["x" * 20_000_000])
    put(fleet, sync, [account], serializer="yaml")
    put(fleet, sync, [Touch(trap)], serializer="pickle", queue="backfill")
    put(fleet, "os.system", [f"touch {trap}"])
    put(fleet, "celery.backend_cleanup", [])
    put(fleet, "mailmirror.dispatch", [account, {"x": CANARY}])
    worker = fleet.worker()
    wait_until(lambda: everything_was_taken(fleet), "an empty queue")
    assert worker.running
    assert not trap.exists()
    log = fleet.log()
    assert log.count("A task was refused that names no account") >= 7
    for word in ("drop table", "forged", CANARY, "evil.example", "xxxxxxxx", str(trap)):
        assert word not in log, log[max(0, log.index(word) - 500) :][:1000]
    assert fleet.one("select count(*) from sync.runs") == 0, "nothing hostile was run"
    fleet.beat()
    fleet.wait_for_rest()
    fleet.must_be_equal()


def test_bytes_that_are_no_message_stop_no_worker(calm_upstream: Upstream, fleet_of: MakeFleet) -> None:
    fleet = fleet_of()
    fleet.add(calm_upstream.mailbox(30))
    for garbage in (
        b"",
        b"garbage",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"body": 1}',
        b'{"body": "x", "headers": {}}',
    ):
        put_raw(fleet, garbage)
    worker = fleet.worker()
    fleet.beat()
    fleet.wait_for_rest()
    assert worker.running
    fleet.must_be_equal()


def test_accounts_that_cannot_be_mirrored_cost_a_line_at_most(calm_upstream: Upstream, fleet_of: MakeFleet) -> None:
    fleet = fleet_of()
    good, paused, kept, purged = (fleet.add(calm_upstream.mailbox(20)) for _ in range(4))
    accounts.pause(fleet.mirror.engine, paused)
    accounts.remove(fleet.mirror.engine, kept, purge=False)
    accounts.remove(fleet.mirror.engine, purged, purge=True)
    for odd in (paused, kept, purged):
        del fleet.boxes[odd]
    odd_ones = (NOBODY, 0, -1, paused, kept, purged)
    for queue in ("live", "backfill"):
        for odd in odd_ones:
            put(fleet, "mailmirror.sync_account", [odd], queue=queue)
    worker = fleet.worker()
    wait_until(lambda: everything_was_taken(fleet), "an empty queue")
    put(fleet, "mailmirror.sync_account", [good], queue="backfill")
    fleet.beat()  # on a busy machine one turn may be too short
    wait_until(lambda: fleet.count(good) == 20, "the account behind them")
    assert worker.running
    log = fleet.log()
    for odd in odd_ones:
        lines = re.findall(rf"\] (Account {odd} \((?:live|backfill)\): .*)", log)
        # One that was removed waits for a person like any that is gone: its task has nothing to say.
        assert len(lines) == (0 if odd == kept else 2), (odd, lines)
    assert tracebacks(log) == []


def test_what_lies_in_the_queue_is_an_account_s_number(calm_upstream: Upstream, fleet_of: MakeFleet) -> None:
    fleet = fleet_of()
    box = calm_upstream.mailbox(100)
    account = fleet.add(box)
    with watching(fleet.redis_url) as watched:
        fleet.worker()
        fleet.beat()
        with churning(box, 1, at_once=1, every=0.2):
            fleet.wait_for_polls("the start")
            fleet.wait_for_polls("the first poll")
        fleet.wait_for_rest()
    assert {json.dumps(found) for found in watched.arguments("mailmirror.sync_account")} == {f"[[{account}], {{}}]"}
    assert {json.dumps(found) for found in watched.arguments("mailmirror.dispatch")} == {"[[], {}]"}
    assert watched.kinds() == {"application/json"}
    assert watched.etas() == {None}
    search("the messages of tasks", json.dumps(watched.messages))
    with redis.Redis.from_url(fleet.redis_url) as client:
        assert list(client.keys("celery-task-meta*")) == []


def test_a_worker_s_log_holds_no_token_no_address_and_no_mail(calm_upstream: Upstream, fleet_of: MakeFleet) -> None:
    fleet = fleet_of()
    faults: tuple[tuple[str, dict[str, object]], ...] = (
        ("server_error", {}),
        ("status", {"status": 418, "message": CANARY, "error_code": "request_failed"}),
        ("html_200", {}),
        ("truncated_json", {}),
        ("rate_limit", {"error_code": "too_many_service_requests"}),
    )
    boxes = [calm_upstream.mailbox(20) for _ in faults]
    for box in boxes:
        box.deliver(raw=MAIL)
        fleet.add(box)
    fleet.worker(concurrency=4)
    fleet.beat()
    fleet.wait_for_rest()
    for box, (kind, how) in zip(boxes, faults, strict=True):
        box.arm(kind, args=how)
    wait_until(lambda: all(boxes[0].fired(kind) for kind, _ in faults), "all faults to strike")
    boxes[0].calm()
    fleet.wait_for_rest()
    # Something unexpected inside a transaction, whose words would hold the row.
    fleet.sql("alter table mail.messages add constraint odd check (subject not like '%again') not valid")
    boxes[0].deliver(raw=MAIL.replace("-subject", "-subject again").replace("<canary", "<other-canary"))
    wait_until(lambda: fleet.one("select count(*) from sync.accounts where status = 'backing_off'"), "an error")
    fleet.sql("alter table mail.messages drop constraint odd")
    fleet.wait_for_rest()
    fleet.must_be_equal()
    log = fleet.log()
    assert "Account 1 (live)" in log, "it says nothing at all"
    password = fleet.redis_url.partition("//:")[2].partition("@")[0]
    for secret in (CANARY, "secret.example", "sandbox.example", *(box.token for box in boxes), password):
        assert secret not in log, log[max(0, log.index(secret) - 500) :][:1000]
