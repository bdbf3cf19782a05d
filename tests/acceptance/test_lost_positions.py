"""Positions the upstream no longer takes: cursors, page tokens, pages that lead nowhere (faults.md U15-U28)."""

from typing import Any

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Upstream

ORDERS = pytest.mark.parametrize("order", ["newest", "shuffled"])


@pytest.mark.fault("U22")
@pytest.mark.parametrize("expiry", ["400", "404", "410"])
def test_a_refused_cursor_is_made_anew_and_everything_is_walked_again(
    calm_upstream: Upstream, mirror_of: MakeMirror, expiry: str
) -> None:
    box = calm_upstream.mailbox(300)
    box.churn(5, 0)  # a cursor of 0 would be taken as the beginning
    mirrored = mirror_of(box)
    mirrored.sync()
    gone = box.delete(random=10, seed=1)
    box.churn(30, 1)
    box.switch(retained_events=5, cursor_expiry=expiry)
    assert mirrored.sync().quiet
    mirrored.must_be_equal()
    assert set(gone) <= mirrored.tombstones()
    assert mirrored.problems() == []
    asked = box.last_request()
    mirrored.sync()
    assert box.last_request() - asked == 1, "the new cursor is good"


@pytest.mark.fault("U23")
def test_a_cursor_that_skips_silently_is_noticed_by_its_age(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(300)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.churn(40, 2)
    box.switch(retained_events=5, cursor_expiry="silent_skip")
    mirrored.sql("update sync.accounts set polled_at = polled_at - interval '21 hours' where id = %s", mirrored.id)
    mirrored.sync()
    mirrored.must_be_equal()


def test_a_cursor_refused_once_by_a_fault_costs_a_walk_and_loses_nothing(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box = calm_upstream.mailbox(300)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.churn(20, 3)
    box.arm("cursor_expired", route="activity", args={"mode": "410"})
    mirrored.sync()
    mirrored.must_be_equal()


@pytest.mark.parametrize("kind", ["cursor_stuck", "cursor_null", "cursor_missing"])
def test_a_cursor_that_does_not_move_on_loses_nothing(
    calm_upstream: Upstream, mirror_of: MakeMirror, kind: str
) -> None:
    box = calm_upstream.mailbox(200)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.churn(20, 4)
    box.arm(kind, route="activity")
    mirrored.try_to_sync()
    mirrored.sync()
    mirrored.must_be_equal()


EVENT_FAULTS = [
    "events_duplicated", "events_shuffled", "event_unknown_kind", "event_without_id", "event_null_metadata",
    "event_without_metadata", "event_other_type",
]  # fmt: skip


@pytest.mark.parametrize("kind", EVENT_FAULTS)
def test_odd_events_end_in_the_same_mirror(calm_upstream: Upstream, mirror_of: MakeMirror, kind: str) -> None:
    box = calm_upstream.mailbox(200)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.churn(20, 5)
    box.arm(kind, route="activity")
    mirrored.sync()
    if kind == "event_other_type":
        mirrored.walk_again()  # an event that lies about what it is of leaves no trace; the next walk repairs it
        mirrored.sync()
    mirrored.must_be_equal()


@pytest.mark.fault("U15")
@ORDERS
@pytest.mark.parametrize("times", [1, 4])
def test_a_page_token_that_expires_in_mid_listing_costs_only_its_window(
    calm_upstream: Upstream, mirror_of: MakeMirror, times: int, order: str
) -> None:
    box = calm_upstream.mailbox(900, switches={"order": order})
    box.arm("page_token_expired", route="list", at=4, count=times)
    mirrored = mirror_of(box, page_size=50)
    run = mirrored.sync()
    assert run.quiet
    assert box.fired("page_token_expired") == times
    report = mirrored.must_be_equal()
    assert (report.open_windows, report.open_problems) == (0, ())
    assert run.requests < 150


@ORDERS
def test_page_tokens_that_never_work_still_end_in_a_whole_mirror(
    calm_upstream: Upstream, mirror_of: MakeMirror, order: str
) -> None:
    box = calm_upstream.mailbox(300, switches={"order": order, "page_size_cap": 20})
    box.arm("page_token_expired", route="list", count=None)
    mirrored = mirror_of(box)
    run = mirrored.sync()
    assert run.quiet
    report = mirrored.must_be_equal()
    assert (report.open_windows, report.open_problems) == (0, ())
    assert run.requests < 600


PAGE_FAULTS: dict[str, dict[str, Any]] = {
    "next_page_loop": {"at": 3, "count": 2},
    "empty_page": {"at": 3, "count": 2},
    "repeat_on_next_page": {"count": None},
    "html_200": {"at": 3, "count": 2},
    "truncated_json": {"at": 3, "count": 2},
    "error_200": {"at": 3},
}


def test_page_tokens_that_are_numbers_are_followed(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(500, switches={"page_size_cap": 25})
    box.arm("next_page_integer", route="list", count=None)
    mirrored = mirror_of(box)
    mirrored.sync()
    mirrored.must_be_equal()


@pytest.mark.fault("U10", "U12", "U16", "U17", "U19")
@ORDERS
@pytest.mark.parametrize("kind", PAGE_FAULTS)
def test_a_listing_with_odd_pages_ends_in_a_whole_mirror(
    calm_upstream: Upstream, mirror_of: MakeMirror, kind: str, order: str
) -> None:
    box = calm_upstream.mailbox(500, switches={"order": order, "page_size_cap": 25})
    mirrored = mirror_of(box)
    box.arm(kind, route="list", **PAGE_FAULTS[kind])
    mirrored.try_to_sync()
    box.calm()
    assert mirrored.sync().quiet
    assert box.fired(kind) > 0
    report = mirrored.must_be_equal()
    assert (report.open_windows, report.open_problems) == (0, ())
