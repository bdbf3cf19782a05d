"""Windows are half-open, pages follow each other, and each switch does what it says."""

from typing import Any

import pytest

from worker.sandbox import Switches

SWITCHES: tuple[dict[str, str], ...] = (
    {},
    {"order": "shuffled"},
    {"paging": "offset"},
    {"order": "shuffled", "paging": "offset"},
)


def deliver(sandbox: Any, created: str, **more: Any) -> str:
    ids: list[str] = sandbox.admin("/accounts/1001/deliver", {"created": created, **more})["message_ids"]
    return ids[0]


def listed(client: Any, **params: Any) -> list[str]:
    answer = client.get("/accounts/me/email/messages/", params=params)
    assert answer.status_code == 200, answer.text
    return [message["id"] for message in answer.json()["objects"]]


def test_after_is_inclusive_and_before_exclusive(start: Any, connect: Any) -> None:
    sandbox = start(messages=0)
    ids = [deliver(sandbox, f"2024-01-01T00:00:0{second}Z") for second in range(4)]
    client = connect(sandbox)
    window = {"after": "2024-01-01T00:00:01Z", "before": "2024-01-01T00:00:03Z"}
    assert listed(client, **window) == [ids[2], ids[1]]
    assert listed(client, after="2024-01-01T00:00:01.5Z", before="2024-01-01T00:00:02.5Z") == [ids[2]]
    assert listed(client, after="2024-01-01T01:00:01+01:00", before="2024-01-01T00:00:03") == [ids[2], ids[1]]
    assert set(listed(client, after="0001-01-01T00:00:00Z", before="9999-12-31T23:59:59Z")) == set(ids)


def test_the_default_window_is_three_days_before_before(start: Any, connect: Any) -> None:
    sandbox = start(messages=0)
    ids = [deliver(sandbox, f"2024-06-0{day}T12:00:00Z") for day in (1, 2, 3, 4)]
    sandbox.admin("/clock", {"set": "2024-06-05T11:59:00Z", "frozen": True})
    client = connect(sandbox)
    assert listed(client) == [ids[3], ids[2], ids[1]]
    assert listed(client, before="2024-06-04T12:00:00Z") == [ids[2], ids[1], ids[0]]
    assert listed(client, after="2024-06-04T00:00:00Z") == [ids[3]]


def test_bad_parameters_are_refused(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    for params in ({"page_size": 0}, {"page_size": 1001}, {"page_size": "x"}, {"after": "soon"}, {"page": "x!"}):
        answer = client.get("/accounts/me/email/messages/", params=params)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_parameters")
    backwards = {"after": "2024-02-01T00:00:00Z", "before": "2024-01-01T00:00:00Z"}
    assert listed(client, **backwards) == []
    sandbox.admin("/switches", {"after_ge_before": "400"})
    assert client.get("/accounts/me/email/messages/", params=backwards).status_code == 400


@pytest.mark.parametrize("switches", SWITCHES)
def test_a_quiet_mailbox_is_walked_exactly_once(start: Any, connect: Any, walk: Any, switches: dict[str, str]) -> None:
    sandbox = start(messages=230, accounts=2, services=("gmail", "outlook_email"))
    sandbox.admin("/switches", switches)
    for account in sandbox.account_ids:
        sandbox.admin(f"/accounts/{account}/churn", {"changes": 100, "seed": 3})
        head, truth = sandbox.truth(account)
        messages = {message["id"]: message for message in truth}
        assert head["count"] == len(messages)
        for size in (7, 100):
            pages = walk(connect(sandbox, account), page_size=size)
            found = [message for page in pages for message in page["objects"]]
            assert len(found) == len(messages)
            assert {message["id"]: message for message in found} == messages
            assert [page["page"] for page in pages[1:]] == [page["next_page"] for page in pages[:-1]]
            in_order = [m["created"] for m in found] == sorted((m["created"] for m in found), reverse=True)
            assert in_order == (switches.get("order") != "shuffled")


def test_pages_are_capped_by_service_and_switch(start: Any, connect: Any, walk: Any) -> None:
    sandbox = start(messages=230, accounts=2, services=("gmail", "outlook_email"))
    assert walk(connect(sandbox, 1001), page_size=1000)[0]["count"] == 50
    assert walk(connect(sandbox, 1002), page_size=1000)[0]["count"] == 230
    assert walk(connect(sandbox, 1002))[0]["count"] == 100
    sandbox.admin("/switches", {"account": 1002, "page_size_cap": 10})
    assert walk(connect(sandbox, 1002))[0]["count"] == 10


def test_pages_are_capped_in_bytes(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start()
    sandbox.admin("/switches", {"max_page_bytes": 6000})
    client = connect(sandbox)
    first = client.get("/accounts/me/email/messages/?after=2001-01-01&before=2030-01-01")
    assert 1 <= first.json()["count"] < 10
    assert len({message["id"] for message in everything(client)}) == 120


def _changes_between_pages(sandbox: Any, client: Any, change: Any) -> list[str]:
    query = {"after": "2000-01-01", "before": "2030-01-01", "page_size": 10}
    first = client.get("/accounts/me/email/messages/", params=query).json()
    change(first)
    query["page"] = first["next_page"]
    second = client.get("/accounts/me/email/messages/", params=query).json()
    return [message["id"] for message in first["objects"] + second["objects"]]


def test_offset_paging_skips_what_moves_up_when_mail_is_deleted(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    for paging, skipped in (("offset", 1), ("keyset", 0)):
        sandbox.admin("/switches", {"paging": paging})
        before = [message["id"] for message in sandbox.truth(1001)[1]]

        def delete(page: Any) -> None:
            sandbox.admin("/accounts/1001/delete", {"message_id": page["objects"][0]["id"]})

        seen = _changes_between_pages(sandbox, client, delete)
        assert len(set(before[:20]) - set(seen)) == skipped
        assert (before[10] in seen) != bool(skipped)


def test_offset_paging_repeats_when_mail_arrives(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    for paging, repeated in (("offset", 1), ("keyset", 0)):
        sandbox.admin("/switches", {"paging": paging})
        seen = _changes_between_pages(sandbox, client, lambda _: sandbox.admin("/accounts/1001/deliver", {}))
        assert len(seen) - len(set(seen)) == repeated


def test_a_page_token_is_bound_to_account_and_filters_and_ages(start: Any, connect: Any) -> None:
    sandbox = start(accounts=2, switches=Switches(page_token_ttl=60))
    client = connect(sandbox)
    path = "/accounts/me/email/messages/"
    query = {"after": "2000-01-01", "before": "2030-01-01", "page_size": "10"}
    token = client.get(path, params=query).json()["next_page"]
    assert client.get(path, params={**query, "page": token}).status_code == 200
    assert client.get(path, params={"page": token, "page_size": 10}).status_code == 200
    assert client.get(path, params={**query, "after": "2001-01-01", "page": token}).status_code == 400
    assert connect(sandbox, 1002).get(path, params={**query, "page": token}).status_code == 400
    sandbox.admin("/clock", {"advance": 61})
    late = client.get(path, params={**query, "page": token})
    assert (late.status_code, late.json()["error_code"]) == (400, "invalid_parameters")


def test_filters(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start(accounts=2, services=("gmail", "outlook_email"))
    gmail, outlook = connect(sandbox, 1001), connect(sandbox, 1002)
    mail = everything(gmail)
    both = {m["id"] for m in mail if {"INBOX", "UNREAD"} <= {label["name"] for label in m["labels"]}}
    assert both
    assert {m["id"] for m in everything(gmail, labels=["INBOX", "UNREAD"])} == both
    assert everything(gmail, labels="no such label") == []
    thread = max((m["thread_id"] for m in mail), key=lambda t: sum(m["thread_id"] == t for m in mail))
    assert {m["id"] for m in everything(gmail, thread_id=thread)} == {m["id"] for m in mail if m["thread_id"] == thread}
    assert len(everything(gmail, folder_id="folder_x")) == len(mail)
    folder = everything(outlook)[0]["folder_id"]
    assert {m["folder_id"] for m in everything(outlook, folder_id=folder, page_size=7)} == {folder}


def test_new_mail_is_listed_only_after_the_lag(start: Any, connect: Any) -> None:
    sandbox = start(messages=0)
    sandbox.admin("/switches", {"list_lag": 30})
    client = connect(sandbox)
    message = deliver(sandbox, "2024-06-05T11:00:00Z")
    assert listed(client, after="2024-01-01") == []
    assert client.get(f"/accounts/me/email/messages/{message}").status_code == 200
    assert client.get("/accounts/me/subscriptions/default/activity").json()["count"] == 1
    sandbox.admin("/clock", {"advance": 31})
    assert listed(client, after="2024-01-01") == [message]


def test_wild_dates_show_the_date_header_as_written(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start(messages=0)
    dates = ("18 Jul 102 10:00:00 +0000", "Tue, 01 Jan 3609 00:00:00 +0000", "1 Jan 1969 00:00:00 -0000", "never")
    for date in dates:
        sandbox.admin("/accounts/1001/deliver", {"raw": f"Date: {date}\n\nx\n"})
    client = connect(sandbox)
    assert {m["created"][:10] for m in everything(client)} == {"2024-06-05"}
    sandbox.admin("/switches", {"wild_dates": True})
    wild = [m["created"] for m in everything(client)]
    assert wild[0] == "3609-01-01T00:00:00Z"
    assert wild[1][:10] == "2024-06-05"
    assert wild[2:] == ["1969-01-01T00:00:00Z", "0102-07-18T10:00:00Z"]
    assert wild == [m["created"] for m in sandbox.truth(1001)[1]]
    assert len(listed(client, after="0001-01-01T00:00:00Z", before="0103-01-01T00:00:00Z")) == 1


def test_file_ids_change_at_every_read_when_told_to(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start()
    sandbox.admin("/switches", {"attachment_ids": "changing"})
    client = connect(sandbox)
    first, second = everything(client), everything(client)
    assert all(a["rfc822"]["id"] != b["rfc822"]["id"] for a, b in zip(first, second, strict=True))
    files = [f["id"] for messages in (first, second) for m in messages for f in m["attachments"]]
    assert len(set(files)) == len(files) > 0
    assert client.get(f"/accounts/me/storage/files/{files[0]}/contents").status_code == 200
