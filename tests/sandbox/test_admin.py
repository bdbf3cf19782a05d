"""The admin API changes mail truly, and says what it saw."""

from typing import Any

import pytest

from worker.sandbox import SandboxError


def test_messages_are_selected_in_every_way(start: Any) -> None:
    sandbox = start()
    path = "/accounts/1001/relabel"
    order = [message["id"] for message in sandbox.truth(1001)[1]]

    def chosen(**select: Any) -> list[str]:
        ids: list[str] = sandbox.admin(path, {**select, "add": ["x"]})["message_ids"]
        return ids

    assert chosen(newest=3) == order[:3]
    assert chosen(oldest=2) == order[-2:]
    assert chosen(message_id=order[7]) == [order[7]]
    assert chosen(message_ids=order[5:8]) == order[5:8]
    assert chosen(random=4, seed=1) == chosen(random=4, seed=1)
    assert set(order[:3]) <= set(chosen(label="x"))
    assert chosen(all=True) == order
    names = [{label["name"] for label in message["labels"]} for message in sandbox.truth(1001)[1]]
    assert all("x" in one for one in names)


def test_a_change_that_changes_nothing_is_not_logged(start: Any) -> None:
    sandbox = start()
    for _ in range(2):
        sandbox.admin("/accounts/1001/relabel", {"newest": 1, "add": ["INBOX", "x"], "remove": ["UNREAD"]})
    assert sandbox.admin("/accounts/1001/log")["length"] == 1


def test_delivery_takes_a_date_and_a_place(start: Any) -> None:
    sandbox = start(accounts=2, services=("gmail", "outlook_email"), messages=3)
    for account, place in ((1001, {"labels": ["INBOX", "New one"]}), (1002, {"folder": "Archive", "labels": []})):
        body = {"count": 2, "created": "2019-03-01T00:00:00Z", **place}
        ids = sandbox.admin(f"/accounts/{account}/deliver", body)["message_ids"]
        found = {m["id"]: m for m in sandbox.truth(account)[1]}
        for one in ids:
            assert found[one]["created"] == "2019-03-01T00:00:00Z"
            assert [label["name"] for label in found[one]["labels"]] == place["labels"]
    assert sandbox.admin("/accounts/1001/log")["length"] == 2


def test_churn_is_the_same_for_the_same_seed(start: Any) -> None:
    results = []
    for _ in range(2):
        sandbox = start(accounts=2, services=("gmail", "imap"))
        done = [sandbox.admin(f"/accounts/{a}/churn", {"changes": 80, "seed": 9}) for a in (1001, 1002)]
        results.append((done, [list(sandbox.truth(a)[1]) for a in (1001, 1002)]))
    (first, mail), (second, again) = results
    assert first == second
    assert {"deliver", "late", "relabel", "delete"} <= first[0].keys()
    assert [[m["id"] for m in one] for one in mail] == [[m["id"] for m in one] for one in again]


def test_truth_streams_while_the_mailbox_changes(start: Any) -> None:
    sandbox = start(messages=2000)
    head, messages = sandbox.truth(1001)
    assert head["count"] == 2000
    seen = [next(messages)["id"] for _ in range(50)]
    sandbox.admin("/accounts/1001/churn", {"changes": 100, "seed": 1})
    seen += [message["id"] for message in messages]
    assert len(seen) == len(set(seen)) > 1800


def test_accounts_are_made_and_mended_at_run_time(start: Any, connect: Any) -> None:
    sandbox = start()
    made = sandbox.admin("/accounts", {"service": "imap", "address": "new@x.example", "messages": 5, "days": 1})
    assert (made["id"], made["service"], made["messages"]) == (1002, "imap", 5)
    client = connect(sandbox, 1002)
    assert client.get("/accounts/me/email/messages/").json()["count"] == 5
    renewed = sandbox.admin("/accounts/1002", {"token": "renew"})
    assert renewed["token"] != made["token"]
    assert client.get("/accounts/me").status_code == 401
    assert connect(sandbox, 1002).get("/accounts/me").status_code == 200


def test_requests_are_logged_and_counted(start: Any, connect: Any) -> None:
    sandbox = start()
    connect(sandbox).get("/accounts/me/email/messages/?page_size=5")
    log = sandbox.admin("/requests?account=1001&route=list")
    (one,) = log["objects"]
    assert (one["method"], one["status"], one["account"], one["route"]) == ("GET", 200, 1001, "list")
    assert (one["path"], one["query"]) == ("/v1/accounts/me/email/messages/", "page_size=5")
    assert sandbox.admin("/counters")["by"] == {"list 200": 1}
    assert sandbox.admin(f"/requests?after={one['n']}")["objects"] == []


def test_the_clock_is_set_advanced_and_frozen(start: Any) -> None:
    sandbox = start()
    assert sandbox.admin("/clock")["now"].startswith("2024-06-05T12:0")
    assert sandbox.admin("/clock", {"set": "2030-01-01T00:00:00Z", "frozen": True})["now"] == "2030-01-01T00:00:00Z"
    assert sandbox.admin("/clock", {"advance": 90})["now"] == "2030-01-01T00:01:30Z"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/switches", {"paging": "sideways"}, "No such switch or value"),
        ("/switches", {"colour": 1}, "No such switch or value"),
        ("/accounts/7", {}, "Account 7 not found"),
        ("/accounts/1001/delete", {}, "Select messages"),
        ("/accounts/1001/delete", {"message_id": "message_x"}, "Message not found"),
        ("/accounts/1001/move", {"newest": 1, "folder": "x"}, "gmail has no folders"),
        ("/accounts/1001/deliver", {"created": "soon"}, "is not a time"),
        ("/accounts", {"service": "fax"}, "fax is not a service"),
        ("/accounts", {"colour": 1}, "colour is not known"),
        ("/accounts/1001/churn", {"changes": []}, "wrong kind"),
        ("/nothing", {}, "no route"),
    ],
)
def test_bad_input_is_one_sentence(start: Any, path: str, body: dict[str, Any], words: str) -> None:
    sandbox = start(messages=1)
    with pytest.raises(SandboxError, match=words):
        sandbox.admin(path, body)
