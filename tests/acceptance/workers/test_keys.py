"""Keys change while real workers run: nobody is restarted, and no account misses a poll for it."""

from tests.acceptance.stage import Upstream
from tests.acceptance.test_moving_mailbox import churning
from tests.acceptance.workers.conftest import MakeFleet
from tests.acceptance.workers.fleet import wait_until


def test_workers_go_on_through_a_change_of_keys(calm_upstream: Upstream, fleet_of: MakeFleet) -> None:
    fleet = fleet_of()
    boxes = [calm_upstream.mailbox(60) for _ in range(3)]
    numbers = [fleet.add(box) for box in boxes]
    ring = fleet.folder / "keyring"
    old = ring.read_text()
    worker = fleet.worker()
    fleet.beat()
    with churning(boxes[0], 1, at_once=1, every=0.2):
        fleet.wait_for_polls("the start")
        new = fleet.command("keys", "make")
        ring.write_text(new + old)
        assert fleet.command("keys", "rotate").startswith("3 tokens sealed")
        fleet.wait_for_polls("the rotation")
        ring.write_text(new)
        fleet.wait_for_polls("the old key was taken out")
    fleet.wait_for_rest()
    fleet.must_be_equal()
    assert worker.running
    assert fleet.one("select count(*) from sync.problems where kind = 'account'") == 0, "no run failed for a key"
    assert len(numbers) == fleet.one("select count(*) from sync.accounts where status = 'active' and failures = 0")


def test_a_worker_says_at_its_start_which_key_it_lacks(calm_upstream: Upstream, fleet_of: MakeFleet) -> None:
    fleet = fleet_of()
    lost, kept = (fleet.add(calm_upstream.mailbox(10)) for _ in range(2))
    fleet.sql("update sync.credentials set key_id = 'key-lost' where account_id = %s", lost)
    del fleet.boxes[lost]
    fleet.worker()
    fleet.beat()
    wait_until(
        lambda: "The key key-lost is not in the key ring: 1 account cannot be mirrored." in fleet.log(), "a word"
    )
    wait_until(lambda: fleet.count(kept) == 10, "the other account")
    wait_until(lambda: fleet.one("select status from sync.accounts where id = %s", lost) == "backing_off", "a state")
    assert "key-lost" in fleet.one("select status_reason from sync.accounts where id = %s", lost)
