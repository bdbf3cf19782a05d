"""HTTP as every source speaks it: requests to one configured origin, each with a deadline, each answer with a cap.

A request is built from path segments and query pairs, never from an address the upstream gave, and the
credential is attached only when scheme, host and port are the configured ones (faults.md B2). Nothing is retried
here: the engine decides.
"""

import functools
import logging
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

import httpx
from msgspec import Struct

from worker.config import NO_UPSTREAM, require_upstream
from worker.errors import UnreachableError, UnreadableError, UsageError
from worker.sources._connections import (
    Address,
    Headers,
    Origin,
    Request,
    Response,
    Stream,
    now,
    pool,
    request,
    translated,
)
from worker.sources._credential import Credential
from worker.sources._headers import is_json, retry_after, served_at
from worker.sources._inflate import Inflater
from worker.sources._limits import DOTS
from worker.sources._refusals import LARGEST_REFUSAL, Call, Refusal, error_of, own_error

MOST_REDIRECTS = 2
EXCERPT = 200
OK = 200
NO_CONTENT = 204
NOTHING_SENT = (("Content-Length", "0"),)
HEADERS = (("Accept", "application/json"), ("Accept-Encoding", "gzip"), ("User-Agent", "mailmirror"))
_DONE = {OK, 201, 202, NO_CONTENT}
_REDIRECTS = {301, 302, 303, 307, 308}

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # at INFO they print addresses with their query


class Answer(Struct, frozen=True):
    """A good answer, decoded from its content encoding."""

    body: bytes
    served_at: datetime
    """The answer's `Date`, or the local clock's UTC; whole seconds."""


class Session:
    """Talks to one origin below one root path; safe to use from several threads.

    Raises UsageError when the root or the credential cannot be used at all.
    """

    def __init__(self, root: str, credential: Credential, *, timeout: float, max_answer: int) -> None:
        self._root = _checked_root(root)
        self._path = self._root.raw_path.decode().rstrip("/")
        self._origin = _origin(self._root)
        host = self._root.netloc.decode()
        self._place = f"{self._root.scheme}://{host}"
        self._secret = credential.checked()
        self._app_wide = credential.app_wide
        self._headers = (("Host", host), *HEADERS, ("Authorization", f"{credential.scheme} {credential.secret}"))
        self._timeout = timeout
        self._max_answer = max_answer
        self._under_way: set[Stream] = set()
        self._counting = threading.Lock()
        self._requests = 0
        self._pool = pool(self._origin)

    @property
    def requests(self) -> int:
        """Requests sent so far, redirects included."""
        return self._requests

    def get(
        self,
        call: Call,
        segments: Sequence[str],
        query: Iterable[tuple[str, str]] = (),
        headers: Headers = (),
    ) -> Answer:
        """GET a JSON document; an empty last segment stands for a trailing slash.

        Raises what RULES say of a refusal, UnreachableError, and UnreadableError for what is no JSON.
        """
        address = self._address(segments, query)
        now.begin(self._timeout, self._under_way)
        reply = self._exchange("GET", address, headers)
        for _ in range(MOST_REDIRECTS):
            other = _slash_only(self._place, address, reply)
            if other is None:
                break
            address = other
            reply = self._exchange("GET", address, headers)
        self._refuse(call, reply, {OK})
        if not is_json(reply.headers.get("content-type")):
            raise UnreadableError(
                "The upstream's answer is not JSON: it may be another service's.", excerpt=self.excerpt(reply.body)
            )
        return Answer(reply.body, reply.at)

    def post_empty(self, call: Call, segments: Sequence[str]) -> None:
        """POST without a body: the one thing this project sends that is no GET (it creates a subscription)."""
        now.begin(self._timeout, self._under_way)
        self._refuse(call, self._exchange("POST", self._address(segments, ()), NOTHING_SENT), _DONE)

    def excerpt(self, body: bytes) -> bytes:
        """Cut out the beginning of a body for a person to see, without the credential should it be echoed."""
        return body[: EXCERPT + len(self._secret)].replace(self._secret, b"***")[:EXCERPT]

    def close(self) -> None:
        """Break off what is still being asked; the connections stay for whoever asks the same origin next."""
        for stream in tuple(self._under_way):
            stream.cut()

    def _address(self, segments: Sequence[str], query: Iterable[tuple[str, str]]) -> Address:
        if not DOTS.isdisjoint(segments):
            raise UnreadableError("An id that is only dots cannot be asked for.")
        path = "/".join(quote(segment, safe="") for segment in segments)
        question = urlencode(list(query), quote_via=quote, safe="")
        return Address(self._origin, f"{self._path}/{path}" + (f"?{question}" if question else ""))

    def _exchange(self, method: str, address: Address, headers: Headers) -> "_Reply":
        with self._counting:
            self._requests += 1
        asked = self._request(method, address, headers)
        with translated(self._place, self._timeout):
            response = self._pool.handle_request(asked)
            try:
                told = _joined(response)
                body = self._body(response, told)
            finally:
                response.close()
        return _Reply(response.status, told, body, served_at(told.get("date")))

    def _request(self, method: str, address: Address, headers: Headers) -> Request:
        """Put the credential on a request, which is made for the configured origin or not at all."""
        if address.origin != self._origin:
            raise UnreadableError(f"A request would have gone elsewhere than to {self._place}.")
        return request(method, address, (*self._headers, *headers))

    def _body(self, response: Response, headers: dict[str, str]) -> bytes:
        good = response.status in _DONE
        try:
            inflater = Inflater(headers.get("content-encoding", ""), self._max_answer if good else LARGEST_REFUSAL)
            for chunk in response.iter_stream():
                inflater.feed(chunk)
            body = inflater.close()
        except UnreadableError:
            if good:
                raise
            return b""  # the status alone says enough of a refusal
        delimited = "content-length" in headers or "transfer-encoding" in headers
        if good and not delimited and body[:1] == b"{" and not body.rstrip().endswith(b"}"):
            raise UnreachableError("The upstream's answer broke off.", kind="broken")
        return body

    def _refuse(self, call: Call, reply: "_Reply", good: set[int]) -> None:
        status, code, own = own_error(reply.status, reply.body)
        if status in good:
            return
        refusal = Refusal(
            call,
            status,
            code,
            own,
            retry_after(reply.headers.get("retry-after"), reply.at),
            self._app_wide,
        )
        error = error_of(refusal)
        if isinstance(error, UnreadableError):
            error.excerpt = self.excerpt(reply.body)
        raise error


class _Reply(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes
    at: datetime


@functools.cache
def _checked_root(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        port = url.port
    except (httpx.InvalidURL, ValueError):
        raise UsageError(NO_UPSTREAM) from None
    require_upstream(url.scheme, url.host, port, more=bool(url.userinfo or url.query or url.fragment))
    return url


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.raw_host.decode(), url.port


def _joined(response: Response) -> dict[str, str]:
    """Headers by their names in small letters; the values of a repeated one are joined, as RFC 9110 5.3 has it."""
    found: dict[str, str] = {}
    for name, value in response.headers:
        key, text = name.decode(errors="replace").lower(), value.decode(errors="replace")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _slash_only(place: str, address: Address, reply: _Reply) -> Address | None:
    """Our own address with its trailing slash added or taken away, when a redirect asks for just that."""
    location = reply.headers.get("location")
    if reply.status not in _REDIRECTS or location is None:
        return None
    try:
        url = httpx.URL(place + address.target)
        target = url.join(location)
        same = _origin(target) == _origin(url) and not target.userinfo and target.query in {b"", url.query}
    except (httpx.InvalidURL, ValueError):
        return None
    path, question, rest = address.target.partition("?")
    other = path[:-1] if path.endswith("/") else path + "/"
    if not same or target.raw_path.partition(b"?")[0] != other.encode():
        return None
    return Address(address.origin, other + question + rest)
