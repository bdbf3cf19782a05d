"""What the network can do to an answer (faults.md U5 to U14, U45)."""

import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.errors import (
    MailmirrorError,
    NotFoundError,
    ThrottledError,
    UnreachableError,
    UnreadableError,
    UpstreamFailedError,
)
from worker.sources._credential import Credential
from worker.sources._http import Session
from worker.sources._refusals import Call

PAGE = json.dumps({"count": 0, "next_page": None, "objects": [], "type": "object_list", "note": "x" * 800}).encode()
EIGHTHS = [len(PAGE) * part // 8 for part in range(8)]


def session(upstream: Any, **more: Any) -> Session:
    values = {"timeout": 5.0, "max_answer": 1_000_000, **more}
    return Session(upstream.url, Credential("Bearer", "canary"), **values)


def get(upstream: Any, **more: Any) -> bytes:
    talk = session(upstream, **more)
    try:
        return talk.get(Call.LISTING, ("accounts", "1", "")).body
    finally:
        talk.close()


def raw(head: str, body: bytes = b"") -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n" + body)


def test_a_good_answer_comes_with_the_upstreams_date(upstream: Any) -> None:
    upstream.answers = [upstream.reply(PAGE, Date="Sun, 01 Mar 2026 12:00:00 GMT")]
    talk = session(upstream)
    answer = talk.get(Call.LISTING, ("accounts", "1", ""), [("page", "a/b&c=é ")])
    assert answer.body == PAGE
    assert answer.served_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert upstream.asked[0].target == "/v1/accounts/1/?page=a%2Fb%26c%3D%C3%A9%20"
    assert upstream.asked[0].headers["accept-encoding"] == "gzip"
    assert talk.requests == 1
    talk.close()


@pytest.mark.fault("U7")
@pytest.mark.parametrize("kept", EIGHTHS)
def test_a_body_cut_short_of_its_length_is_broken(upstream: Any, kept: int) -> None:
    head = f"HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: {len(PAGE)}\n"
    upstream.answers = [raw(head, PAGE[:kept])]
    with pytest.raises(UnreachableError) as broken:
        get(upstream)
    assert broken.value.kind == "broken"


@pytest.mark.fault("U8")
@pytest.mark.parametrize("kept", EIGHTHS[1:])
def test_a_body_cut_without_a_length_is_broken_too(upstream: Any, kept: int) -> None:
    upstream.answers = [raw("HTTP/1.1 200 OK\nContent-Type: application/json\nConnection: close\n", PAGE[:kept])]
    with pytest.raises(UnreachableError) as broken:
        get(upstream)
    assert broken.value.kind == "broken"


def test_a_whole_body_without_a_length_is_fine(upstream: Any) -> None:
    upstream.answers = [raw("HTTP/1.1 200 OK\nContent-Type: application/json\nConnection: close\n", PAGE + b"\n")]
    assert get(upstream) == PAGE + b"\n"


@pytest.mark.parametrize("part", range(1, 8))
def test_a_packed_body_cut_anywhere_is_broken(upstream: Any, part: int) -> None:
    packed = gzip.compress(PAGE)
    head = "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Encoding: gzip\nConnection: close\n"
    upstream.answers = [raw(head, packed[: len(packed) * part // 8])]
    with pytest.raises(UnreachableError):
        get(upstream)


def test_chunks_and_gzip_are_understood(upstream: Any) -> None:
    packed = gzip.compress(PAGE)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(packed[i : i + 7]), packed[i : i + 7]) for i in range(0, len(packed), 7))
    head = "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Encoding: gzip\nTransfer-Encoding: chunked\n"
    upstream.answers = [raw(head, chunks + b"0\r\n\r\n")]
    assert get(upstream) == PAGE


def drip(first: bytes, then: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(600):
            connection.sendall(then)
            time.sleep(0.05)

    return send


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.fault("U6")
@pytest.mark.parametrize(
    "answer",
    [
        drip(HEAD, b" "),
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        drip(b"", b"H"),
        drip(b"HTTP/1.1 503 No\r\nContent-Length: 100000\r\n\r\n", b"x"),
        lambda _: time.sleep(30),
    ],
    ids=["body", "headers", "status line", "refusal", "silence"],
)
def test_a_slow_drip_ends_at_the_deadline_of_the_whole_request(upstream: Any, answer: Any) -> None:
    upstream.answers = [answer]
    ended: list[Exception] = []

    def ask() -> None:
        try:
            get(upstream, timeout=0.5)
        except MailmirrorError as error:
            ended.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(20)  # the drip itself goes on for 30 s
    assert len(ended) == 1
    assert isinstance(ended[0], UnreachableError)
    assert ended[0].kind == "timeout"


@pytest.mark.fault("U5")
def test_nobody_listening_is_unreachable() -> None:
    class Nobody:
        url = "http://127.0.0.1:1/v1"

    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 ") as refused:
        get(Nobody())
    assert refused.value.kind == "connect"


@pytest.mark.fault("U5")
def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    class Nowhere:
        url = "https://api.nowhere.invalid/v1"

    with pytest.raises(UnreachableError) as refused:
        get(Nowhere())
    assert refused.value.kind in {"connect", "timeout"}


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/9 x\r\n\r\n", b"\x16\x03\x01\x00\x00\r\n\r\n"]
)
def test_what_is_no_http_is_broken(upstream: Any, answer: bytes) -> None:
    upstream.answers = [lambda connection: connection.sendall(answer)]
    with pytest.raises(UnreachableError) as broken:
        get(upstream)
    assert broken.value.kind == "broken"
    assert "garbage" not in str(broken.value)


@pytest.mark.fault("U45")
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_answer_larger_than_the_cap_is_given_up(upstream: Any, encoding: str) -> None:
    body = bytes(5_000_000) if encoding == "identity" else gzip.compress(bytes(50_000_000))
    upstream.answers = [upstream.reply(body, Content_Encoding=encoding)]
    with pytest.raises(UnreadableError, match="larger than 1000000 bytes"):
        get(upstream)


HTML = b"<html><title>This domain is for sale</title></html>"


@pytest.mark.fault("U10")
@pytest.mark.parametrize("content_type", ["text/html", "text/plain", None])
def test_a_page_for_people_is_unreadable_and_shown_in_part(upstream: Any, content_type: str | None) -> None:
    upstream.answers = [upstream.reply(HTML * 50, content_type=content_type)]
    with pytest.raises(UnreadableError) as refused:
        get(upstream)
    assert refused.value.excerpt == (HTML * 50)[:200]
    assert "sale" not in str(refused.value)


@pytest.mark.fault("U10")
@pytest.mark.parametrize("status", [204, 206, 226, 301, 302, 304, 400, 401, 403, 404, 405, 410, 418, 451])
def test_a_status_without_an_error_of_the_apis_own_never_blames_the_account(upstream: Any, status: int) -> None:
    if status in {204, 304}:
        answer: Any = raw(f"HTTP/1.1 {status} Whatever\n")
    else:
        answer = upstream.reply(HTML, status, "text/html")
    upstream.answers = [answer]
    with pytest.raises(UnreadableError):
        get(upstream)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 501, 520])
def test_a_failing_proxy_is_the_upstreams_failure(upstream: Any, status: int) -> None:
    upstream.answers = [upstream.reply(HTML * 5000, status, "text/html")]
    with pytest.raises(UpstreamFailedError) as failed:
        get(upstream)
    assert failed.value.status == status
    assert failed.value.error_code is None


@pytest.mark.parametrize(
    ("value", "seconds"), [("40", 40.0), ("0", 1.0), ("90000", 3600.0), ("soon", None), (None, None)]
)
def test_a_failing_upstream_may_say_when_to_come_back(upstream: Any, value: str | None, seconds: float | None) -> None:
    headers = {"Retry_After": value} if value else {}
    upstream.answers = [upstream.refusal(503, "service_not_available", **headers)]
    with pytest.raises(UpstreamFailedError) as failed:
        get(upstream)
    assert failed.value.retry_after == seconds


@pytest.mark.fault("U12")
def test_an_error_object_with_status_200_counts_as_its_status(upstream: Any) -> None:
    body = {"error_code": "not_found", "status_code": "404", "id": "x", "message": "\ud800"}
    upstream.answers = [upstream.reply(body)]
    talk = session(upstream)
    with pytest.raises(NotFoundError):
        talk.get(Call.MESSAGE, ("x",))
    talk.close()


def test_a_mail_that_speaks_of_error_codes_is_no_error(upstream: Any) -> None:
    body = {"objects": [{"error_code": "not_found", "status_code": 404}], "text": '"error_code": 1', "status_code": 404}
    upstream.answers = [upstream.reply(body)]
    assert json.loads(get(upstream)) == body


def test_a_limit_counts_from_the_answers_own_date(upstream: Any) -> None:
    headers = {"Date": "Sun, 01 Mar 2020 12:00:00 GMT", "Retry_After": "Sun, 01 Mar 2020 12:00:40 GMT"}
    upstream.answers = [upstream.refusal(429, "too_many_requests", **headers)]
    with pytest.raises(ThrottledError) as throttled:
        get(upstream)
    assert (throttled.value.retry_after, throttled.value.scope) == (40.0, "app")


def test_no_cookie_is_kept(upstream: Any) -> None:
    upstream.answers = [upstream.reply(PAGE, Set_Cookie="sid=1; Path=/")]
    talk = session(upstream)
    for _ in range(2):
        talk.get(Call.LISTING, ("x",))
    talk.close()
    assert "cookie" not in upstream.asked[1].headers


def test_threads_share_a_session_and_keep_their_own_deadlines(upstream: Any) -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(0.05)
        connection.sendall(upstream.reply(PAGE, Connection="close"))

    upstream.answers = [slow]
    talk = session(upstream)
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(talk.get(Call.LISTING, ("x",)).body)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [PAGE] * 12
    assert talk.requests == 12
    talk.close()


def test_addresses_do_not_reach_the_log(upstream: Any, caplog: pytest.LogCaptureFixture) -> None:
    upstream.answers = [upstream.reply(PAGE)]
    talk = session(upstream)
    with caplog.at_level(logging.DEBUG):
        talk.get(Call.LISTING, ("accounts", "1"), [("cursor", "canary-query")])
    talk.close()
    assert "canary" not in caplog.text
