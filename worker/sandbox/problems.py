"""What can go wrong in the sandbox: bad input of the person who starts it, and error answers of the API."""


class SandboxError(Exception):
    """Say in one sentence what to do; the base of everything the sandbox raises on bad input."""


class MailboxMissing(SandboxError):  # noqa: N818 - reads as what happened
    """Report a mail file that does not exist or cannot be read."""


class NotAMailbox(SandboxError):  # noqa: N818 - as above
    """Report a file that is neither mbox, Maildir nor a tar of .eml files."""


class BadOption(SandboxError):  # noqa: N818 - as above
    """Report an option or a switch whose value is out of range."""


class ApiError(Exception):
    """Carry an error answer of the API (kloudless-api.md 5.1)."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Keep status, machine code, text and extra headers."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def not_found(what: str) -> ApiError:
    """Build the 404 of the API's own kind."""
    return ApiError(404, "not_found", f"{what} not found.")


def invalid(message: str) -> ApiError:
    """Build the 400 for a parameter that is wrong."""
    return ApiError(400, "invalid_parameters", message)
