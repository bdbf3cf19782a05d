"""Listens, and serves the page until it is told to stop."""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import uvicorn

from worker.config import Settings
from worker.errors import UsageError
from worker.web.access import Access
from worker.web.site import Site

BACKLOG = 128
MOST_AT_ONCE = 64
"""Requests that are answered at the same time; more get 503 at once."""


class Listening:
    """The page, bound to a port: `url` is where it is. Use as a context manager; `run` serves."""

    def __init__(self, settings: Settings, access: Access, host: str, port: int) -> None:
        """Bind; raises UsageError for a host or port that cannot be had, or a setting that is wrong."""
        self._site = Site(settings, access)
        try:
            self._socket = _bound(host, port)
        except BaseException:
            self._site.close()
            raise
        self.port = int(self._socket.getsockname()[1])
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._site.application,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MOST_AT_ONCE,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=2,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._site.close()

    def run(self) -> None:
        """Serve until `stop`, or until a signal that was sent to this process is raised again."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Ask the server to end; from any thread."""
        self._server.should_exit = True


def listen(settings: Settings, *, host: str, port: int, names: tuple[str, ...] = ()) -> Listening:
    """Bind the page of these settings; raises UsageError where it must not or cannot listen there."""
    return Listening(settings, Access(host, settings.web_token, names), host, port)


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve the page beside other work, on a free port of this machine; gives its address."""
    with listen(settings, host="127.0.0.1", port=0) as page:
        thread = threading.Thread(target=page.run, name="web", daemon=True)
        thread.start()
        try:
            yield page.url
        finally:
            page.stop()
            thread.join()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET  # noqa: PLR2004
    except ValueError:
        family = socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except socket.gaierror:
        bound.close()
        raise UsageError(f"--host {host} is no address of this machine.") from None
    except OSError as error:
        bound.close()
        raise UsageError(
            f"{host}:{port} cannot be listened on ({error.strerror}). Give another --port, or 0."
        ) from error
    bound.listen(BACKLOG)
    return bound
