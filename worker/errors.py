"""Every error mailmirror raises, grouped by what to do next.

MailmirrorError
├── UsageError              a person must change what was given (exit code 2)
├── RetryLaterError         nothing is wrong with the data; the same call may succeed later
│   ├── ThrottledError          not before `retry_after` seconds
│   ├── UnreachableError        no connection, no answer, an answer cut short
│   ├── UpstreamFailedError     the upstream answered 5xx
│   └── StoreUnavailableError   Postgres is away, full or read-only
├── NeedsPersonError        this account waits for a person
│   ├── CredentialRefusedError  the token, the app key or the grant behind it is no longer good
│   ├── ForbiddenError          refused for lack of rights
│   └── AccountGoneError        the upstream no longer knows the account
├── StartOverError          a position is lost; the stream begins again, the rows stay
│   ├── CursorLostError
│   └── PageTokenLostError
├── UnreadableError         an answer that breaks the protocol; nothing of it is used
├── NotFoundError           the upstream itself says that the object does not exist
├── UnsupportedError        this account or service has no such capability
└── LeaseError              not this worker's turn on the account
    ├── LeaseHeldError          another worker has it
    ├── NotDueError             nothing is to be done for it now
    └── LeaseLostError          another worker has overtaken us
"""


class MailmirrorError(Exception):
    """Base of all errors; `str(error)` is one clear sentence for a person."""


class UsageError(MailmirrorError):
    """Something given by a person (setting, argument, file, database) must be changed first."""


class RetryLaterError(MailmirrorError):
    """Try the same again later."""


class ThrottledError(RetryLaterError):
    """The upstream asks to wait `retry_after` seconds; `scope` is "app" or "account" (kloudless-api.md 5.4)."""

    def __init__(self, message: str, *, retry_after: float | None, scope: str) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.scope = scope


class UnreachableError(RetryLaterError):
    """No connection, a timeout, or an answer that broke off; `kind` is connect, tls, timeout or broken."""

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class UpstreamFailedError(RetryLaterError):
    """The upstream answered `status` (5xx), perhaps with an `error_code` and the seconds it asks to wait."""

    def __init__(
        self, message: str, *, status: int, error_code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.retry_after = retry_after


class StoreUnavailableError(RetryLaterError):
    """Postgres cannot take the work now; `sqlstate` says why where it is known."""

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class NeedsPersonError(MailmirrorError):
    """The account stays as it is until a person acts."""


class CredentialRefusedError(NeedsPersonError):
    """A credential is no longer good; `scope` is token, service or app (kloudless-api.md 5.2)."""

    def __init__(self, message: str, *, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


class ForbiddenError(NeedsPersonError):
    """The upstream refuses for lack of rights."""

    def __init__(self, message: str, *, error_code: str | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class AccountGoneError(NeedsPersonError):
    """The upstream says that the account itself does not exist."""


class StartOverError(MailmirrorError):
    """A position the upstream no longer accepts."""


class CursorLostError(StartOverError):
    """The activity cursor is refused (kloudless-api.md 9.4)."""


class PageTokenLostError(StartOverError):
    """A `next_page` token is refused; only that listing starts over (kloudless-api.md 6)."""


class UnreadableError(MailmirrorError):
    """An answer that is not what the protocol promises; `excerpt` holds its first bytes, never a credential."""

    def __init__(self, message: str, *, excerpt: bytes = b"") -> None:
        super().__init__(message)
        self.excerpt = excerpt


class NotFoundError(MailmirrorError):
    """The API's own JSON error `not_found` (404 or 410): the object does not exist."""


class UnsupportedError(MailmirrorError):
    """The service or the plan has no such call (403, 405 or 501 on it; kloudless-api.md 5.2, 9.6)."""


class LeaseError(MailmirrorError):
    """It is not this worker's turn on the account."""


class LeaseHeldError(LeaseError):
    """The lease is taken by `owner` for `seconds` more."""

    def __init__(self, message: str, *, owner: str, seconds: float) -> None:
        super().__init__(message)
        self.owner = owner
        self.seconds = seconds


class NotDueError(LeaseError):
    """A task came for an account that is not due, waits for a person, or waits with all of its app."""


class LeaseLostError(LeaseError):
    """Our lease was overtaken: nothing of the refused commit was written."""
