"""The one place that imports httpx: requests to one configured origin, each with a deadline, each answer with a cap.

A request is built from path segments and query pairs, never from an address the upstream gave, and the
credential is attached only when scheme, host and port are the configured ones (faults.md B2). Nothing is retried
here: the engine decides.
"""

import functools
import ipaddress
import logging
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlencode

import httpcore
import httpx
from msgspec import Struct

from worker.errors import UnreachableError, UnreadableError, UsageError
from worker.sources._credential import Credential
from worker.sources._headers import is_json, retry_after, served_at
from worker.sources._inflate import Inflater
from worker.sources._limits import DOTS
from worker.sources._refusals import LARGEST_REFUSAL, Call, Refusal, error_of, own_error

CONNECT_TIMEOUT = 10.0
IDLE_CONNECTION = 4.0
"""Seconds; below the 5 s after which common servers close, so that a request rarely meets a closing connection."""
MOST_REDIRECTS = 2
EXCERPT = 200
OK = 200
NO_CONTENT = 204
_DONE = {OK, 201, 202, NO_CONTENT}
_PORTS = {None, *range(1, 65536)}
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

    def __init__(self, root: str, credential: Credential, *, timeout: float, max_answer: int, connections: int) -> None:
        self._root = _checked_root(root)
        self._base = str(self._root).rstrip("/")
        self._place = f"{self._root.scheme}://{self._root.netloc.decode()}"
        self._secret = credential.checked()
        self._app_wide = credential.app_wide
        self._auth = _OriginAuth(self._root, f"{credential.scheme} {credential.secret}")
        self._timeout = timeout
        self._max_answer = max_answer
        self._deadline = _Deadline()
        self._counting = threading.Lock()
        self._requests = 0
        self._client = httpx.Client(
            transport=_Transport(self._deadline, connections),
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "mailmirror"},
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            trust_env=False,
        )

    @property
    def requests(self) -> int:
        """Requests sent so far, redirects included."""
        return self._requests

    def get(
        self,
        call: Call,
        segments: Sequence[str],
        query: Iterable[tuple[str, str]] = (),
        headers: Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """GET a JSON document; an empty last segment stands for a trailing slash.

        Raises what RULES say of a refusal, UnreachableError, and UnreadableError for what is no JSON.
        """
        url = self._url(segments, query)
        self._deadline.begin(self._timeout)
        reply = self._exchange("GET", url, headers)
        for _ in range(MOST_REDIRECTS):
            other = _slash_only(url, reply)
            if other is None:
                break
            url = other
            reply = self._exchange("GET", url, headers)
        self._refuse(call, reply, {OK})
        if not is_json(reply.headers.get("content-type")):
            raise UnreadableError(
                "The upstream's answer is not JSON: it may be another service's.", excerpt=self.excerpt(reply.body)
            )
        return Answer(reply.body, reply.at)

    def post_empty(self, call: Call, segments: Sequence[str]) -> None:
        """POST without a body: the one thing this project sends that is no GET (it creates a subscription)."""
        self._deadline.begin(self._timeout)
        self._refuse(call, self._exchange("POST", self._url(segments, ()), ()), _DONE)

    def excerpt(self, body: bytes) -> bytes:
        """Cut out the beginning of a body for a person to see, without the credential should it be echoed."""
        return body[: EXCERPT + len(self._secret)].replace(self._secret, b"***")[:EXCERPT]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _url(self, segments: Sequence[str], query: Iterable[tuple[str, str]]) -> httpx.URL:
        if not DOTS.isdisjoint(segments):
            raise UnreadableError("An id that is only dots cannot be asked for.")
        path = "/".join(quote(segment, safe="") for segment in segments)
        question = urlencode(list(query), quote_via=quote, safe="")
        return httpx.URL(f"{self._base}/{path}" + (f"?{question}" if question else ""))

    def _exchange(self, method: str, url: httpx.URL, headers: Iterable[tuple[str, str]]) -> "_Reply":
        with self._counting:
            self._requests += 1
        left = self._deadline.left()
        timeout = httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT))
        request = self._client.build_request(method, url, headers=list(headers), timeout=timeout)
        with self._translated():
            response = self._client.send(request, auth=self._auth, stream=True)
            try:
                body = self._body(response)
            finally:
                response.close()
        return _Reply(response.status_code, response.headers, body, served_at(response.headers.get("date")))

    def _body(self, response: httpx.Response) -> bytes:
        good = response.status_code in _DONE
        headers = response.headers
        try:
            inflater = Inflater(headers.get("content-encoding", ""), self._max_answer if good else LARGEST_REFUSAL)
            for chunk in response.iter_raw():
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

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Put our own errors in place of httpx's, whose texts may quote what was sent or received."""
        try:
            yield
        except httpx.TimeoutException:
            message = f"{self._place} did not answer in full within {self._timeout:g} s."
            raise UnreachableError(message, kind="timeout") from None
        except (httpx.ConnectError, UnicodeError) as error:
            cause = _root_cause(error)
            if isinstance(cause, ssl.SSLError):
                reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
                message = f"{self._place} cannot be trusted: {reason}."
                raise UnreachableError(message, kind="tls") from None
            reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else "no connection"
            raise UnreachableError(f"{self._place} cannot be reached: {reason}.", kind="connect") from None
        except httpx.TransportError as error:
            message = f"{self._place} broke off its answer ({type(error).__name__})."
            raise UnreachableError(message, kind="broken") from None


class _Reply(Struct, frozen=True):
    status: int
    headers: Any
    body: bytes
    at: datetime


class _OriginAuth(httpx.Auth):
    """Attaches the credential to requests for one origin and to no other."""

    def __init__(self, root: httpx.URL, value: str) -> None:
        self._origin = _origin(root)
        self._value = value

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]  # never sent to
        if _origin(request.url) == self._origin:
            request.headers["Authorization"] = self._value
        yield request


class _Deadline(threading.local):
    """When the request under way in this thread has to be over, by the monotonic clock."""

    until = 0.0

    def begin(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds

    def left(self) -> float:
        return max(self.until - time.monotonic(), 0.001)

    def cut(self, timeout: float | None, error: type[Exception]) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise error
        return left if timeout is None else min(timeout, left)


class _Transport(httpx.HTTPTransport):
    """httpx's transport over a pool whose every read and write ends with the deadline.

    httpx's own read timeout starts again with every byte, so that a slow drip of headers or body would never end
    (faults.md U6).
    """

    def __init__(self, deadline: _Deadline, connections: int) -> None:
        super().__init__(verify=_tls(), trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=IDLE_CONNECTION,
            network_backend=_Backend(deadline),
        )


class _Backend(httpcore.SyncBackend):
    def __init__(self, deadline: _Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = self._deadline.cut(timeout, httpcore.ConnectTimeout)
        inner = super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(inner, self._deadline)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.cut(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.cut(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = self._deadline.cut(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


@functools.cache
def _tls() -> ssl.SSLContext:
    """The usual authorities and the machine's own (where a private one is installed), TLS 1.2 or newer."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _checked_root(text: str) -> httpx.URL:
    name = "MAILMIRROR_KLOUDLESS_URL"
    try:
        url = httpx.URL(text)
        port = url.port
    except (httpx.InvalidURL, ValueError):
        raise UsageError(f"{name} is no address. Set it to one like https://api.example.com/v1.") from None
    if url.scheme not in {"http", "https"} or not url.host or port not in _PORTS:
        raise UsageError(f"{name} must be an https address, like https://api.example.com/v1.")
    if url.userinfo or url.query or url.fragment:
        raise UsageError(f"{name} must hold neither a user name nor a question mark nor a hash sign.")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise UsageError(f"{name} must begin with https://: mail and tokens do not travel in the clear.")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _slash_only(url: httpx.URL, reply: _Reply) -> httpx.URL | None:
    """Our own address with its trailing slash added or taken away, when a redirect asks for just that."""
    location = reply.headers.get("location")
    if reply.status not in _REDIRECTS or location is None:
        return None
    try:
        target = url.join(location)
        same = _origin(target) == _origin(url) and not target.userinfo and target.query in {b"", url.query}
    except (httpx.InvalidURL, ValueError):
        return None
    path, question, rest = url.raw_path.partition(b"?")
    other = path[:-1] if path.endswith(b"/") else path + b"/"
    if not same or target.raw_path.partition(b"?")[0] != other:
        return None
    return url.copy_with(raw_path=other + question + rest)


def _root_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
