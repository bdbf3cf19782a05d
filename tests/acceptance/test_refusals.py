"""429, outages and refused credentials: nothing is lost, the account says what it waits for, and it recovers."""

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mirrored, Upstream
from worker.errors import CredentialRefusedError, RetryLaterError, ThrottledError


def status(mirrored: Mirrored) -> str:
    return str(mirrored.one("select status from mail.accounts where id = %s", mirrored.id))


@pytest.mark.fault("U1")
@pytest.mark.parametrize("at", [1, 3, 9])
def test_a_429_in_mid_run_parks_the_account_for_as_long_as_it_says(
    calm_upstream: Upstream, mirror_of: MakeMirror, at: int
) -> None:
    box = calm_upstream.mailbox(900)
    box.arm("rate_limit", route="list", at=at, args={"retry_after": 7})
    mirrored = mirror_of(box)
    with pytest.raises(ThrottledError) as refused:
        mirrored.sync()
    assert refused.value.retry_after == pytest.approx(7)
    assert status(mirrored) == "backing_off"
    waits = mirrored.one("select extract(epoch from a.next_due_at - r.ended_at) from sync.accounts a, sync.runs r"
                         " order by r.id desc limit 1")  # fmt: skip
    assert 7 <= waits <= 14, "not before, and with some spread after"
    assert mirrored.one("select lease_owner from sync.accounts") is None
    mirrored.sync()
    mirrored.must_be_equal()
    assert status(mirrored) == "active"


@pytest.mark.fault("U4")
def test_an_outage_in_mid_run_loses_nothing(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(900)
    box.arm("server_error", route="list", at=5, count=30, args={"status": 503})
    mirrored = mirror_of(box)
    failures = 0
    for _ in range(40):
        try:
            mirrored.sync()
        except RetryLaterError:
            failures += 1
        else:
            break
    assert failures > 0
    mirrored.must_be_equal()
    assert mirrored.problems() == []
    assert status(mirrored) == "active"


def test_an_outage_of_single_messages_loses_nothing(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(300)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.churn(30, 6)
    box.arm("server_error", route="get", count=6, probability=0.5)
    for _ in range(8):
        mirrored.try_to_sync()
        mirrored.retry_now()
    mirrored.sync()
    mirrored.must_be_equal()
    assert mirrored.problems() == []


@pytest.mark.parametrize("kind", ["reset", "reset_mid_body", "short_body", "cut_json", "slow_drip"])
def test_broken_answers_lose_nothing(calm_upstream: Upstream, mirror_of: MakeMirror, kind: str) -> None:
    box = calm_upstream.mailbox(500)
    args = {"bytes": 1, "seconds": 0.5} if kind == "slow_drip" else {}
    box.arm(kind, route="list", at=4, count=2, args=args)
    mirrored = mirror_of(box, request_timeout=2.0)
    for _ in range(6):
        if mirrored.try_to_sync() is None:
            break
    assert mirrored.sync().quiet
    mirrored.must_be_equal()


@pytest.mark.fault("U39")
def test_a_revoked_token_waits_for_a_person_and_keeps_the_mail(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(200)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.set(broken=True)
    asked = box.last_request()
    with pytest.raises(CredentialRefusedError):
        mirrored.sync()
    assert box.last_request() - asked <= 2
    assert status(mirrored) == "auth_required"
    assert len(mirrored.live()) == 200
    assert mirrored.tombstones() == set()
