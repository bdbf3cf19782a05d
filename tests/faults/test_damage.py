"""Damage to one message in a hundred, of each kind, is found to the last one, and repaired by fetching only that.

MAILMIRROR_TEST_SEEDS="7 8" damages others.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import ROOT, Mailbox, Mirrored, Upstream
from worker.errors import LeaseHeldError
from worker.store import leases

SEEDS = [int(seed) for seed in os.environ.get("MAILMIRROR_TEST_SEEDS", "1").split()]
MESSAGES = 2000
EACH = MESSAGES // 100
CHILDREN = ("message_people", "message_labels", "attachments")
STALE = (
    "update mail.messages set subject = coalesce(subject, '') || ' '",
    "update mail.messages set body = null, body_size = 0",
    "update mail.messages set created = created + interval '1 second'",
    "update mail.messages set folder_id = null",
    "update mail.messages set snippet = 'Other words.'",
    "update mail.message_people set name = coalesce(name, '') || '?'",
    "delete from mail.message_people",
)
"""What makes a message another one; each hits every seventh of those that are chosen."""


class Damage:
    """Three sets of messages, damaged in three ways, chosen by a seed."""

    def __init__(self, mirrored: Mirrored, seed: int) -> None:
        dice = random.Random(seed)
        chosen = dice.sample(sorted(mirrored.live()), 3 * EACH)
        self.dropped, self.stale, copied = (set(chosen[n * EACH : (n + 1) * EACH]) for n in range(3))
        self.extra = {f"message_{dice.randbytes(9).hex()}" for _ in copied}
        for table in ("messages", *CHILDREN):
            mirrored.sql(f"delete from mail.{table} where account_id = %s and message_id = any(%s)",
                         mirrored.id, list(self.dropped))  # fmt: skip
        for number, id_ in enumerate(sorted(self.stale)):
            mirrored.sql(f"{STALE[number % len(STALE)]} where account_id = %s and message_id = %s", mirrored.id, id_)
        for table in ("messages", *CHILDREN):
            self._copy(mirrored, table, dict(zip(sorted(copied), sorted(self.extra), strict=True)))

    def _copy(self, mirrored: Mirrored, table: str, names: dict[str, str]) -> None:
        found = mirrored.sql("select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and"
                             " not attisdropped and attgenerated = '' order by attnum", f"mail.{table}")  # fmt: skip
        columns = [column for (column,) in found]
        shown = ", ".join("%s::jsonb ->> message_id" if column == "message_id" else column for column in columns)
        mirrored.sql(
            f"insert into mail.{table} ({', '.join(columns)}) select {shown} from mail.{table}"
            " where account_id = %s and message_id = any(%s)",
            json.dumps(names), mirrored.id, list(names),
        )  # fmt: skip

    @property
    def ids(self) -> list[str]:
        return [*self.dropped, *self.stale, *self.extra]


def routes(box: Mailbox, act: Callable[[], object]) -> Counter[str]:
    """Count what was asked for meanwhile."""
    last = box.last_request()
    act()
    return Counter(request["route"] for request in box.requests(last))


def repair(mirrored: Mirrored) -> None:
    """Run `mailmirror verify --repair`; it must say that the mirror is equal now."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", "verify", str(mirrored.id), "--repair"],
        cwd=ROOT, env={**os.environ, **mirrored.environment()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", SEEDS)
def test_one_percent_of_each_kind_is_found_to_the_last_one_and_only_that_is_fetched(
    calm_upstream: Upstream, mirror_of: MakeMirror, seed: int
) -> None:
    box = calm_upstream.mailbox(MESSAGES, "outlook_email")
    mirrored = mirror_of(box)
    mirrored.sync()
    listing = routes(box, mirrored.verify)
    assert listing["get"] == 0
    damage = Damage(mirrored, seed)

    others = "select message_id, xmin::text, ctid::text from mail.messages where message_id <> all(%s) order by 1"
    untouched = mirrored.sql(others, damage.ids)
    with_lease = mirrored.one("select lease_epoch from sync.accounts where id = %s", mirrored.id)
    asked = routes(box, lambda: repair(mirrored))
    # Each that differs is asked for twice: before it counts as a difference, and when it is repaired.
    assert asked["get"] == 2 * 3 * EACH
    assert asked["list"] == 2 * listing["list"]
    assert asked.total() == asked["get"] + asked["list"] + asked["account"]
    assert mirrored.one("select lease_epoch from sync.accounts where id = %s", mirrored.id) == with_lease + 1
    assert mirrored.sql(others, damage.ids) == untouched

    mirrored.must_be_equal()
    counts = mirrored.sql("select missing, stale, extra, equal, checked, not_checked from sync.audits order by id")
    clean = (0, 0, 0, True, MESSAGES, 0)
    assert counts == [clean, (EACH, EACH, EACH, False, MESSAGES, 0), clean]
    [(report,)] = mirrored.sql("select report from sync.audits where not equal")
    assert set(report["missing"]) == damage.dropped
    assert set(report["stale"]) == damage.stale
    assert set(report["extra"]) == damage.extra
    assert report["not_checked"] == []


def test_a_repair_waits_for_the_lease_of_another_worker(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(200)
    mirrored = mirror_of(box)
    mirrored.sync()
    mirrored.sql("delete from mail.messages where message_id = %s", min(mirrored.live()))
    verdict = mirrored.verify()
    leases.take_lease(mirrored.mirror.engine, mirrored.id, "another worker")
    before = mirrored.versions()

    def refused() -> None:
        with pytest.raises(LeaseHeldError):
            mirrored.mirror.repair(mirrored.id, verdict)

    assert routes(box, refused).total() == 0
    assert mirrored.versions() == before
