"""Connections to origins, kept by the process for all its sessions, and the deadline of the request in each thread.

The pool is httpx's own, asked without httpx in between: what httpx lays over it, and its parsing of addresses with long
page tokens, took a third of the CPU of a request.
"""

import contextlib
import functools
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import httpcore
import httpx

from worker.errors import UnreachableError

CONNECT_TIMEOUT = 10.0
IDLE_CONNECTION = 4.0
"""Seconds; below the 5 s after which common servers close, so that a request rarely meets a closing connection."""
KEPT_CONNECTIONS = 64
"""Idle connections that a process keeps to one origin."""

Origin = tuple[str, str, int | None]
"""Scheme, host as it is looked up, and port; None for the scheme's own port."""
Headers = Sequence[tuple[str, str]]
Request: TypeAlias = httpcore.Request
Response: TypeAlias = httpcore.Response


class UnderWay(threading.local):
    """What this thread is asking: when it has to be over by the monotonic clock, and the streams of its session."""

    until = 0.0
    streams: "set[Stream]"

    def begin(self, seconds: float, streams: "set[Stream]") -> None:
        self.until = time.monotonic() + seconds
        self.streams = streams

    def left(self) -> float:
        return max(self.until - time.monotonic(), 0.001)

    def cut(self, timeout: float | None, error: type[Exception]) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise error
        return left if timeout is None else min(timeout, left)


now = UnderWay()
"""The request this thread has under way."""


class Address(NamedTuple):
    """Where a request goes."""

    origin: Origin
    target: str
    """Path and query, as they stand in the request line."""


def request(method: str, address: Address, headers: Headers) -> Request:
    """Make a request without a body that ends with this thread's deadline; `headers` hold all that it needs."""
    scheme, host, port = address.origin
    url = httpcore.URL(scheme=scheme, host=host, port=port, target=address.target)
    timeout = {"connect": min(now.left(), CONNECT_TIMEOUT)}  # reads and writes end with the deadline anyway
    return Request(method, url, headers=headers, content=(), extensions={"timeout": timeout})


_pools: dict[Origin, httpcore.ConnectionPool] = {}
os.register_at_fork(after_in_child=_pools.clear)


def pool(origin: Origin) -> httpcore.ConnectionPool:
    """The one pool of this process to an origin: with many accounts there it connects once, not at every poll."""
    found = _pools.get(origin)
    # Of two threads that come first at the same time one makes it in vain; nothing is connected yet.
    return found if found is not None else _pools.setdefault(origin, _pool())


def _pool() -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=_tls(),
        max_connections=None,
        max_keepalive_connections=KEPT_CONNECTIONS,
        keepalive_expiry=IDLE_CONNECTION,
        network_backend=Backend(),
    )


@contextmanager
def translated(place: str, timeout: float) -> Iterator[None]:
    """Put our own errors in place of the library's, whose texts may quote what was sent or received."""
    try:
        yield
    except httpcore.TimeoutException:
        message = f"{place} did not answer in full within {timeout:g} s."
        raise UnreachableError(message, kind="timeout") from None
    except (httpcore.ConnectError, UnicodeError) as error:
        cause = _root_cause(error)
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
            message = f"{place} cannot be trusted: {reason}."
            raise UnreachableError(message, kind="tls") from None
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else "no connection"
        raise UnreachableError(f"{place} cannot be reached: {reason}.", kind="connect") from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        message = f"{place} broke off its answer ({type(error).__name__})."
        raise UnreachableError(message, kind="broken") from None


def _root_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


class Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = now.cut(timeout, httpcore.ConnectTimeout)
        return Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class Stream(httpcore.NetworkStream):
    """A connection whose every read and write ends with the request's deadline.

    A read timeout alone starts again with every byte, so that a slow drip of headers or body would never end
    (faults.md U6).
    """

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with self._in_use():
            return self._inner.read(max_bytes, now.cut(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with self._in_use():
            self._inner.write(buffer, now.cut(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def cut(self) -> None:
        """End the read or write another thread waits in; it fails at once."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._inner.get_extra_info("socket"), socket.SHUT_RDWR)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        streams = now.streams
        streams.add(self)
        try:
            yield
        finally:
            streams.discard(self)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = now.cut(timeout, httpcore.ConnectTimeout)
        return Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


@functools.cache
def _tls() -> ssl.SSLContext:
    """The usual authorities and the machine's own (where a private one is installed), TLS 1.2 or newer."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
