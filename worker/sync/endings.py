"""What a run's error means for its account: one table, from error class to status and next attempt."""

from msgspec import Struct

from worker.errors import (
    AccountGoneError,
    CredentialRefusedError,
    ForbiddenError,
    LeaseError,
    MailmirrorError,
    RetryLaterError,
    StartOverError,
    ThrottledError,
    UnreadableError,
)
from worker.records import Status

LONGEST = 3600.0
GONE_AFTER = 3600.0
"""Seconds for which the upstream must go on saying that it does not know an account."""
APP_WAIT = 300.0
"""Seconds all accounts of an app wait when its key is refused."""
SLOWER = 1.25


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


def consequence(error: MailmirrorError, failing_for: float = 0.0) -> Consequence:
    """Look the error up; `failing_for` is how many seconds the account has failed in this way.

    An account is gone only when the upstream says so again an hour later (faults.md U42). A refused app-wide key is no
    account's fault: none of them changes its state (U41).
    """
    if isinstance(error, AccountGoneError) and failing_for < GONE_AFTER:
        return Consequence("backing_off", waits=True)
    if isinstance(error, CredentialRefusedError) and is_app_wide(error):
        return Consequence(None, waits=True)
    return next(found for kind, found in TABLE if isinstance(error, kind))


def is_app_wide(error: MailmirrorError) -> bool:
    """Whether the error is about the app and so about all its accounts: they all wait, as one."""
    return isinstance(error, CredentialRefusedError | ThrottledError) and error.scope == "app"


def pause(error: MailmirrorError, failures: int, back_off: float) -> float:
    """Seconds until the next attempt: what the upstream asks for, else doubling with the failures in a row."""
    if isinstance(error, ThrottledError) and error.retry_after is not None:
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
