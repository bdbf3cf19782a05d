"""What the upstream answers that it should not: limits, outages, foreign bodies, positions that lead nowhere."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mailbox, Mirrored, Upstream
from tests.faults.proxy import proxied
from tests.faults.scenes import recovers
from worker.errors import ForbiddenError, RetryLaterError, ThrottledError, UnreachableError


def state(mirrored: Mirrored) -> tuple[str, str | None]:
    """Status and reason, as people see them."""
    found = mirrored.sql("select status, status_reason from mail.accounts where id = %s", mirrored.id)[0]
    return str(found[0]), found[1]


def waits(mirrored: Mirrored) -> float:
    """Seconds until the account is due."""
    return float(
        mirrored.one(
            "select extract(epoch from next_due_at - sync.now()) from sync.accounts where id = %s", mirrored.id
        )
    )


def cursor(mirrored: Mirrored) -> str | None:
    """The activity cursor as it is stored."""
    found = mirrored.one("select cursor from sync.cursors where account_id = %s", mirrored.id)
    return None if found is None else str(found)


FORMS = [
    "Fri, 01 Jan 2100 00:00:00 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "0",
    "-5",
    "nan",
    "1e9",
    "inf",
    "soon",
    "",
    "2.5",
]


@pytest.mark.fault("U2")
@pytest.mark.parametrize("value", FORMS)
def test_whatever_retry_after_says_the_account_waits_between_a_second_and_an_hour(
    calm_upstream: Upstream, mirror_of: MakeMirror, value: str
) -> None:
    box = calm_upstream.mailbox(30)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.arm("rate_limit", route="activity", args={"retry_after": value})
    with pytest.raises(ThrottledError):
        mirrored.sync()
    assert box.fired("rate_limit") == 1
    assert 0 < waits(mirrored) <= 3600 * 1.1
    assert state(mirrored)[0] == "backing_off"
    recovers(mirrored)


@pytest.mark.fault("U3")
def test_a_limit_without_a_time_lets_the_account_wait_longer_each_time(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box, other_box = calm_upstream.mailbox(30), calm_upstream.mailbox(30)
    pair = [mirror_of(box), mirror_of(other_box)]
    for mirrored in pair:
        mirrored.sync()
    calm_upstream.post("/faults", kind="rate_limit", count=None, args={"retry_after": None})
    asked, pauses = box.last_request(), []
    for _ in range(12):
        for mirrored in pair:
            with pytest.raises(ThrottledError):
                mirrored.sync()
        pauses.append([waits(mirrored) for mirrored in pair])
    assert box.last_request() - asked == 12 * 2, "one request each time, I8"
    ours = [pause for pause, _ in pauses]
    assert ours == sorted(ours[:9]) + ours[9:]
    assert max(max(both) for both in pauses) <= 3600 * 1.1
    in_step = sum(abs(one - other) <= 0.01 for one, other in pauses)
    assert in_step < len(pauses) / 2, "two accounts in step"
    box.calm()
    for mirrored in pair:
        recovers(mirrored)


@pytest.mark.fault("U4")
@pytest.mark.parametrize("route", ["list", "activity", "account"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_outage_backs_the_account_off_with_its_reason_and_ends_by_itself(
    calm_upstream: Upstream, mirror_of: MakeMirror, status: int, route: str
) -> None:
    box = calm_upstream.mailbox(40)
    mirrored = mirror_of(box, parallel_windows=1)
    box.arm("server_error", route=route, count=2, args={"status": status})
    for _ in range(2):
        with pytest.raises(RetryLaterError):
            mirrored.sync()
        status_, reason = state(mirrored)
        assert (status_, bool(reason)) == ("backing_off", True)
    recovers(mirrored)


@pytest.mark.fault("U5")
def test_an_upstream_nobody_answers_for_is_an_outage_and_no_refusal(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    one, other = calm_upstream.mailbox(40), calm_upstream.mailbox(40)
    port = urlsplit(calm_upstream.url).port
    assert port is not None
    healthy = mirror_of(other)
    with proxied(port) as proxy:
        address = calm_upstream.url.replace(str(port), str(proxy.port))
        mirrored = mirror_of(one)
        mirrored.box = Mailbox(Upstream(address, calm_upstream.admin_url, ()), one.id, one.token, one.service)
        mirrored.with_settings(request_timeout=2.0)
        proxy.refuse()
        with pytest.raises(UnreachableError) as refused:
            mirrored.sync()
        assert refused.value.kind == "connect"
        status, reason = state(mirrored)
        assert status == "backing_off", "never auth_required"
        assert reason
        recovers(healthy)
        proxy.listen()
        recovers(mirrored)


@pytest.mark.fault("U7")
@pytest.mark.parametrize("part", range(1, 9))
def test_an_answer_cut_anywhere_leaves_nothing_of_itself(
    calm_upstream: Upstream, mirror_of: MakeMirror, part: int
) -> None:
    box = calm_upstream.mailbox(60, days=1)
    port = urlsplit(calm_upstream.url).port
    assert port is not None
    with proxied(port) as proxy:
        address = calm_upstream.url.replace(str(port), str(proxy.port))
        mirrored = mirror_of(box)
        mirrored.box = Mailbox(Upstream(address, calm_upstream.admin_url, ()), box.id, box.token, box.service)
        mirrored.with_settings(parallel_windows=1, page_size=20)
        proxy.cut_after(size=part * 2_500, times=1)
        error = mirrored.try_to_sync()
        assert proxy.cuts == 1
        assert isinstance(error, UnreachableError)
        assert len(mirrored.live()) % 20 == 0, "pages come whole or not at all"
        recovers(mirrored)


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "a page for people": ("html_200", {}),
    "nothing": ("empty_body", {}),
    "a list of nothing known": ("status", {"status": 200, "body": "{}"}),
    "another type": ("status", {"status": 200, "body": '{"objects": [], "next_page": null, "type": "message"}'}),
    "no list": ("status", {"status": 200, "body": '{"objects": {}, "next_page": null, "type": "object_list"}'}),
    "a proxy's page": ("html_error", {"status": 502}),
    "cut off": ("cut_json", {}),
    "cut off with a length": ("truncated_json", {}),
    "not gzip": ("bad_gzip", {}),
    "a bomb": ("gzip_bomb", {"bytes": 1 << 24}),
}


@pytest.mark.fault("U8", "U10")
@pytest.mark.parametrize("where", ["list", "activity"])
@pytest.mark.parametrize("body", BODIES)
def test_what_is_no_answer_is_never_taken_for_mail_nor_for_the_end(
    calm_upstream: Upstream, mirror_of: MakeMirror, body: str, where: str
) -> None:
    kind, args = BODIES[body]
    box = calm_upstream.mailbox(60, days=3)
    mirrored = mirror_of(box, page_size=20, max_response=1 << 20)
    mirrored.sync()
    box.churn(10, 1)
    before, live = cursor(mirrored), mirrored.live()
    box.arm(kind, route=where, args=args)
    mirrored.walk_again()
    if (error := mirrored.try_to_sync()) is not None:
        assert cursor(mirrored) == before or where == "list", "I2"
        assert state(mirrored)[0] == "backing_off"
        assert not (mirrored.tombstones() - (live - set(box.ids()))), "I12"
        assert str(error)
    assert box.fired(kind) == 1
    recovers(mirrored)


@pytest.mark.fault("U11")
@pytest.mark.parametrize(("content_type", "taken"), [("application/vnd.api+json", True), ("text/json", True),
                                                     ("text/plain", False), ("application/xml", False)])  # fmt: skip
def test_json_of_another_content_type(
    calm_upstream: Upstream, mirror_of: MakeMirror, content_type: str, *, taken: bool
) -> None:
    box = calm_upstream.mailbox(60)
    box.arm("wrong_content_type", route="list", count=None, args={"content_type": content_type})
    mirrored = mirror_of(box)
    mirrored.sync_a_little(40)
    assert box.fired("wrong_content_type") > 0
    assert bool(mirrored.live()) == taken
    box.calm()
    mirrored.walk_again()
    recovers(mirrored)


@pytest.mark.fault("U18")
@pytest.mark.parametrize("kind", ["next_page_missing", "next_page_integer"])
def test_a_missing_next_page_ends_no_list_and_a_number_is_a_token(
    calm_upstream: Upstream, mirror_of: MakeMirror, kind: str
) -> None:
    box = calm_upstream.mailbox(100, days=3, switches={"page_size_cap": 10})
    box.arm(kind, route="list", count=3)
    mirrored = mirror_of(box)
    mirrored.try_to_sync()
    assert box.fired(kind) == 3
    recovers(mirrored)


@pytest.mark.fault("U20")
@pytest.mark.parametrize("order", ["newest", "shuffled"])
def test_deletions_between_two_pages_hide_nothing(calm_upstream: Upstream, mirror_of: MakeMirror, order: str) -> None:
    box = calm_upstream.mailbox(300, days=1, switches={"paging": "offset", "page_size_cap": 20, "order": order})
    mirrored = mirror_of(box, parallel_windows=1)
    rounds = iter(range(3))

    def meanwhile(totals: Any) -> None:
        if totals.read and next(rounds, None) is not None:
            box.delete(newest=4)

    run = mirrored.mirror.sync(mirrored.id, stop=lambda: False, observe=meanwhile)
    assert next(rounds, None) is None, "it was over too soon"
    assert run.totals.walks > 2
    assert len(mirrored.tombstones()) == 12
    recovers(mirrored)


@pytest.mark.fault("U21")
def test_counts_and_page_sizes_are_not_believed(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(100, days=3, switches={"page_size_cap": 7})
    mirrored = mirror_of(box, page_size=50)
    first = box.last_request()
    recovers(mirrored)
    listed = [one for one in box.requests(first) if one["route"] == "list"]
    assert len(listed) >= 100 / 7


@pytest.mark.fault("U24", "U25")
@pytest.mark.parametrize("kind", ["cursor_null", "cursor_missing", "cursor_stuck"])
def test_a_cursor_that_is_none_or_stands_still_is_not_stored(
    calm_upstream: Upstream, mirror_of: MakeMirror, kind: str
) -> None:
    box = calm_upstream.mailbox(60)
    box.churn(3, 1)
    mirrored = mirror_of(box)
    mirrored.sync()
    before, asked = cursor(mirrored), box.last_request()
    box.do("relabel", newest=5, add=["Later"])
    box.arm(kind, route="activity")
    error = mirrored.try_to_sync()
    assert box.fired(kind) == 1
    assert cursor(mirrored) == before
    assert box.last_request() - asked <= 1 + 5, "I8: no hot loop"
    if kind == "cursor_stuck":
        assert error is None
        assert mirrored.problems() == [("event", "cursor")]
    else:
        assert error is not None
        assert state(mirrored)[0] == "backing_off"
    recovers(mirrored)
    assert cursor(mirrored) != before


EVENTS = {"events_shuffled": "U27", "events_duplicated": "U28", "event_unknown_kind": "U33", "event_without_id": "U33",
          "event_null_metadata": "U33", "event_without_metadata": "U33"}  # fmt: skip


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.fault(id_)) for kind, id_ in EVENTS.items()])
def test_odd_events_end_in_the_same_mirror(calm_upstream: Upstream, mirror_of: MakeMirror, kind: str) -> None:
    box = calm_upstream.mailbox(80)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.churn(15, 5)
    box.delete(message_ids=box.deliver(2))
    box.arm(kind, route="activity", args={"all": True})
    mirrored.sync()
    assert box.fired(kind) == 1
    if mirrored.problems():  # what an event no longer says is found out with time
        assert kind in {"event_without_id", "event_unknown_kind"}
        mirrored.retry_now()
        mirrored.sync()
    recovers(mirrored)


@pytest.mark.fault("U28")
def test_many_events_of_one_message_cost_one_get_a_page(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(30)
    mirrored = mirror_of(box)
    mirrored.sync()
    one = box.ids()[3]
    for number in range(250):
        box.do("relabel", message_id=one, add=[f"Label {number % 7}"], remove=[f"Label {(number + 3) % 7}"])
    first = box.last_request()
    mirrored.sync()
    made = [seen["route"] for seen in box.requests(first)]
    assert made.count("activity") >= 2
    assert made.count("get") <= made.count("activity")
    recovers(mirrored)


@pytest.mark.fault("U40")
def test_a_scope_that_lacks_waits_for_a_person_and_keeps_the_mail(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box = calm_upstream.mailbox(40)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.arm("service_forbidden", route="list", count=None)
    mirrored.walk_again()
    with pytest.raises(ForbiddenError):
        mirrored.sync()
    status, reason = state(mirrored)
    assert (status, bool(reason)) == ("auth_required", True)
    assert len(mirrored.live()) == 40
    assert mirrored.tombstones() == set()
    box.calm()
    recovers(mirrored)
