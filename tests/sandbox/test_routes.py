"""The routes answer in the shapes of the seed, and errors in the API's own form."""

import base64
import json
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest

MESSAGE = {
    "id", "thread_id", "folder_id", "labels", "subject", "snippet", "created", "type", "api", "to", "cc", "bcc",
    "text_body", "body", "attachments", "rfc822", "from",
}  # fmt: skip
SERVICES = ("gmail", "outlook_email", "exchange_email", "imap")


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body.keys() == {"status_code", "message", "error_code", "id"}
    assert body["status_code"] == answer.status_code
    return answer.status_code, body["error_code"]


def test_a_list_has_the_keys_of_the_seed(start: Any, connect: Any) -> None:
    client = connect(start(days=10))
    page = client.get("/accounts/me/email/messages/").json()
    assert page.keys() == {"count", "page", "next_page", "objects", "type", "api"}
    assert (page["page"], page["type"], page["api"]) == (1, "object_list", "email")
    message = page["objects"][0]
    assert message.keys() == MESSAGE
    assert message["from"].keys() == {"email", "name", "type", "api"}
    assert message["rfc822"].keys() == {"api", "type", "id", "mime_type", "name", "href"}
    assert (message["rfc822"]["mime_type"], message["rfc822"]["name"]) == ("message/rfc822", "raw_content.rfc822")
    assert message["rfc822"]["href"].startswith("https://api.kloudless.com/v1/accounts/1001/storage/files/file_")
    assert message["created"].endswith("Z")


def test_ids_are_unpadded_base64_of_upstream_ids(start: Any, connect: Any, everything: Any) -> None:
    for message in everything(connect(start())):
        upstream = base64.urlsafe_b64decode(message["id"].removeprefix("message_") + "==").decode()
        assert len(upstream) == 16
        assert int(upstream, 16) >= 0
        assert "=" not in message["id"]


def test_a_message_by_id_equals_the_listed_one_in_both_slash_forms(start: Any, connect: Any, everything: Any) -> None:
    client = connect(start())
    for message in everything(client)[:5]:
        for slash in ("", "/"):
            assert client.get(f"/accounts/1001/email/messages/{message['id']}{slash}").json() == message


def test_text_only_mail_is_wrapped_and_escaped(start: Any, connect: Any) -> None:
    sandbox = start(messages=0)
    sandbox.admin("/accounts/1001/deliver", {"raw": "From: a@b.example\nSubject: x\n\n1 < 2 & 3\n"})
    message = connect(sandbox).get("/accounts/me/email/messages/").json()["objects"][0]
    assert message["text_body"] == "1 < 2 & 3\n"
    assert message["body"] == "<pre>1 &lt; 2 &amp; 3\n</pre>"
    assert message["from"]["name"] is None


def test_services_differ_in_labels_and_folders(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start(accounts=4, services=SERVICES)
    for account, service in zip(sandbox.account_ids, SERVICES, strict=True):
        client = connect(sandbox, account)
        messages = everything(client)
        assert all((m["folder_id"] is None) == (service in ("gmail", "imap")) for m in messages)
        assert any(m["labels"] for m in messages) == (service != "imap")
        label = "label_VU5SRUFE" if service == "gmail" else "label_Rm9sbG93IHVw"
        found = client.get(f"/accounts/me/email/labels/{label}")
        if service == "imap":
            assert error_of(found) == (501, "not_implemented")
        else:
            assert found.json().keys() == {"id", "name", "type", "api"}
            assert error_of(client.get("/accounts/me/email/labels/label_eHh4")) == (404, "not_found")
        if service == "gmail":
            assert error_of(client.get("/accounts/me/email/folders/folder_x")) == (501, "not_implemented")
        head, _ = sandbox.truth(account)
        for folder in head["folders"]:
            assert client.get(f"/accounts/me/email/folders/{folder['id']}").json() == folder


def test_search_finds_words_and_operators(start: Any, connect: Any) -> None:
    sandbox = start(accounts=4, services=SERVICES)
    gmail = connect(sandbox)
    for query in ("falcon", "from:sandbox.example", "is:unread", "newer_than:30d label:inbox"):
        page = gmail.get("/accounts/me/email/search/", params={"q": query}).json()
        assert page["type"] == "object_list"
        assert page["count"] > 0
    assert error_of(gmail.get("/accounts/me/email/search")) == (400, "invalid_parameters")
    assert error_of(gmail.get("/accounts/me/email/search?q=")) == (400, "invalid_parameters")
    assert error_of(connect(sandbox, 1004).get("/accounts/me/email/search?q=x")) == (501, "not_implemented")


def test_files_give_metadata_and_the_original_bytes(start: Any, connect: Any) -> None:
    sandbox = start(messages=0)
    raw = (
        "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x\r\n"
        "Content-Type: text/csv; name*=utf-8''%C3%BC.csv\r\nContent-Transfer-Encoding: base64\r\n\r\nYSxi\r\n--x--\r\n"
    )
    sandbox.admin("/accounts/1001/deliver", {"raw": raw})
    client = connect(sandbox)
    message = client.get("/accounts/me/email/messages/").json()["objects"][0]
    (attachment,) = message["attachments"]
    assert (attachment["name"], attachment["mime_type"], attachment["size"]) == ("ü.csv", "text/csv", 3)
    path = f"/accounts/me/storage/files/{attachment['id']}"
    assert client.get(path + "/").json()["size"] == 3
    contents = client.get(path + "/contents/")
    assert (contents.content, contents.headers["content-type"]) == (b"a,b", "text/csv")
    assert "content-length" not in contents.headers
    whole = client.get(f"/accounts/me/storage/files/{message['rfc822']['id']}/contents")
    assert whole.content == raw.encode()
    assert error_of(client.get("/accounts/me/storage/files/file_eHh4/contents")) == (404, "not_found")


def test_generated_mail_has_files_of_its_own(start: Any, connect: Any, everything: Any) -> None:
    client = connect(start())
    seen = 0
    for message in everything(client):
        for attachment in message["attachments"]:
            contents = client.get(f"/accounts/me/storage/files/{attachment['id']}/contents").content
            assert len(contents) == attachment["size"]
            seen += 1
    assert seen
    rfc822 = client.get(f"/accounts/me/storage/files/{message['rfc822']['id']}/contents").text
    assert "\r\n\r\n" in rfc822


def test_raw_data_comes_only_when_asked_for(start: Any, connect: Any, everything: Any) -> None:
    client = connect(start())
    message = everything(client)[0]
    path = f"/accounts/me/email/messages/{message['id']}"
    raw = client.get(path, headers={"X-Kloudless-Raw-Data": "true"}).json()
    assert raw["raw"]["object"]["id"] == raw["raw_id"]
    assert raw.keys() - {"raw", "raw_id"} == message.keys()


def test_authorization(start: Any, connect: Any) -> None:
    sandbox = start(accounts=2)
    client, key = connect(sandbox), connect(sandbox, None)
    path = "/accounts/1002/email/messages/"
    assert client.get("/oauth/token").json() == {"client_id": "sandbox-app", "account_id": 1001}
    assert client.get("/oauth/token", headers={"Authorization": "Bearer nonsense"}).status_code == 400
    assert error_of(client.get(path)) == (403, "forbidden")
    assert error_of(client.get(path, headers={"Authorization": "Bearer nonsense"})) == (401, "unauthorized")
    assert error_of(client.get(path, headers={"Authorization": ""})) == (401, "authentication_required")
    assert key.get(path).status_code == 200
    assert key.get(path, headers={"Authorization": f"apikey {sandbox.api_key}"}).status_code == 200
    assert error_of(key.get("/accounts/me")) == (400, "bad_request")
    assert error_of(key.get("/accounts/7")) == (404, "not_found")
    assert [a["id"] for a in key.get("/accounts/").json()["objects"]] == [1001, 1002]
    assert [a["id"] for a in client.get("/accounts").json()["objects"]] == [1001]
    assert client.get("/accounts/me").json()["account"] == "user1001@sandbox.example"
    sandbox.admin("/accounts/1002", {"broken": True})
    assert error_of(key.get(path)) == (401, "service_unauthorized")
    sandbox.admin("/accounts/1001", {"token": "revoke"})
    assert error_of(client.get("/accounts/me")) == (401, "unauthorized")
    sandbox.admin("/accounts/1002", {"removed": True})
    assert error_of(key.get(path)) == (404, "not_found")


def test_wrong_paths_and_methods(start: Any, connect: Any) -> None:
    client = connect(start())
    assert error_of(client.get("/accounts/me/email/drafts")) == (404, "not_found")
    assert error_of(client.delete("/accounts/me/email/messages/")) == (405, "method_not_allowed")
    assert error_of(client.post("/accounts/me/email/messages/send", json={})) == (501, "not_implemented")


def test_every_answer_carries_the_sandbox_date(start: Any, connect: Any) -> None:
    sandbox = start()
    client = connect(sandbox)
    sandbox.admin("/clock", {"set": "2031-01-02T03:04:05Z", "frozen": True})
    for path in ("/accounts/me", "/nothing", "/accounts/me/email/messages/"):
        assert client.get(path).headers["date"] == "Thu, 02 Jan 2031 03:04:05 GMT"


def test_gzip_only_when_it_is_accepted(start: Any, connect: Any) -> None:
    sandbox = start()
    path = "/accounts/me/email/messages/?after=2020-01-01"
    packed = connect(sandbox).get(path, headers={"Accept-Encoding": "gzip"})
    plain = connect(sandbox).get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert json.loads(packed.text) == json.loads(plain.text)


@pytest.mark.parametrize(
    ("form", "pattern"), [("seconds", r"\d+"), ("float", r"\d+\.\d\d"), ("date", r".* GMT"), ("missing", None)]
)
def test_the_rate_limit_has_every_form_of_retry_after(start: Any, connect: Any, form: str, pattern: str | None) -> None:
    sandbox = start()
    sandbox.admin("/switches", {"limit_account": 2, "limit_window": 60, "retry_after": form})
    client = connect(sandbox)
    answers = [client.get("/accounts/me") for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert answers[2].json()["error_code"] == "too_many_service_requests"
    header = answers[2].headers.get("retry-after")
    assert header is None if pattern is None else re.fullmatch(pattern, header)


def test_redirect_slash_answers_301(start: Any, connect: Any) -> None:
    sandbox = start()
    sandbox.admin("/switches", {"redirect_slash": True})
    answer = connect(sandbox).get("/accounts/me")
    assert (answer.status_code, answer.headers["location"]) == (301, "/v1/accounts/me/")


NONSENSE = (
    "",
    "x",
    "-1",
    "0",
    "9" * 5000,
    "\0",
    "é",
    "%",
    "=",
    "default",
    "me",
    "W10",
    "e30",
    "WzEwMDEsW10sLTEsbnVsbCwwLG51bGxd",
)


def test_no_nonsense_makes_the_server_fail(start: Any, connect: Any) -> None:
    client = connect(start(messages=5))
    deep = base64.urlsafe_b64encode(b"[" * 30_000).decode().rstrip("=")
    for word in (*NONSENSE, deep):
        quoted = quote(word, safe="")
        for path in (
            f"/accounts/{quoted}/email/messages/",
            f"/accounts/me/email/messages/message_{quoted}",
            f"/accounts/me/email/labels/label_{quoted}",
            f"/accounts/me/storage/files/file_{quoted}/contents",
            f"/accounts/me/subscriptions/{quoted}/activity",
        ):
            assert client.get(path).status_code < 500, path
        for name in ("page", "page_size", "after", "before", "labels", "thread_id", "folder_id", "q", "cursor"):
            for route in ("email/messages/", "email/search/", "subscriptions/default/activity"):
                answer = client.get(f"/accounts/me/{route}", params={name: word})
                assert answer.status_code < 500, (route, name, word)
