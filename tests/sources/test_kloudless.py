"""What is asked of the API, and what its answers lead to."""

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.errors import (
    CredentialRefusedError,
    CursorLostError,
    PageTokenLostError,
    UnreadableError,
    UnsupportedError,
    UsageError,
)
from worker.records import Cursor, Folder, Label, PageToken, Profile
from worker.sources import kloudless, open_source

DATE = "Sun, 01 Mar 2026 12:00:00 GMT"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AFTER = datetime(1, 1, 2, tzinfo=UTC)
BEFORE = datetime(2026, 3, 2, 0, 0, 1, tzinfo=UTC)
NO_PAGE: dict[str, Any] = {"objects": [], "next_page": None, "type": "object_list"}
NO_EVENTS: dict[str, Any] = {"objects": [], "cursor": "7", "type": "object_list"}


@pytest.fixture
def source(upstream: Any, token: str) -> Any:
    opened = open_source("kloudless", upstream.settings(), upstream_id="1001", token=token)
    yield opened
    opened.close()


def test_a_window_always_sends_both_bounds(upstream: Any, source: Any) -> None:
    upstream.answers = [upstream.reply(NO_PAGE, Date=DATE)]
    page = source.window(AFTER, BEFORE, None, 5000)
    assert page.served_at == NOW
    assert upstream.asked[0].target == (
        "/v1/accounts/1001/email/messages/?after=0001-01-02T00%3A00%3A00Z&before=2026-03-02T00%3A00%3A01Z&page_size=1000"
    )
    assert "x-kloudless-raw-data" not in upstream.asked[0].headers


def test_a_further_page_repeats_the_filters(upstream: Any, source: Any) -> None:
    upstream.answers = [upstream.reply({**NO_PAGE, "next_page": 2}), upstream.reply(NO_PAGE)]
    page = source.window(AFTER, BEFORE, None, 50)
    assert page.next_page == PageToken("2")
    assert source.window(AFTER, BEFORE, page.next_page, 50).next_page is None
    first, second = (asked.target for asked in upstream.asked)
    assert second == first + "&page=2"


def test_raw_data_is_asked_for_only_when_it_is_kept(upstream: Any, token: str) -> None:
    raw = {"object": {"historyId": "1"}}
    upstream.answers = [upstream.reply({"id": "m", "raw_id": "x", "raw": raw})]
    opened = open_source("kloudless", upstream.settings(keep_raw=True), upstream_id="1", token=token)
    assert opened.message("m").raw == b'{"object": {"historyId": "1"}}'
    opened.close()
    assert upstream.asked[0].headers["x-kloudless-raw-data"] == "true"


@pytest.mark.parametrize(("status", "code"), [(400, "invalid_parameters"), (404, "not_found"), (410, "gone")])
def test_a_refused_position_is_told_from_a_refused_question(upstream: Any, source: Any, status: int, code: str) -> None:
    upstream.answers = [upstream.refusal(status, code)]
    with pytest.raises(PageTokenLostError):
        source.window(AFTER, BEFORE, PageToken("old"), 50)
    with pytest.raises(CursorLostError):
        source.activity(Cursor("old"))


def test_activity_is_read_from_the_default_subscription(upstream: Any, source: Any) -> None:
    upstream.answers = [upstream.reply(NO_EVENTS)]
    assert source.activity(None).cursor == Cursor("7")
    source.activity(Cursor("7 &"))
    assert [asked.target for asked in upstream.asked] == [
        "/v1/accounts/1001/subscriptions/default/activity",
        "/v1/accounts/1001/subscriptions/default/activity?cursor=7%20%26",
    ]


def test_an_existing_subscription_is_used(upstream: Any, source: Any) -> None:
    upstream.answers = [upstream.reply({"objects": [{"id": 1}], "type": "object_list"})]
    source.start_activity()
    assert [asked.method for asked in upstream.asked] == ["GET"]


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_missing_subscription_is_created_with_an_empty_body(upstream: Any, source: Any, status: int) -> None:
    created = b"HTTP/1.1 204 No\r\n\r\n" if status == 204 else upstream.reply({"id": 1}, status)
    upstream.answers = [upstream.reply({"objects": []}), created]
    source.start_activity()
    assert [(asked.method, asked.target, asked.body) for asked in upstream.asked] == [
        ("GET", "/v1/accounts/1001/subscriptions/", b""),
        ("POST", "/v1/accounts/1001/subscriptions/", b""),
    ]


@pytest.mark.parametrize("status", [403, 409])
def test_a_subscription_made_by_another_in_the_meantime_is_fine(upstream: Any, source: Any, status: int) -> None:
    upstream.answers = [
        upstream.reply({"objects": []}),
        upstream.refusal(status, "forbidden"),
        upstream.reply({"objects": [{"id": 1}]}),
    ]
    source.start_activity()


@pytest.mark.parametrize(("status", "code"), [(403, "forbidden"), (404, "not_found"), (501, "not_implemented")])
def test_an_account_without_activity_says_so(upstream: Any, source: Any, status: int, code: str) -> None:
    upstream.answers = [upstream.refusal(status, code)]
    with pytest.raises(UnsupportedError):
        source.start_activity()
    with pytest.raises(UnsupportedError):
        source.activity(None)


def test_a_subscription_that_cannot_be_created_means_no_activity(upstream: Any, source: Any) -> None:
    none = upstream.reply({"objects": []})
    upstream.answers = [none, upstream.refusal(403, "forbidden"), none]
    with pytest.raises(UnsupportedError):
        source.start_activity()


def test_the_profile_is_the_account_as_text(upstream: Any, source: Any) -> None:
    upstream.answers = [upstream.reply({"id": 1001, "account": "a@b.c\0", "service": "gmail"}, Date=DATE)]
    assert source.profile() == Profile("1001", "gmail", "a@b.c\ufffd", NOW)
    assert upstream.asked[0].target == "/v1/accounts/1001/?retrieve_full=false"


@pytest.mark.parametrize(
    "body", [{"id": 1002, "service": "gmail"}, {"service": "gmail"}, {"id": 1001}, {"id": True, "service": "x"}, []]
)
def test_what_is_not_this_account_is_no_profile(upstream: Any, source: Any, body: object) -> None:
    upstream.answers = [upstream.reply(body)]
    with pytest.raises(UnreadableError):
        source.profile()


def test_the_service_given_stands_in_for_a_missing_one(upstream: Any, token: str) -> None:
    upstream.answers = [upstream.reply({"id": "1", "service": None})]
    opened = open_source("kloudless", upstream.settings(), upstream_id="me", token=token, service="imap")
    assert opened.profile().service == "imap"
    opened.close()


def test_a_message_that_is_another_one_is_refused(upstream: Any, source: Any) -> None:
    upstream.answers = [upstream.reply({"id": "other"})]
    with pytest.raises(UnreadableError):
        source.message("m")


def test_a_message_that_cannot_be_read_says_why(upstream: Any, source: Any) -> None:
    upstream.answers = [upstream.reply({"id": "m", "to": "someone"})]
    with pytest.raises(UnreadableError, match="to is not a list") as refused:
        source.message("m")
    assert refused.value.excerpt == b'{"id": "m", "to": "someone"}'


def test_labels_and_folders_are_read_by_id(upstream: Any, source: Any) -> None:
    upstream.answers = [upstream.reply({"id": "l/1", "name": "In\0box"}), upstream.reply({"id": "f", "name": None})]
    assert source.label("l/1") == Label("l/1", "In\ufffdbox")
    assert source.folder("f") == Folder("f", None)
    assert [asked.target for asked in upstream.asked] == [
        "/v1/accounts/1001/email/labels/l%2F1",
        "/v1/accounts/1001/email/folders/f",
    ]


def test_a_token_is_checked_and_its_account_learnt(upstream: Any, token: str) -> None:
    upstream.answers = [
        upstream.reply({"client_id": "app", "account_id": 1001}),
        upstream.reply({"id": 1001, "account": "a@b.c", "service": "gmail"}, Date=DATE),
    ]
    assert kloudless.check_token(upstream.settings(), token) == Profile("1001", "gmail", "a@b.c", NOW)
    assert [asked.target for asked in upstream.asked] == ["/v1/oauth/token", "/v1/accounts/1001/?retrieve_full=false"]


def test_a_token_of_another_account_is_a_mistake_to_put_right(upstream: Any, token: str) -> None:
    upstream.answers = [upstream.reply({"client_id": "app", "account_id": 1002})]
    with pytest.raises(UsageError, match="1002"):
        kloudless.check_token(upstream.settings(), token, "1001")


def test_a_token_nobody_knows_is_refused(upstream: Any, token: str) -> None:
    upstream.answers = [upstream.refusal(400, "invalid_parameters")]
    with pytest.raises(CredentialRefusedError):
        kloudless.check_token(upstream.settings(), token)
