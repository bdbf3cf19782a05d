"""What stands before every page: the name it was asked by, and headers that let a browser do nothing it need not."""

import logging
from collections.abc import Sequence

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.access import Access

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Sequence[tuple[bytes, bytes]] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
NO_STORE = (b"cache-control", b"no-store")
WRONG_NAME = "This page does not know the name it was asked by. Start it with: mailmirror web --name NAME\n"
FAILED = "The page cannot be shown; the program's log says why.\n"

log = logging.getLogger("mailmirror.web")


class Guard:
    """Wraps the application: refuses unknown names, adds the headers, and says nothing of what went wrong inside."""

    def __init__(self, inner: ASGIApp, access: Access) -> None:
        self._inner = inner
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                given = list(message["headers"])
                kept = [] if any(name == NO_STORE[0] for name, _ in given) else [NO_STORE]
                message = {**message, "headers": [*given, *HEADERS, *kept]}
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._access.known_as(hosts[0].decode("latin-1")):
            await PlainTextResponse(WRONG_NAME, 421)(scope, receive, with_headers)
            return
        try:
            await self._inner(scope, receive, with_headers)
        except Exception:
            # The last line before the browser: whatever it is goes into the log whole, and out of here not at all.
            log.exception("A page could not be shown: %s", scope["path"])
            if begun:
                raise
            await PlainTextResponse(FAILED, 500)(scope, receive, with_headers)
