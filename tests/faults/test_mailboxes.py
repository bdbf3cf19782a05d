"""Mailboxes that lists and events do not show as they should: lags, edges, clocks, times, ids, the account itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Upstream, upstream
from tests.faults.scenes import recovers
from worker.errors import AccountGoneError
from worker.store import accounts


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.fault("U31")
def test_lists_that_lag_delete_nothing_and_hide_nothing(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(60, switches={"list_lag": 3600})
    mirrored = mirror_of(box)
    mirrored.sync()
    arrived = box.deliver(5)
    first = box.last_request()
    recovers(mirrored)
    mirrored.walk_again()
    recovers(mirrored)
    assert set(arrived) <= mirrored.live()
    assert mirrored.tombstones() == set(), "I12"
    asked = {one["path"].rpartition("/")[2] for one in box.requests(first) if one["route"] == "get"}
    assert set(arrived) <= asked


@pytest.mark.fault("U34")
def test_messages_on_the_edges_of_windows_stand_in_exactly_one(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(200, days=300)
    box.set(activity="forbidden")
    mirrored = mirror_of(box, window_messages=30)
    mirrored.sync()
    edges = [row[0] for row in mirrored.sql("select after from sync.windows where after > '1900-01-01' order by 1")]
    assert len(edges) > 4
    placed = [box.deliver(1, created=stamp(edge + timedelta(seconds=by)))[0] for edge in edges for by in (-1, 0, 1)]
    mirrored.walk_again()
    mirrored.sync()
    mirrored.must_be_equal()
    assert set(placed) <= mirrored.live()
    per_window = mirrored.one(
        "select count(*) from mail.messages m join sync.windows w on m.created >= w.after"
        " and (w.before is null or m.created < w.before) where m.message_id = any(%s)", placed
    )  # fmt: skip
    assert per_window == len(placed), "I4"


@pytest.fixture
def skewed(request: pytest.FixtureRequest) -> Iterator[tuple[Upstream, timedelta]]:
    """A sandbox of its own, whose clock is off."""
    by: timedelta = request.param
    with upstream("--accounts", "0") as running:
        running.post("/clock", advance=by.total_seconds())
        yield running, by


@pytest.mark.fault("U36")
@pytest.mark.parametrize("skewed", [timedelta(days=1), timedelta(days=-1)], indirect=True, ids=["ahead", "behind"])
def test_windows_end_by_the_upstreams_clock(skewed: tuple[Upstream, timedelta], mirror_of: MakeMirror) -> None:
    running, by = skewed
    box = running.mailbox(60, days=5)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.deliver(3)
    recovers(mirrored)
    now = datetime.now(UTC) + by
    for minutes in (5, 20, 61):
        box.deliver(1, created=stamp(now - timedelta(minutes=minutes)))
    mirrored.walk_again()
    recovers(mirrored)
    if by > timedelta(0):
        head = mirrored.one("select after from sync.windows where before is null")
        assert head <= now - timedelta(minutes=14), "what has not settled upstream stays open"


@pytest.mark.fault("U37")
def test_odd_times_are_stored_and_move_no_edge(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(60)
    timeless = box.ids()[7]
    for created in ("2100-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "0102-03-04T00:00:00Z"):
        box.deliver(1, created=created)
    box.arm("null_field", message_id=timeless, count=None, args={"field": "created"})
    mirrored = mirror_of(box)
    assert mirrored.sync().quiet
    assert len(mirrored.live()) == 63, "I4"
    assert mirrored.sql("select created from mail.messages where message_id = %s", timeless) == [(None,)]
    assert mirrored.problems() == []
    head = mirrored.one("select after from sync.windows where before is null")
    assert abs(head - datetime.now(UTC)) < timedelta(days=2)
    mirrored.walk_again()
    mirrored.sync()
    assert timeless in mirrored.live(), "I12: no list shows it, a GET does"
    box.calm()
    mirrored.walk_again()
    recovers(mirrored)


@pytest.mark.fault("U42")
def test_an_account_that_is_gone_upstream_keeps_its_mail_and_rests(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box = calm_upstream.mailbox(60)
    mirrored = mirror_of(box)
    mirrored.sync()
    deleted = box.delete(random=5, seed=1)
    box.set(removed=True)
    error = None
    for _ in range(4):
        error = mirrored.try_to_sync()
        assert error is not None
        mirrored.sql("update sync.problems set first_seen_at = first_seen_at - interval '1 day'")  # hours apart
        if mirrored.one("select status from sync.accounts") == "gone":
            break
    assert isinstance(error, AccountGoneError)
    status, reason = mirrored.sql("select status, status_reason from mail.accounts")[0]
    assert (status, bool(reason)) == ("gone", True)
    assert len(mirrored.live()) == 60, "I12: a 404 of the account says nothing of its messages"
    assert mirrored.tombstones() == set()
    mirrored.sql("update sync.accounts set next_due_at = sync.now() - interval '1 day'")
    assert list(mirrored.mirror.pick("live")) == []
    box.set(removed=False)
    accounts.resume(mirrored.mirror.engine, mirrored.id)
    assert mirrored.sync().quiet
    assert mirrored.must_be_equal().open_problems == ()
    assert mirrored.tombstones() == set(deleted)


@pytest.mark.fault("U44")
def test_when_every_id_changes_the_old_ones_are_held(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(150, "outlook_email", switches={"move_changes_id": True})
    mirrored = mirror_of(box)
    mirrored.sync()
    before = set(box.ids())
    box.do("move", all=True, folder="Elsewhere")
    mirrored.sync()
    gone = before - set(box.ids())
    assert len(gone) > 100
    held = {subject for kind, subject in mirrored.problems() if kind == "held_delete"}
    assert held | mirrored.tombstones() == gone
    assert len(held) > 75
    assert set(box.ids()) <= mirrored.live()
    confirmed = mirrored.mirror.confirm_deletes(mirrored.id)
    assert confirmed.deleted == len(held)
    mirrored.walk_again()  # a walk asks for the name of the new folder
    recovers(mirrored)
    assert mirrored.tombstones() == gone


@pytest.mark.fault("D19")
@pytest.mark.parametrize("service", ["gmail", "outlook_email"])
def test_a_moved_message_is_a_small_update(calm_upstream: Upstream, mirror_of: MakeMirror, service: str) -> None:
    box = calm_upstream.mailbox(80, service)
    mirrored = mirror_of(box)
    mirrored.sync()
    bodies = {name: mirrored.versions()[name] for name in ("message_people", "attachments")}
    if service == "gmail":
        box.do("relabel", random=9, seed=1, add=["Moved"], remove=["INBOX"])
    else:
        box.do("move", random=9, seed=1, folder="Moved")
    run = mirrored.sync()
    assert 0 < run.totals.updated <= 9
    assert run.totals.tombstoned == 0
    assert {name: mirrored.versions()[name] for name in bodies} == bodies, "children are left alone"
    mirrored.walk_again()
    recovers(mirrored)
    versions = mirrored.versions()
    mirrored.walk_again()
    recovers(mirrored)
    assert mirrored.versions() == versions, "I5"
