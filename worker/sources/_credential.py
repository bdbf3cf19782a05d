"""The credential of a session, kept from every message, repr and log."""

from msgspec import Struct

from worker.errors import UsageError


class Credential(Struct, frozen=True):
    """What stands in `Authorization` (kloudless-api.md 3.1); never shown."""

    scheme: str
    secret: str
    app_wide: bool = False
    """Whether it opens every account of the app."""

    def __repr__(self) -> str:
        return f"Credential({self.scheme} ***)"

    def checked(self) -> bytes:
        """Return the secret's bytes; raises UsageError when no header can carry it.

        Checked here because the HTTP library quotes a bad header, and with it the secret, in its error.
        """
        if not self.secret or not self.secret.isascii() or not self.secret.isprintable() or " " in self.secret:
            what = "The app key" if self.app_wide else "The token"
            raise UsageError(f"{what} is empty, or holds a space, a line break or a letter that no token has.")
        return self.secret.encode()
