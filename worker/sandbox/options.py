"""Options of a sandbox, and the switches that change how its API behaves."""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from .problems import BadOption

_MOST_DAYS = 20_000
_LAST_PORT = 65_535
SERVICES = {
    "gmail": "Gmail",
    "outlook_email": "Microsoft Outlook Mail",
    "exchange_email": "Microsoft Exchange Server",
    "imap": "IMAP/SMTP",
}


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choose among behaviours that the hosted API may or may not have had (kloudless-api.md, EMU)."""

    paging: Literal["keyset", "offset"] = "keyset"
    order: Literal["newest", "shuffled"] = "newest"
    list_lag: float = 0.0
    activity_lag: float = 0.0
    page_token_ttl: float | None = None
    max_page_bytes: int | None = None
    wild_dates: bool = False
    attachment_ids: Literal["stable", "changing"] = "stable"
    after_ge_before: Literal["empty", "400"] = "empty"
    cursor_expiry: Literal["400", "404", "410", "silent_skip"] = "400"
    delete_metadata: Literal["ids", "null", "full"] = "ids"
    move_changes_id: bool = False
    page_size_cap: int | None = None
    latest_cursor: bool = False
    content_length: bool = False
    redirect_slash: bool = False
    second_subscription: Literal["403", "409"] = "403"
    folder_filter_elsewhere: Literal["ignore", "400"] = "ignore"
    activity_page_size: int = 100
    retained_events: int = 10_000
    retained_hours: float = 24.0
    limit_app: int | None = None
    limit_account: int | None = None
    limit_window: float = 1.0
    retry_after: Literal["seconds", "float", "date", "missing"] = "seconds"

    def changed(self, values: dict[str, object]) -> "Switches":
        """Return switches with some values replaced; raise BadOption on an unknown name or value."""
        known = {name: getattr(self, name) for name in self.__struct_fields__}
        try:
            return msgspec.convert({**known, **values}, Switches)
        except msgspec.ValidationError as error:
            raise BadOption(f"No such switch or value: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Say what mail the sandbox serves and how.

    `mailboxes` are files (mbox, mbox.gz, tar.gz of .eml) or Maildirs, one account each, or all in one with
    `one_account`. `accounts` generated ones of `messages` each come after them (default: one, or none when
    there are files). `services` are given out in turn. Generated mail lies in the `days` before `until`, or
    before the start: give `until` to get the same mail again at the next start. `now` is where the clock starts.
    `live` is changes per second that happen by themselves. `activity` is for accounts other than imap.
    """

    mailboxes: tuple[str | Path, ...] = ()
    one_account: bool = False
    accounts: int | None = None
    messages: int = 1000
    services: tuple[str, ...] = ("gmail",)
    seed: int = 1
    port: int = 0
    api_key: str = "sandbox-api-key"
    app_id: str = "sandbox-app"
    days: float = 365.0
    until: dt.datetime | None = None
    now: dt.datetime | None = None
    live: float = 0.0
    subscribed: bool = True
    activity: bool = True
    cache_bytes: int = 192 << 20
    switches: Switches = field(default_factory=Switches)

    def __post_init__(self) -> None:
        """Refuse values that make no sense, in one sentence."""
        for service in self.services:
            if service not in SERVICES:
                raise BadOption(f"{service} is not a service. Give one of {', '.join(SERVICES)}.")
        if not self.services:
            raise BadOption("Give at least one service.")
        if self.messages < 0 or (self.accounts or 0) < 0:
            raise BadOption("The numbers of accounts and messages cannot be negative.")
        if not 0 < self.days <= _MOST_DAYS:
            raise BadOption("Give between 0 and 20000 days.")
        if self.live < 0:
            raise BadOption("The rate of changes cannot be negative.")
        if not 0 <= self.port <= _LAST_PORT:
            raise BadOption(f"{self.port} is not a port. Give 0 to 65535; 0 takes a free one.")

    def started(self) -> int | None:
        """Return the instant the sandbox clock starts at, None for the real time."""
        return None if self.now is None else _seconds(self.now)

    def end(self) -> int | None:
        """Return the instant generated mail ends at, None for the start."""
        return None if self.until is None else _seconds(self.until)

    def generated(self) -> int:
        """Return how many accounts hold generated mail."""
        return self.accounts if self.accounts is not None else (0 if self.mailboxes else 1)


def _seconds(moment: dt.datetime) -> int:
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())
