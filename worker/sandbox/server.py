"""Starts and stops the sandbox: in the foreground, or in a thread for tests."""

import asyncio
import contextlib
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from .admin_accounts import describe
from .asgi import Application, Protocol
from .gateway import PREFIX
from .options import SandboxOptions
from .problems import SandboxError
from .world import World

HOST = "127.0.0.1"
_START_SECONDS = 10.0
_TICK = 0.02


class _Server(uvicorn.Server):
    """Notice sooner than uvicorn that it should end; its ticks would set a date header, which the sandbox has."""

    async def main_loop(self) -> None:
        """Wait for the end."""
        while not self.should_exit:  # noqa: ASYNC110 - a signal handler sets it, from outside the loop
            await asyncio.sleep(_TICK)


class Sandbox:
    """Hold a listening sandbox: `url` is the v1 root, `admin_url` the admin API, `api_key` the app's key."""

    def __init__(self, options: SandboxOptions) -> None:
        """Bind a port of the loopback and load the mail; raises SandboxError."""
        self.options = options
        # named TCP: asyncio sets TCP_NODELAY only on sockets that say so, and without it answers wait 40 ms
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, options.port))
        except OSError as error:
            self._socket.close()
            raise SandboxError(f"Port {options.port} is taken ({error.strerror}). Give another one, or 0.") from error
        try:
            self.world = World(options)
        except BaseException:
            self._socket.close()
            raise
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://{HOST}:{self.port}{PREFIX}"
        self.admin_url = f"http://{HOST}:{self.port}/__admin"
        self.api_key = options.api_key
        self.server = _Server(
            uvicorn.Config(
                Application(self.world),
                http=Protocol,
                ws="none",
                lifespan="on",
                log_level="error",
                log_config=None,
                access_log=False,
                date_header=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )

    @property
    def account_ids(self) -> list[int]:
        """Return the ids of all accounts, in order."""
        return list(self.world.accounts)

    def token(self, account_id: int) -> str:
        """Return the bearer token of an account; raises SandboxError when it has none."""
        account = self.world.accounts.get(account_id)
        if account is None or account.token is None:
            raise SandboxError(f"Account {account_id} has no token.")
        return account.token

    def describe(self) -> dict[str, object]:
        """Return what a client needs: url, admin, accounts and api_key."""
        shown = [describe(account) for account in self.world.accounts.values()]
        kept = ("id", "token", "service", "address", "messages")
        return {
            "url": self.url,
            "admin": self.admin_url,
            "accounts": [{name: one[name] for name in kept} for one in shown],
            "api_key": self.api_key,
        }

    def admin(self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
        """Call the admin API over HTTP: POST with a body, GET without; raises SandboxError with its sentence."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.admin_url + path, data=data, method=method)  # noqa: S310 - our own loopback
        try:
            with _opener().open(request, timeout=120) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise SandboxError(json.loads(error.read())["message"]) from error

    def truth(self, account_id: int) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
        """Return the head of an account's truth, and its messages as they stream."""
        response = _opener().open(f"{self.admin_url}/accounts/{account_id}/truth", timeout=120)
        head = json.loads(response.readline())

        def messages() -> Iterator[dict[str, Any]]:
            with response:
                for line in response:
                    yield json.loads(line)

        return head, messages()

    def run(self) -> None:
        """Serve until stop(); closes everything."""
        try:
            self.server.run(sockets=[self._socket])
        finally:
            self.close()

    def stop(self) -> None:
        """Ask the server to end."""
        self.server.should_exit = True

    def close(self) -> None:
        """Give back socket and disk."""
        self._socket.close()
        self.world.close()


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextlib.contextmanager
def running(options: SandboxOptions | None = None) -> Iterator[Sandbox]:
    """Run a sandbox in a thread for the length of a with block."""
    sandbox = Sandbox(options or SandboxOptions())
    thread = threading.Thread(target=sandbox.run, name="sandbox", daemon=True)
    thread.start()
    try:
        # the socket listens only once the loop is up; connecting earlier is refused
        waited = threading.Event()
        for _ in range(int(_START_SECONDS / 0.01)):
            if sandbox.server.started or not thread.is_alive():
                break
            waited.wait(0.01)
        yield sandbox
    finally:
        sandbox.stop()
        thread.join(_START_SECONDS)


def serve(options: SandboxOptions, ready: Callable[[dict[str, object]], None] | None = None) -> None:
    """Serve in the foreground until SIGTERM or SIGINT.

    `ready` is called once with describe() when requests are answered. Raises SandboxError on bad input.
    """
    sandbox = Sandbox(options)
    if ready is not None:
        announced = ready
        startup = sandbox.server.startup

        async def start(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets)
            announced(sandbox.describe())

        sandbox.server.startup = start  # type: ignore[method-assign] # the one place uvicorn tells that it listens
    with contextlib.suppress(KeyboardInterrupt):
        sandbox.run()
