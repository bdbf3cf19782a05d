"""Connections to origins, kept by the process for all its sessions, and the deadline of the request in each thread."""

import contextlib
import functools
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

IDLE_CONNECTION = 4.0
"""Seconds; below the 5 s after which common servers close, so that a request rarely meets a closing connection."""
KEPT_CONNECTIONS = 64
"""Idle connections that a process keeps to one origin."""


class Request(threading.local):
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


now = Request()
"""The request this thread has under way."""


class Transport(httpx.HTTPTransport):
    """httpx's transport over a pool whose every read and write ends with the request's deadline.

    httpx's own read timeout starts again with every byte, so that a slow drip of headers or body would never end
    (faults.md U6).
    """

    def __init__(self) -> None:  # its parent would make a pool of its own
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(),
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=IDLE_CONNECTION,
            network_backend=Backend(),
        )


_transports: dict[tuple[str, str, int | None], Transport] = {}
os.register_at_fork(after_in_child=_transports.clear)


def transport(origin: tuple[str, str, int | None]) -> Transport:
    """The one transport of this process to an origin: with many accounts there it connects once, not at every poll."""
    found = _transports.get(origin)
    # Of two threads that come first at the same time one makes it in vain; nothing is connected yet.
    return found if found is not None else _transports.setdefault(origin, Transport())


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
