"""What a run's error means for its account: one table, from error class to status and next attempt."""

from msgspec import Struct

from worker.errors import (
    AccountGoneError,
    CredentialRefusedError,
    ForbiddenError,
    LeaseError,
    MailmirrorError,
    NeedsPersonError,
    RetryLaterError,
    StartOverError,
    ThrottledError,
    UnreachableError,
    UnreadableError,
    UpstreamFailedError,
)
from worker.records import Status

LONGEST = 3600.0
GONE_AFTER = 3600.0
"""Seconds for which the upstream must go on saying that it does not know an account."""
APP_WAIT = 300.0
"""Seconds all accounts of an app wait when its key is refused."""
SLOWER = 1.25

SHARED: tuple[tuple[tuple[type[MailmirrorError], ...], float], ...] = (
    ((CredentialRefusedError, ForbiddenError), APP_WAIT),
    ((UpstreamFailedError, UnreachableError), 60.0),
)
"""Errors that may be about all accounts of a service, and the seconds these wait then."""


class Consequence(Struct, frozen=True):
    """How an account goes on after an error."""

    status: Status | None
    """New status; None leaves it."""
    waits: bool
    """Whether it is tried again by itself after a growing pause."""


TABLE: tuple[tuple[type[MailmirrorError], Consequence], ...] = (
    (CredentialRefusedError, Consequence("auth_required", waits=False)),
    (ForbiddenError, Consequence("auth_required", waits=False)),
    (AccountGoneError, Consequence("gone", waits=False)),
    (LeaseError, Consequence(None, waits=False)),
    (RetryLaterError, Consequence("backing_off", waits=True)),
    (UnreadableError, Consequence("backing_off", waits=True)),
    (StartOverError, Consequence("backing_off", waits=True)),
    (MailmirrorError, Consequence("backing_off", waits=True)),
)
"""First match counts."""


def consequence(error: MailmirrorError, failing_for: float = 0.0, *, shared: bool = False) -> Consequence:
    """Look the error up; `failing_for` is how many seconds the account has failed in this way.

    `shared` says that all accounts of its service fail so: then none of them waits for a person.
    An account is gone only when the upstream says so again an hour later (faults.md U42). A refused app-wide key is no
    account's fault: none of them changes its state (U41).
    """
    if isinstance(error, AccountGoneError) and failing_for < GONE_AFTER:
        return Consequence("backing_off", waits=True)
    if isinstance(error, NeedsPersonError) and (shared or is_app_wide(error)):
        return Consequence(None, waits=True)
    return next(found for kind, found in TABLE if isinstance(error, kind))


def is_app_wide(error: MailmirrorError) -> bool:
    """Whether the error is about the app and so about all its accounts: they all wait, as one."""
    return isinstance(error, CredentialRefusedError | ThrottledError) and error.scope == "app"


def shared_wait(error: MailmirrorError) -> tuple[tuple[str, ...], float] | None:
    """Names of the errors to look for among the other accounts of the service, and the wait when all fail so.

    None for an error that is about this account, or about the app by its own words.
    """
    if is_app_wide(error):
        return None
    found = next((row for row in SHARED if isinstance(error, row[0])), None)
    return (tuple(kind.__name__ for kind in found[0]), found[1]) if found else None


def pause(error: MailmirrorError, failures: int, back_off: float) -> float:
    """Seconds until the next attempt: what the upstream asks for, else doubling with the failures in a row."""
    if isinstance(error, ThrottledError | UpstreamFailedError) and error.retry_after is not None:
        return error.retry_after
    if isinstance(error, AccountGoneError):
        return GONE_AFTER
    if isinstance(error, CredentialRefusedError) and is_app_wide(error):
        return APP_WAIT
    return float(min(LONGEST, back_off * 2.0 ** min(max(0, failures - 1), 30)))


def next_poll(current: float | None, *, changed: bool, fastest: float, slowest: float) -> float:
    """Seconds between polls from now on: the fewest after a change, more with each quiet poll."""
    if changed or current is None:
        return fastest
    return max(fastest, min(slowest, current * SLOWER))
