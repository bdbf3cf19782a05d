"""The credential goes to the configured origin and nowhere else (faults.md B2, U13)."""

import logging
import traceback
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import MailmirrorError, UnreadableError
from worker.records import PageToken
from worker.sources import open_source
from worker.sources._connections import Address
from worker.sources._credential import Credential
from worker.sources._http import Session, _origin
from worker.sources._timestamps import EARLIEST, LATEST

SAMPLE = {"id": "m", "type": "message"}


def listing(upstream: Any, **more: Any) -> Any:
    return upstream.reply({"objects": [], "next_page": None, "type": "object_list", **more})


@pytest.fixture
def source(upstream: Any, token: str) -> Any:
    opened = open_source("kloudless", upstream.settings(), upstream_id="1", token=token)
    yield opened
    opened.close()


@pytest.mark.fault("U13")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/v1/accounts/1/email/messages/m/",
        "//127.0.0.1:{other}/v1/accounts/1/email/messages/m/",
        "http://localhost:{own}/v1/accounts/1/email/messages/m/",
        "http://127.0.0.1.:{own}/v1/accounts/1/email/messages/m/",
        "http://user@127.0.0.1:{own}/v1/accounts/1/email/messages/m/",
        "https://127.0.0.1:{own}/v1/accounts/1/email/messages/m/",
        "http://127.0.0.1:{own}@127.0.0.1:{other}/v1/accounts/1/email/messages/m/",
        "http://user:word@127.0.0.1:{other}/v1/accounts/1/email/messages/m/",
        "HTTP://LOCALHOST:{other}/v1/accounts/1/email/messages/m/",
        "http://127.0.0.1.:{other}/v1/accounts/1/email/messages/m/",
        "http:127.0.0.1:{other}/v1/accounts/1/email/messages/m/",
        "/\\127.0.0.1:{other}/v1/accounts/1/email/messages/m/",
        "///127.0.0.1:{other}/v1/accounts/1/email/messages/m/",
        "@127.0.0.1:{other}/v1/accounts/1/email/messages/m/",
        "/v1/accounts/2/email/messages/m/",
        "/v1/accounts/1/email/messages/m/?labels=x",
        "/elsewhere",
        "http://[broken",
        "",
        "\\\\127.0.0.1:{other}/",
    ],
)
def test_a_redirect_to_anything_but_the_slash_is_not_followed(
    upstream: Any, other_upstream: Any, source: Any, status: int, location: str
) -> None:
    other_upstream.answers = [other_upstream.reply(SAMPLE)]
    place = location.format(own=upstream.port, other=other_upstream.port)
    upstream.answers = [upstream.reply(b"", status, Location=place), upstream.reply(SAMPLE)]
    with pytest.raises(UnreadableError):
        source.message("m")
    assert len(upstream.asked) == 1
    assert other_upstream.asked == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("origin", ["", "http://127.0.0.1:{own}"])
def test_a_redirect_that_only_adds_the_slash_is_followed(
    upstream: Any, source: Any, token: str, status: int, origin: str
) -> None:
    place = origin.format(own=upstream.port) + "/v1/accounts/1/email/messages/m/"
    upstream.answers = [upstream.reply(b"", status, Location=place), upstream.reply(SAMPLE)]
    assert source.message("m").id == "m"
    assert [asked.target for asked in upstream.asked] == [
        "/v1/accounts/1/email/messages/m",
        place[-len("/v1/accounts/1/email/messages/m/") :],
    ]
    assert {asked.headers["authorization"] for asked in upstream.asked} == {f"Bearer {token}"}
    assert source.requests == 2


def test_the_query_goes_along_when_the_slash_is_taken_away(upstream: Any, source: Any) -> None:
    upstream.answers = [
        upstream.reply(b"", 301, Location="/v1/accounts/1/email/messages"),
        listing(upstream),
    ]
    source.window(EARLIEST, LATEST, PageToken("p/1"), 10)
    first, second = (asked.target for asked in upstream.asked)
    assert second == first.replace("messages/?", "messages?")
    assert "page=p%2F1" in second


@pytest.mark.fault("U13")
def test_a_loop_of_slashes_ends(upstream: Any, source: Any) -> None:
    with_slash = "/v1/accounts/1/email/messages/m/"
    upstream.answers = [
        upstream.reply(b"", 302, Location=with_slash),
        upstream.reply(b"", 302, Location=with_slash[:-1]),
        upstream.reply(b"", 302, Location=with_slash),
    ]
    with pytest.raises(UnreadableError):
        source.message("m")
    assert len(upstream.asked) == 3


def test_no_post_is_ever_redirected(upstream: Any, source: Any) -> None:
    empty = upstream.reply({"objects": [], "type": "object_list"})
    upstream.answers = [empty, upstream.reply(b"", 307, Location="/v1/accounts/1/subscriptions"), empty]
    with pytest.raises(UnreadableError):
        source.start_activity()
    assert [asked.method for asked in upstream.asked] == ["GET", "POST"]
    assert upstream.asked[1].headers["content-length"] == "0"  # a server may insist on a length


@pytest.mark.fault("D16")
@pytest.mark.parametrize(
    "message_id", ["../../me", "a/b", "a?x=1", "a#b", "a b", "a%2Fb", "é", "a;b", "@evil", "//evil", "..%2f", "a\\b"]
)
def test_an_id_is_one_segment_of_the_path_whatever_it_holds(upstream: Any, source: Any, message_id: str) -> None:
    from urllib.parse import unquote

    upstream.answers = [upstream.reply({"id": message_id})]
    assert source.message(message_id).id == message_id
    target = upstream.asked[0].target
    head, _, last = target.rpartition("/")
    assert head == "/v1/accounts/1/email/messages"
    assert unquote(last) == message_id


@pytest.mark.fault("D16")
@pytest.mark.parametrize("message_id", [".", ".."])
def test_an_id_that_would_climb_the_path_is_not_asked_for(upstream: Any, source: Any, message_id: str) -> None:
    with pytest.raises(UnreadableError):
        source.message(message_id)
    assert upstream.asked == []


@pytest.mark.parametrize("token_sent", ["http://evil/x", "//evil", "HTTPS://x", "a://b"])
def test_a_next_page_that_looks_like_an_address_is_refused(upstream: Any, source: Any, token_sent: str) -> None:
    upstream.answers = [listing(upstream, next_page=token_sent)]
    with pytest.raises(UnreadableError):
        source.window(EARLIEST, LATEST, None, 10)


@pytest.mark.parametrize(
    "page",
    [
        "@127.0.0.1:{other}/",
        "127.0.0.1:{other}",
        "\\\\127.0.0.1:{other}\\",
        "?page=1#@127.0.0.1:{other}",
        "../../../../x",
    ],
)
def test_a_next_page_is_a_value_of_the_query_and_nothing_more(
    upstream: Any, other_upstream: Any, source: Any, token: str, page: str
) -> None:
    from urllib.parse import parse_qs, urlsplit

    page = page.format(other=other_upstream.port)
    other_upstream.answers = [listing(other_upstream)]
    upstream.answers = [listing(upstream, next_page=page), listing(upstream)]
    found = source.window(EARLIEST, LATEST, None, 10).next_page
    source.window(EARLIEST, LATEST, found, 10)
    first, second = (urlsplit(asked.target) for asked in upstream.asked)
    assert second.path == first.path
    assert parse_qs(second.query)["page"] == [page]
    assert other_upstream.asked == []


@pytest.mark.parametrize("message_id", ["http://127.0.0.1:{other}/m", "//127.0.0.1:{other}/m", "@127.0.0.1:{other}"])
def test_an_id_that_is_an_address_is_asked_for_at_home(
    upstream: Any, other_upstream: Any, source: Any, message_id: str
) -> None:
    message_id = message_id.format(other=other_upstream.port)
    other_upstream.answers = [other_upstream.reply({"id": message_id})]
    upstream.answers = [upstream.reply({"id": message_id})]
    assert source.message(message_id).id == message_id
    assert upstream.asked[0].target.startswith("/v1/accounts/1/email/messages/")
    assert upstream.asked[0].headers["host"] == f"127.0.0.1:{upstream.port}"
    assert other_upstream.asked == []


def test_an_href_is_kept_as_text_and_never_asked_for(upstream: Any, other_upstream: Any, source: Any) -> None:
    href = f"http://127.0.0.1:{other_upstream.port}/v1/accounts/1/storage/files/f"
    other_upstream.answers = [other_upstream.reply({})]
    upstream.answers = [upstream.reply({"id": "m", "rfc822": {"id": "f", "href": href}})]
    assert source.message("m").rfc822.href == href
    assert other_upstream.asked == []


@pytest.mark.parametrize(
    ("url", "carries"),
    [
        ("https://api.example.com/x", True),
        ("https://API.example.com:443/x", True),
        ("https://api.example.com./x", False),
        ("https://api.example.com:444/x", False),
        ("http://api.example.com/x", False),
        ("https://api.example.com@evil.example/x", False),
        ("https://evil.example/api.example.com", False),
        ("https://sub.api.example.com/x", False),
    ],
)
def test_a_request_is_made_for_its_origin_alone(url: str, carries: bool) -> None:
    session = Session("https://api.example.com/v1", Credential("Bearer", "canary"), timeout=5.0, max_answer=1000)
    target = httpx.URL(url)
    address = Address(_origin(target), target.raw_path.decode())
    if not carries:
        with pytest.raises(UnreadableError, match="elsewhere"):
            session._request("GET", address, ())
        return
    assert (b"Authorization", b"Bearer canary") in session._request("GET", address, ()).headers


@pytest.mark.parametrize(
    "root",
    [
        "https://api.example.com/v1/",
        "http://localhost:8000",
        "http://[::1]:8000/v1",
        "https://b\u00fccher.example:8443/\u00e9",
    ],
)
@given(segments=st.lists(st.text(max_size=20), max_size=4), query=st.dictionaries(st.text(), st.text(), max_size=3))
def test_a_request_is_the_one_that_httpx_would_make(root: str, segments: list[str], query: dict[str, str]) -> None:
    segments = [segment for segment in segments if segment not in {".", ".."}]
    session = Session(root, Credential("Bearer", "canary"), timeout=5.0, max_answer=1000)
    made = session._request("GET", session._address(segments, query.items()), ())
    path = "/".join(quote(segment, safe="") for segment in segments)
    question = urlencode(query, quote_via=quote, safe="")
    its = httpx.Request("GET", f"{root.rstrip('/')}/{path}" + (f"?{question}" if question else ""))
    assert made.url.target == its.url.raw_path
    assert (made.url.scheme, made.url.host, made.url.port) == (its.url.raw_scheme, its.url.raw_host, its.url.port)
    assert dict(made.headers)[b"Host"] == its.headers["host"].encode()


def test_an_app_key_goes_as_apikey(upstream: Any) -> None:
    upstream.answers = [upstream.reply(SAMPLE)]
    opened = open_source("kloudless", upstream.settings(kloudless_api_key="k1"), upstream_id="1", token=None)
    opened.message("m")
    opened.close()
    assert upstream.asked[0].headers["authorization"] == "APIKey k1"


def test_a_proxy_in_the_environment_is_not_used(upstream: Any, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    upstream.answers = [upstream.reply(SAMPLE)]
    opened = open_source("kloudless", upstream.settings(), upstream_id="1", token="t")
    assert opened.message("m").id == "m"
    opened.close()


def test_the_token_shows_in_no_error_repr_or_log(
    upstream: Any, source: Any, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    echo = f"<html>you sent Bearer {token}</html>".encode()
    answers = [upstream.reply(echo, status, "text/html") for status in (200, 301, 401, 404, 500)]
    answers += [upstream.refusal(status, f"bad {token}") for status in (400, 401, 403, 404, 429)]
    answers += [upstream.reply({"objects": token}), upstream.reply(b"{" + token.encode())]
    answers += [lambda connection: connection.sendall(f"HTTP/1.1 200 OK\r\n{token}\r\n\r\n".encode())]
    upstream.answers = [*answers, upstream.reply({})]
    with caplog.at_level(logging.DEBUG):
        page = PageToken("page:canary"[::-1])  # backwards: a traceback shows this line
        for _ in answers:
            with pytest.raises(MailmirrorError) as raised:
                source.window(EARLIEST, LATEST, page, 10)
            error = raised.value
            shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
            assert token not in shown
            assert page not in shown
            if isinstance(error, UnreadableError):
                assert len(error.excerpt) <= 200
    assert token not in caplog.text
    assert page not in caplog.text
    assert token not in repr(Credential("Bearer", token))
    assert token not in repr(vars(source))
