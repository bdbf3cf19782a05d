"""Each fault fires when armed, is counted, and leaves the truth alone."""

import contextlib
import json
from typing import Any

import httpx
import pytest

from worker.sandbox import SandboxError

LIST = "/accounts/me/email/messages/?after=2000-01-01&page_size=10"
ACTIVITY = "/accounts/me/subscriptions/default/activity"


def arm(sandbox: Any, kind: str, **more: Any) -> None:
    sandbox.admin("/faults", {"kind": kind, **more})


def fired(sandbox: Any) -> dict[str, int]:
    counts: dict[str, int] = sandbox.admin("/faults")["fired"]
    return counts


@pytest.mark.parametrize(
    ("kind", "args", "status", "code"),
    [
        ("rate_limit", {}, 429, "too_many_requests"),
        (
            "rate_limit",
            {"error_code": "too_many_service_requests", "retry_after": None},
            429,
            "too_many_service_requests",
        ),
        ("unauthorized", {}, 401, "unauthorized"),
        ("service_unauthorized", {}, 401, "service_unauthorized"),
        ("forbidden", {}, 403, "forbidden"),
        ("service_forbidden", {}, 403, "service_forbidden"),
        ("not_found", {}, 404, "not_found"),
        ("server_error", {"status": 500}, 500, "internal_error"),
        ("server_error", {"status": 502}, 502, "bad_gateway"),
        ("server_error", {}, 503, "service_not_available"),
        ("server_error", {"status": 504}, 504, "gateway_timeout"),
        ("status", {"status": 507, "error_code": "insufficient_storage"}, 507, "insufficient_storage"),
        ("error_200", {}, 200, "internal_error"),
    ],
)
def test_a_status_fires_once_and_is_counted(
    start: Any, connect: Any, kind: str, args: dict[str, Any], status: int, code: str
) -> None:
    sandbox = start()
    client = connect(sandbox)
    arm(sandbox, kind, args=args)
    answer = client.get(LIST)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert client.get(LIST).json()["count"] == 10
    assert fired(sandbox) == {kind: 1}


def test_retry_after_takes_any_value(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    for value in ("7", 0.5, -3, "garbage", "1e999"):
        arm(sandbox, "rate_limit", args={"retry_after": value})
        assert client.get(LIST).headers["retry-after"] == str(value)
    arm(sandbox, "rate_limit", args={"retry_after": 5, "form": "date"})
    assert client.get(LIST).headers["retry-after"].endswith("GMT")


def test_faults_match_account_route_path_turn_and_count(start: Any, connect: Any) -> None:
    sandbox = start(accounts=2)
    one, two = connect(sandbox, 1001), connect(sandbox, 1002)
    arm(sandbox, "server_error", account=1002, route="list", path="page_size=10", at=2, count=2)
    assert [one.get(LIST).status_code for _ in range(3)] == [200] * 3
    assert two.get("/accounts/me").status_code == 200
    assert two.get("/accounts/me/email/messages/").status_code == 200
    assert [two.get(LIST).status_code for _ in range(5)] == [200, 503, 503, 200, 200]
    arm(sandbox, "server_error", count=None, probability=0.5)
    codes = {one.get(LIST).status_code for _ in range(40)}
    assert codes == {200, 503}
    sandbox.admin("/faults/clear", {})
    assert {one.get(LIST).status_code for _ in range(20)} == {200}


@pytest.mark.parametrize(("kind", "status"), [("html_error", 502), ("html_404", 404), ("html_200", 200)])
def test_html_in_the_place_of_json(start: Any, connect: Any, kind: str, status: int) -> None:
    sandbox = start()
    arm(sandbox, kind)
    answer = connect(sandbox).get(LIST)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_odd_answers(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    arm(sandbox, "redirect")
    answer = client.get(LIST)
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:9/elsewhere")
    arm(sandbox, "empty_body")
    assert client.get(LIST).content == b""
    arm(sandbox, "wrong_content_type")
    answer = client.get(LIST)
    assert answer.headers["content-type"] == "text/plain"
    assert answer.json()["count"] == 10
    arm(sandbox, "no_date")
    assert "date" not in client.get(LIST).headers
    arm(sandbox, "wrong_date")
    assert "32 Foo" in client.get(LIST).headers["date"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", httpx.NetworkError),
        ("reset_after", httpx.NetworkError),
        ("reset_mid_body", httpx.NetworkError),
        ("short_body", httpx.RemoteProtocolError),
        ("bad_gzip", httpx.DecodingError),
        ("truncated_json", json.JSONDecodeError),
        ("cut_json", json.JSONDecodeError),
        ("poison_page", json.JSONDecodeError),
    ],
)
def test_broken_wires(start: Any, connect: Any, kind: str, error: type[Exception]) -> None:
    sandbox = start()
    client = connect(sandbox)
    arm(sandbox, kind)
    with pytest.raises(error):
        client.get(LIST).json()
    assert client.get(LIST).json()["count"] == 10
    assert fired(sandbox) == {kind: 1}


def test_a_reset_comes_before_or_after_the_deed(start: Any, connect: Any) -> None:
    sandbox = start(subscribed=False)
    client = connect(sandbox)
    for kind, subscribed in (("reset", False), ("reset_after", True)):
        arm(sandbox, kind, route="subscribe")
        with pytest.raises(httpx.NetworkError):
            client.post("/accounts/me/subscriptions/")
        assert sandbox.admin("/accounts/1001")["subscribed"] == subscribed


def test_slow_answers(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    for kind, args in (("hang", {"seconds": 30}), ("slow_answer", {}), ("slow_body", {}), ("slow_drip", {"bytes": 10})):
        arm(sandbox, kind, args=args)
        with pytest.raises(httpx.ReadTimeout):
            client.get(LIST, timeout=0.2)
    arm(sandbox, "slow_drip", args={"bytes": 5000, "seconds": 0.001})
    assert client.get(LIST).json()["count"] == 10


def test_a_gzip_bomb_unpacks_to_its_size(start: Any, connect: Any) -> None:
    sandbox = start()
    arm(sandbox, "gzip_bomb", args={"bytes": 5 << 20})
    answer = connect(sandbox).get(LIST)
    assert len(answer.content) > 5 << 20
    assert answer.json()["next_page"] is None


def test_poison_sticks_to_its_message(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    whole = everything(client)
    victim = whole[13]["id"]
    arm(sandbox, "poison_object", message_id=victim, count=None, args={"where": ["list"]})
    for _ in range(2):
        found = everything(client, page_size=10)
        assert [n for n, one in enumerate(found) if one == "this is no message"] == [13]
        assert [one for one in found if one != "this is no message"] == [m for m in whole if m["id"] != victim]
    assert client.get(f"/accounts/me/email/messages/{victim}").json() == whole[13]
    assert list(sandbox.truth(1001)[1]) == whole


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        ("nul", "\\u0000"),
        ("lone_surrogate", "\\ud83d"),
        ("impossible_date", "2023-02-30T25:61:00Z"),
        ("huge_integer", "1" + "0" * 400),
        ("nan", "NaN"),
        ("deep_nesting", "[" * 500),
        ("null_field", '"subject": null'),
        ("set_field", '"subject": 17'),
    ],
)
def test_poison_inside_a_message_reaches_list_and_get(start: Any, connect: Any, kind: str, sign: str) -> None:
    sandbox = start()
    client = connect(sandbox)
    victim = client.get(LIST).json()["objects"][4]["id"]
    arm(sandbox, kind, message_id=victim, count=None)
    assert sign in client.get(LIST).text
    assert sign in client.get(f"/accounts/me/email/messages/{victim}").text
    other = client.get(LIST).json()["objects"][0]["id"] if kind not in ("huge_integer", "deep_nesting") else None
    if other:
        assert sign not in client.get(f"/accounts/me/email/messages/{other}").text
    assert fired(sandbox)[kind] >= 2


def test_page_faults(start: Any, connect: Any, everything: Any, walk: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    whole = everything(client)
    arm(sandbox, "empty_page", at=2)
    assert everything(client, page_size=10) == whole
    arm(sandbox, "repeat_on_next_page")
    repeated = everything(client, page_size=10)
    assert repeated[9] == repeated[10]
    assert len(repeated) == len(whole) + 1
    arm(sandbox, "next_page_integer", count=None)
    assert everything(client, page_size=10) == whole
    sandbox.admin("/faults/clear", {})
    arm(sandbox, "next_page_loop")
    first = client.get(LIST).json()
    assert client.get(LIST, params={"page": first["next_page"], "after": "2000-01-01"}).json()["objects"][0] == whole[0]
    arm(sandbox, "omit", message_id=whole[3]["id"])
    assert len(everything(client, page_size=10)) == len(whole) - 1
    arm(sandbox, "empty_list")
    assert everything(client) == []
    arm(sandbox, "page_token_expired")
    client.get(LIST)
    page = client.get(LIST).json()["next_page"]
    assert client.get(f"{LIST}&page={page}").json()["error_code"] == "invalid_parameters"


def test_without_next_page_integers_lead_on_until_404(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    arm(sandbox, "next_page_missing", count=None)
    count, page = 0, client.get(LIST).json()
    while True:
        assert "next_page" not in page
        count += page["count"]
        answer = client.get(f"{LIST}&page={page['page'] + 1}")
        if answer.status_code == 404:
            break
        page = answer.json()
    assert count == 120


def test_event_faults(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    sandbox.admin("/accounts/1001/deliver", {"count": 5})
    plain = client.get(ACTIVITY).json()

    def spoiled(kind: str, **args: Any) -> Any:
        arm(sandbox, kind, args=args)
        return client.get(ACTIVITY).json()

    assert spoiled("cursor_null")["cursor"] is None
    assert spoiled("cursor_stuck")["cursor"] == "0"
    assert "cursor" not in spoiled("cursor_missing")
    assert "id" not in spoiled("event_without_id")["objects"][0]
    assert all("metadata" not in event for event in spoiled("event_without_metadata", all=True)["objects"])
    assert spoiled("event_null_metadata")["objects"][0]["metadata"] is None
    assert spoiled("event_unknown_kind")["objects"][0]["type"] == "restore"
    assert spoiled("event_other_type")["objects"][0]["metadata"]["type"] == "file"
    assert spoiled("events_duplicated")["count"] == 10
    shuffled = spoiled("events_shuffled")["objects"]
    assert shuffled != plain["objects"]
    assert sorted(e["id"] for e in shuffled) == [e["id"] for e in plain["objects"]]
    arm(sandbox, "cursor_expired", args={"mode": "410"})
    assert client.get(ACTIVITY, params={"cursor": "2"}).status_code == 410
    assert client.get(ACTIVITY).json() == plain


def test_a_message_vanishes_when_it_is_fetched(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    victim = client.get(LIST).json()["objects"][2]["id"]
    arm(sandbox, "message_vanishes", message_id=victim)
    answer = client.get(f"/accounts/me/email/messages/{victim}")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "not_found")
    assert victim not in {message["id"] for message in sandbox.truth(1001)[1]}
    assert client.get(ACTIVITY).json()["objects"][0]["type"] == "delete"


def test_every_kind_is_described_and_armed_without_harm_to_the_server(
    start: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = start()
    kinds = sandbox.admin("/faults")["kinds"]
    assert all(kinds.values())
    sandbox.admin("/accounts/1001/deliver", {})
    client = connect(sandbox)
    message = client.get(LIST).json()["objects"][9]["id"]
    paths = (LIST, f"{LIST}&page=2", ACTIVITY, f"{ACTIVITY}?cursor=0", f"/accounts/me/email/messages/{message}")
    for kind in kinds:
        arm(sandbox, kind, count=None, args={"seconds": 0.001, "bytes": 400})
        for path in paths:
            with contextlib.suppress(httpx.TransportError, httpx.DecodingError):
                client.get(path, timeout=10)
        sandbox.admin("/faults/clear", {})
        assert fired(sandbox).get(kind), kind
        assert not [record for record in caplog.records if record.name.startswith("uvicorn")], kind
    assert client.get(LIST).json()["count"] == 10


def test_an_unknown_fault_is_refused_in_a_sentence(start: Any) -> None:
    sandbox = start()
    with pytest.raises(SandboxError, match="is not a fault"):
        arm(sandbox, "gremlin")
    with pytest.raises(SandboxError, match="is not a route"):
        arm(sandbox, "reset", route="lists")
    with pytest.raises(SandboxError, match="regular expression"):
        arm(sandbox, "reset", path="(")
