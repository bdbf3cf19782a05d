"""Activity tells of every change since the subscription, within its retention."""

from typing import Any

import pytest

from worker.sandbox import Switches

PATH = "/accounts/me/subscriptions/default/activity"


def drain(client: Any, cursor: str | None = None, **params: Any) -> tuple[list[dict[str, Any]], str]:
    events: list[dict[str, Any]] = []
    while True:
        query = params if cursor is None else {**params, "cursor": cursor}
        answer = client.get(PATH, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        cursor = page["cursor"]
        assert isinstance(cursor, str)
        if not page["objects"]:
            return events, cursor
        events += page["objects"]


def test_a_page_has_the_keys_of_the_seed(start: Any, connect: Any) -> None:
    sandbox = start()
    sandbox.admin("/accounts/1001/deliver", {})
    page = connect(sandbox).get(PATH).json()
    assert page.keys() == {"objects", "cursor", "count", "type", "api"}
    assert (page["type"], page["api"], page["cursor"]) == ("object_list", "activity", "2")
    (event,) = page["objects"]
    assert event.keys() == {"id", "account", "modified", "type", "ip", "metadata", "api"}
    assert (event["account"], event["type"]) == (1001, "add")


def test_every_change_is_one_event_in_the_order_of_the_log(start: Any, connect: Any) -> None:
    sandbox = start(accounts=2, services=("gmail", "exchange_email"))
    for account in sandbox.account_ids:
        sandbox.admin(f"/accounts/{account}/churn", {"changes": 250, "seed": 1})
        log = sandbox.admin(f"/accounts/{account}/log")["changes"]
        client = connect(sandbox, account)
        events, cursor = drain(client)
        assert [(e["id"], e["type"], e["metadata"]["id"]) for e in events] == [
            (str(c["seq"]), c["kind"], c["message_id"]) for c in log
        ]
        assert drain(client, cursor) == ([], cursor)
        live = {message["id"] for message in sandbox.truth(account)[1]}
        gone = {e["metadata"]["id"] for e in events if e["type"] == "delete"}
        assert not live & gone


def test_nothing_before_the_subscription_is_told(start: Any, connect: Any) -> None:
    sandbox = start(subscribed=False)
    client = connect(sandbox)
    sandbox.admin("/accounts/1001/deliver", {})
    assert client.get(PATH).json()["error_code"] == "not_found"
    assert client.get("/accounts/me/subscriptions").json()["total"] == 0
    made = client.post("/accounts/me/subscriptions/")
    assert made.status_code == 201
    assert client.get(f"/accounts/me/subscriptions/{made.json()['id']}/").json() == made.json()
    assert client.get("/accounts/me/subscriptions").json()["objects"] == [made.json()]
    assert client.get("/accounts/me/subscriptions/7/activity").status_code == 404
    assert drain(client) == ([], "2")
    second = client.post("/accounts/me/subscriptions/")
    assert (second.status_code, second.json()["error_code"]) == (403, "forbidden")
    deleted = client.delete("/accounts/me/subscriptions/default")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert client.get(PATH).status_code == 404


def test_a_plan_or_service_without_activity(start: Any, connect: Any) -> None:
    sandbox = start(accounts=2, services=("gmail", "imap"))
    sandbox.admin("/accounts/1001", {"activity": "forbidden"})
    assert connect(sandbox, 1001).get(PATH).json()["error_code"] == "forbidden"
    assert connect(sandbox, 1002).get(PATH).json()["error_code"] == "not_implemented"
    assert connect(sandbox, 1002).post("/accounts/me/subscriptions").status_code == 501


@pytest.mark.parametrize("mode", ["400", "404", "410", "silent_skip"])
@pytest.mark.parametrize("by", ["count", "age"])
def test_a_cursor_expires_by_count_and_by_age(start: Any, connect: Any, mode: str, by: str) -> None:
    switches = Switches().changed({"cursor_expiry": mode, "retained_events": 10 if by == "count" else 10_000})
    sandbox = start(switches=switches)
    client = connect(sandbox)
    sandbox.admin("/accounts/1001/deliver", {"count": 5})
    _, old = drain(client)
    sandbox.admin("/accounts/1001/deliver", {"count": 2})
    assert client.get(PATH, params={"cursor": old}).json()["count"] == 2
    if by == "age":
        sandbox.admin("/clock", {"advance": 24 * 3600 + 1})
    sandbox.admin("/accounts/1001/deliver", {"count": 10})
    answer = client.get(PATH, params={"cursor": old})
    if mode == "silent_skip":
        assert [e["id"] for e in answer.json()["objects"]] == [str(n) for n in range(8, 18)]
    else:
        assert answer.status_code == int(mode)
    assert len(drain(client)[0]) == 10
    assert client.get(PATH, params={"cursor": "0"}).json()["count"] == 10
    nonsense = client.get(PATH, params={"cursor": "nonsense"})
    assert nonsense.status_code == (200 if mode == "silent_skip" else int(mode))


def test_ten_thousand_events_are_retained_by_default(start: Any, connect: Any) -> None:
    sandbox = start(messages=10)
    for _ in range(2):
        sandbox.admin("/accounts/1001/relabel", {"all": True, "add": ["x"], "remove": []})
        sandbox.admin("/accounts/1001/relabel", {"all": True, "add": [], "remove": ["x"]})
    sandbox.admin("/accounts/1001/deliver", {"count": 10_000})
    assert sandbox.admin("/accounts/1001/log?limit=1")["length"] == 10_040
    events, _ = drain(connect(sandbox), page_size=1000)
    assert len(events) == 10_000


def test_activity_comes_after_its_lag(start: Any, connect: Any) -> None:
    sandbox = start()
    sandbox.admin("/switches", {"activity_lag": 60})
    client = connect(sandbox)
    sandbox.admin("/accounts/1001/deliver", {})
    _, cursor = drain(client)
    assert cursor == "1"
    sandbox.admin("/clock", {"advance": 61})
    assert len(drain(client, cursor)[0]) == 1


@pytest.mark.parametrize("mode", ["ids", "null", "full"])
def test_delete_metadata(start: Any, connect: Any, mode: str) -> None:
    sandbox = start()
    sandbox.admin("/switches", {"delete_metadata": mode})
    (gone,) = sandbox.admin("/accounts/1001/delete", {"newest": 1})["message_ids"]
    metadata = connect(sandbox).get(PATH).json()["objects"][0]["metadata"]
    if mode == "null":
        assert metadata is None
    else:
        assert metadata["id"] == gone
        assert ("subject" in metadata) == (mode == "full")


@pytest.mark.parametrize("changes_id", [False, True])
def test_a_move_is_an_update_or_a_new_message(start: Any, connect: Any, changes_id: bool) -> None:
    sandbox = start(services=("outlook_email",))
    sandbox.admin("/switches", {"move_changes_id": changes_id})
    client = connect(sandbox)
    before = client.get("/accounts/me/email/messages/?after=2000-01-01").json()["objects"][0]
    moved = sandbox.admin("/accounts/1001/move", {"message_id": before["id"], "folder": "Ablage"})["message_ids"][0]
    after = client.get(f"/accounts/me/email/messages/{moved}").json()
    assert client.get(f"/accounts/me/email/folders/{after['folder_id']}").json()["name"] == "Ablage"
    kinds = [(e["type"], e["metadata"]["id"]) for e in drain(client)[0]]
    if changes_id:
        assert kinds == [("delete", before["id"]), ("add", moved)]
        assert client.get(f"/accounts/me/email/messages/{before['id']}").status_code == 404
    else:
        assert kinds == [("update", before["id"])]
    kept = {"subject", "created", "text_body", "body", "labels", "thread_id"}
    assert {name: before[name] for name in kept} == {name: after[name] for name in kept}


def test_a_rename_is_told_by_no_event(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start()
    sandbox.admin("/accounts/1001/rename", {"kind": "label", "name": "INBOX", "to": "Eingang"})
    client = connect(sandbox)
    assert drain(client)[0] == []
    names = {label["name"] for m in everything(client) for label in m["labels"]}
    assert "Eingang" in names
    assert "INBOX" not in names
    assert everything(client, labels="Eingang")
    assert client.get("/accounts/me/email/labels/label_SU5CT1g").json()["name"] == "Eingang"


def test_the_latest_cursor_is_off_unless_switched_on(start: Any, connect: Any) -> None:
    sandbox = start()
    sandbox.admin("/accounts/1001/deliver", {"count": 3})
    client = connect(sandbox)
    assert client.get("/accounts/me/events/latest/").json() == {"cursor": "4"}
    for path in ("latest", "latest-cursor"):
        assert client.get(f"{PATH}/{path}").status_code == 404
    sandbox.admin("/switches", {"latest_cursor": True})
    for path in ("latest", "latest-cursor"):
        assert client.get(f"{PATH}/{path}").json() == {"cursor": "4"}
