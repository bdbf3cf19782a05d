"""What a status and an error code of the Kloudless API mean for us: one table (kloudless-api.md 5.2, 9.6, 13)."""

import re
from collections.abc import Collection
from enum import Enum, auto
from typing import NamedTuple

from worker.errors import (
    AccountGoneError,
    CredentialRefusedError,
    CursorLostError,
    ForbiddenError,
    MailmirrorError,
    NotFoundError,
    PageTokenLostError,
    ThrottledError,
    UnreadableError,
    UnsupportedError,
    UpstreamFailedError,
)
from worker.sources._lenient import loads


class Call(Enum):
    """What was asked; the value is how people are told of it."""

    TOKEN = "the token check"  # noqa: S105  # words for people, no credential
    ACCOUNT = "the account"
    START_ACTIVITY = "the activity subscription"
    ACTIVITY = "the activity stream"
    ACTIVITY_AFTER = "the activity stream after a cursor"
    LISTING = "the message listing"
    LISTING_PAGE = "a further page of the message listing"
    MESSAGE = "a message"
    NAME = "a label or folder"


class Means(Enum):
    """What to raise."""

    WAIT_ACCOUNT = auto()
    WAIT_APP = auto()
    FAILED = auto()
    CREDENTIAL = auto()
    SERVICE_CREDENTIAL = auto()
    FORBIDDEN = auto()
    ACCOUNT_GONE = auto()
    CURSOR_LOST = auto()
    PAGE_LOST = auto()
    NOT_FOUND = auto()
    UNSUPPORTED = auto()
    UNREADABLE = auto()


class Refusal(NamedTuple):
    """An answer that is not the one asked for."""

    call: Call
    status: int
    code: str | None
    """`error_code` of the API's own JSON error; None without one, or when it is no short word."""
    own: bool
    """Whether the body was the API's own JSON error: a proxy's or a parking page's is not."""
    retry_after: float | None = None
    app_wide: bool = False
    """Whether the request carried the app key rather than a token."""


class Rule(NamedTuple):
    """One row; None stands for whatever."""

    status: Collection[int] | None
    codes: Collection[str] | None
    calls: Collection[Call] | None
    means: Means
    own: bool = True
    """Whether the row asks for the API's own error; the others hold for any body."""


_ACTIVITY = {Call.START_ACTIVITY, Call.ACTIVITY, Call.ACTIVITY_AFTER}
_GONE = {404, 410}
_TOKEN_REFUSED = {400, 404, 410}
_NOT_FOUND = {"not_found"}

RULES: tuple[Rule, ...] = (
    # The first row that fits decides. Limits first: they come with other statuses too (faults.md U40).
    Rule(None, {"too_many_requests"}, None, Means.WAIT_APP),
    Rule(None, {"too_many_service_requests"}, None, Means.WAIT_ACCOUNT),
    Rule({429}, None, None, Means.WAIT_ACCOUNT, own=False),
    # Credentials. A token nobody knows is a 400 on the token check alone (kloudless-api.md 3.3).
    Rule({401}, {"service_unauthorized"}, None, Means.SERVICE_CREDENTIAL),
    Rule({401}, None, None, Means.CREDENTIAL),
    Rule({400}, None, {Call.TOKEN}, Means.CREDENTIAL),
    # A vague upstream refusal says nothing about the cursor or page token that was sent.
    Rule({400}, {"request_failed"}, None, Means.UNREADABLE),
    # No activity for this account, service or plan.
    Rule({403, 405, 501}, None, _ACTIVITY, Means.UNSUPPORTED),
    Rule(_GONE, None, {Call.START_ACTIVITY, Call.ACTIVITY}, Means.UNSUPPORTED),
    Rule({409}, None, {Call.START_ACTIVITY}, Means.UNSUPPORTED),
    # A position that is no longer accepted: which of the three statuses is not known (kloudless-api.md 6, 9.4).
    Rule(_TOKEN_REFUSED, None, {Call.ACTIVITY_AFTER}, Means.CURSOR_LOST),
    Rule(_TOKEN_REFUSED, None, {Call.LISTING_PAGE}, Means.PAGE_LOST),
    # Something is not there: which thing depends on what was asked.
    Rule(_GONE, _NOT_FOUND, {Call.ACCOUNT, Call.LISTING}, Means.ACCOUNT_GONE),
    Rule(_GONE, _NOT_FOUND, {Call.MESSAGE, Call.NAME}, Means.NOT_FOUND),
    # Capabilities and rights.
    Rule({400, 405, 501}, None, {Call.NAME}, Means.UNSUPPORTED),
    Rule({501}, None, None, Means.UNSUPPORTED),
    Rule({403}, None, None, Means.FORBIDDEN),
    # The upstream's own trouble, in whatever words.
    Rule({408, 425, *range(500, 600)}, None, None, Means.FAILED, own=False),
    Rule(None, None, None, Means.UNREADABLE, own=False),
)

LARGEST_REFUSAL = 64 * 1024
"""Bytes of a refusal that are read."""
_ERRORS = range(400, 600)
_NUMBER = re.compile("[45][0-9][0-9]")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def own_error(status: int, body: bytes) -> tuple[int, str | None, bool]:
    """Read the API's own JSON error: the status it stands for, its code, and whether there is one at all.

    One that came with a good status counts as the status it names (faults.md U12). The code is kept only when it is
    one short word, because people see it.
    """
    fine = status not in _ERRORS
    if len(body) > LARGEST_REFUSAL or (fine and b'"error_code"' not in body):
        return status, None, False
    try:
        value = loads(body).value
    except UnreadableError:
        return status, None, False
    code = value.get("error_code") if isinstance(value, dict) else None
    if not isinstance(code, str):
        return status, None, False
    if fine:
        named = _NUMBER.fullmatch(str(value.get("status_code")))  # sometimes text (kloudless-api.md 5.1)
        if named is None:
            return status, None, False
        status = int(named[0])
    return status, code if _WORD.fullmatch(code) else None, True


def meaning(refusal: Refusal) -> Means:
    """Look a refusal up in RULES."""
    for rule in RULES:
        if (
            (refusal.own or not rule.own)
            and (rule.status is None or refusal.status in rule.status)
            and (rule.codes is None or refusal.code in rule.codes)
            and (rule.calls is None or refusal.call in rule.calls)
        ):
            return rule.means
    raise AssertionError(refusal)  # the last row fits everything


def error_of(refusal: Refusal) -> MailmirrorError:  # noqa: C901, PLR0911  # one return for each meaning
    """Make the error to raise; it carries the status and the code, never the address, headers or body."""
    what = refusal.call.value
    answer = f"{refusal.status} {refusal.code}" if refusal.code else str(refusal.status)
    match meaning(refusal):
        case Means.WAIT_ACCOUNT | Means.WAIT_APP as wait:
            scope = "app" if wait is Means.WAIT_APP else "account"
            sentence = f"The upstream asks to slow down ({answer})."
            return ThrottledError(sentence, retry_after=refusal.retry_after, scope=scope)
        case Means.FAILED:
            sentence = f"The upstream failed to give {what} ({answer})."
            return UpstreamFailedError(
                sentence, status=refusal.status, error_code=refusal.code, retry_after=refusal.retry_after
            )
        case Means.CREDENTIAL:
            scope = "app" if refusal.app_wide else "token"
            owner = "the app key" if refusal.app_wide else "the account's token"
            return CredentialRefusedError(f"The upstream no longer accepts {owner} ({answer}).", scope=scope)
        case Means.SERVICE_CREDENTIAL:
            sentence = f"The mail service no longer lets the upstream in: reconnect the account ({answer})."
            return CredentialRefusedError(sentence, scope="service")
        case Means.FORBIDDEN:
            sentence = f"The upstream refuses {what} for lack of rights ({answer})."
            return ForbiddenError(sentence, error_code=refusal.code)
        case Means.ACCOUNT_GONE:
            return AccountGoneError(f"The upstream does not know the account ({answer}).")
        case Means.CURSOR_LOST:
            return CursorLostError(f"The upstream no longer accepts the activity cursor ({answer}).")
        case Means.PAGE_LOST:
            return PageTokenLostError(f"The upstream no longer accepts the page token ({answer}).")
        case Means.NOT_FOUND:
            return NotFoundError(f"The upstream has no such object ({answer}).")
        case Means.UNSUPPORTED:
            return UnsupportedError(f"The upstream does not offer {what} for this account ({answer}).")
        case Means.UNREADABLE:
            whose = "" if refusal.own else " without an error of the API's own"
            return UnreadableError(f"The upstream answered {answer}{whose} when asked for {what}.")
