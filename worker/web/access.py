"""Who may ask for what: the token, the cookie that remembers it, the mark in each form, and the names of this page.

Everything is derived from the token with HMAC-SHA256: nothing is stored, and a changed token ends every session.
"""

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

from worker.errors import UsageError

SHORTEST_TOKEN = 20
"""Characters; so many cannot be guessed, however often somebody tries, and nobody need be locked out."""
SESSION_SECONDS = 12 * 3600
LOOPBACK_NAMES = frozenset({"localhost"})

Visitor = Literal["form", "in"]
"""What a cookie is good for: to sign in with, or to go on with."""


class Access:
    """The rules of one page that listens on `host`; raises UsageError where it must not listen there.

    `names` are further names by which browsers ask for it, such as the one of a proxy in front of it.
    """

    def __init__(
        self,
        host: str,
        token: str | None = None,
        names: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.loopback = is_loopback(host)
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise UsageError(f"MAILMIRROR_WEB_TOKEN must have at least {SHORTEST_TOKEN} characters.")
        if token is None and not self.loopback:
            raise UsageError(
                f"Everybody who reaches {host} could read the page. Set MAILMIRROR_WEB_TOKEN to at least "
                f"{SHORTEST_TOKEN} random characters, or leave --host out."
            )
        self.with_token = token is not None
        self._digest = hashlib.sha256((token or secrets.token_urlsafe()).encode()).digest()
        self._key = hmac.digest(self._digest, b"mailmirror: sessions of the web page", "sha256")
        self._names = LOOPBACK_NAMES | {name.lower().rstrip(".") for name in (host, *names)}
        self._clock = clock

    # --- the token

    def knows(self, given: str) -> bool:
        """Compare a token with ours in a time that tells nothing of it."""
        return self.with_token and hmac.compare_digest(hashlib.sha256(given.encode()).digest(), self._digest)

    def admits(self, authorization: str) -> bool:
        """Whether a header `Authorization: Bearer …` holds the token."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.knows(given.strip())

    # --- the cookie

    def cookie(self, kind: Visitor) -> str:
        """Make the value of a new cookie: what it is for, its end, chance, and our signature."""
        facts = f"{kind}.{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{facts}.{self._sign('cookie', facts)}"

    def visitor(self, cookie: str) -> Visitor | None:
        """What a cookie is good for; None where it is not ours, or too old."""
        facts, _, signature = cookie.rpartition(".")
        if not _same(signature, self._sign("cookie", facts)):
            return None
        kind, end, _ = facts.split(".")
        if int(end) <= self._clock():
            return None
        return "in" if kind == "in" else "form"

    # --- the mark in a form

    def mark(self, cookie: str) -> str:
        """What a form must send along with this cookie: no other page can know it."""
        return self._sign("form", cookie)

    def marked(self, cookie: str, given: str) -> bool:
        """Whether a form came from a page that was shown under this cookie."""
        return self.visitor(cookie) is not None and _same(given, self.mark(cookie))

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose}\0{text}".encode(), "sha256").hex()

    # --- the name it was asked by

    def known_as(self, host: str) -> bool:
        """Whether a Host header is one of this page.

        A page elsewhere can let its own name point here, and would read what its visitor may read: its name is in the
        header, and is refused. An address instead of a name cannot be pointed anywhere.
        """
        name = _name_in(host)
        if name is None:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback

    def same_site(self, host: str, origin: str, fetched_from: str) -> bool:
        """Whether a form was sent by a page of ours, as far as the browser says: its origin, and Sec-Fetch-Site.

        With `no-referrer` browsers send the origin "null" for our own forms, too.
        """
        if fetched_from not in {"", "same-origin"}:
            return False
        if origin in {"", "null"}:
            return True
        return urlsplit(origin).netloc.lower() == host.lower()


def is_loopback(host: str) -> bool:
    """Whether what listens there is reached from this machine alone."""
    if host.lower().rstrip(".") in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name_in(host: str) -> str | None:
    """The name or address in a Host header; None where it is none."""
    if not host or any(character in host for character in "/@?#\\ ,"):
        return None
    try:
        found = urlsplit(f"//{host}")
        _ = found.port
    except ValueError:
        return None
    return (found.hostname or "").rstrip(".") or None


def _same(given: str, ours: str) -> bool:
    return hmac.compare_digest(given.encode(), ours.encode())
