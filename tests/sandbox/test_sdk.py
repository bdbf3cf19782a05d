"""The published Python SDK of the service, unchanged, works against the sandbox."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its compatibility modules may warn at import
    kloudless: Any = pytest.importorskip("kloudless", reason="the kloudless SDK is not installed")
    from kloudless.config import configuration
    from kloudless.exceptions import APIException, RateLimitException

WINDOW = {"after": "2001-01-01T00:00:00Z", "before": "2030-01-01T00:00:00Z"}


@pytest.fixture
def account(start: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    sandbox = start(messages=170)
    monkeypatch.setitem(configuration, "base_url", sandbox.url.removesuffix("/v1"))
    made = kloudless.get_verified_account("sandbox-app", sandbox.token(1001))
    made.trust_env = False
    yield sandbox, made
    made.close()


def test_the_sdk_pages_through_all_messages(account: tuple[Any, Any]) -> None:
    sandbox, client = account
    listed = client.get("email/messages", params=WINDOW)
    found = [resource.data for resource in listed.get_paging_iterator()]
    assert found == list(sandbox.truth(1001)[1])


def test_the_sdk_guesses_integer_pages_where_next_page_is_missing(account: tuple[Any, Any]) -> None:
    sandbox, client = account
    sandbox.admin("/faults", {"kind": "next_page_missing", "count": None})
    listed = client.get("email/messages", params=WINDOW)
    assert len(list(listed.get_paging_iterator())) == 170


def test_the_sdk_gets_a_message_with_raw_data_and_its_contents(account: tuple[Any, Any]) -> None:
    sandbox, client = account
    message = next(sandbox.truth(1001)[1])
    found = client.get(f"email/messages/{message['id']}", get_raw_data=True).data
    assert found.pop("raw_id") == found.pop("raw")["object"]["id"]
    assert found == message
    assert client.get(f"email/messages/{message['id']}", get_raw_data=False).data == message
    contents = client.get(f"storage/files/{message['rfc822']['id']}/contents")
    assert b"Message-ID: " in contents.content


def test_the_sdk_reads_activity_and_subscribes(account: tuple[Any, Any]) -> None:
    sandbox, client = account
    sandbox.admin("/accounts/1001/deliver", {"count": 130})
    page = client.get("subscriptions/default/activity", params={"cursor": "0"})
    assert (len(page.objects), page.data["cursor"]) == (100, "101")
    events = client.get("events")
    assert len(list(events.get_paging_iterator())) == 130
    assert client.delete("subscriptions/default").status_code == 204
    assert client.post("subscriptions").data["type"] == "subscription"


def test_the_sdk_understands_errors(account: tuple[Any, Any]) -> None:
    sandbox, client = account
    sandbox.admin("/faults", {"kind": "rate_limit", "args": {"retry_after": "7"}})
    with pytest.raises(RateLimitException) as limited:
        client.get("email/messages")
    assert limited.value.retry_after == 7
    with pytest.raises(APIException) as refused:
        client.get("email/search")
    assert refused.value.response.json()["error_code"] == "invalid_parameters"
