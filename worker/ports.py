"""The two ends the engine stands between, and its clock: protocols only."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from worker.records import (
    ActivityPage,
    Batch,
    Cursor,
    Difference,
    Folder,
    FoundBy,
    Message,
    MessagePage,
    Outcome,
    PageToken,
    Pending,
    Position,
    Profile,
    Window,
)


class Source(Protocol):
    """Where the mail of one account comes from; safe to call from several threads."""

    def profile(self) -> Profile:
        """Ask the upstream who this account is; also the proof that it still exists.

        Raises CredentialRefusedError, AccountGoneError, ForbiddenError, RetryLaterError, UnreadableError.
        """
        ...

    def start_activity(self) -> None:
        """Make sure that changes are being recorded from now on.

        Raises UnsupportedError where the account has no activity.
        """
        ...

    def activity(self, cursor: Cursor | None) -> ActivityPage:
        """Read the events after `cursor`; None starts at the oldest kept.

        Raises CursorLostError, UnsupportedError.
        """
        ...

    def window(self, after: datetime, before: datetime, page: PageToken | None, size: int) -> MessagePage:
        """List messages with `after <= created < before`, one page of about `size`.

        Raises PageTokenLostError when `page` is refused, UnreadableError when the page cannot be used.
        """
        ...

    def message(self, message_id: str) -> Message:
        """Read one message.

        Raises NotFoundError only for the API's own answer that there is no such message.
        """
        ...

    def folder(self, folder_id: str) -> Folder:
        """Read one folder; raises NotFoundError, and UnsupportedError where the service has none."""
        ...

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class LeasedStore(Protocol):
    """One account's store under a lease; reads are safe from several threads, `commit` is called from one."""

    account_id: int

    def commit(self, batch: Batch) -> Outcome:
        """Write the batch in one transaction behind the fence, and renew the lease.

        Raises LeaseLostError (nothing written) and StoreUnavailableError (perhaps written: start again from the store).
        """
        ...

    def renew(self) -> None:
        """Renew the lease when less than 60 s of it remain; free otherwise.

        Raises LeaseLostError.
        """
        ...

    def position(self) -> Position | None:
        """Where the activity stream stands; None before the first time."""
        ...

    def windows(self) -> tuple[Window, ...]:
        """The ledger, newest window first."""
        ...

    def walk_due(self) -> bool:
        """Whether a window is open or due to be walked again."""
        ...

    def now(self) -> datetime:
        """The store's time, aware UTC."""
        ...

    def pending(self, limit: int) -> tuple[Pending, ...]:
        """Open problems with a message id whose time has come, oldest first."""
        ...

    def live_ids(self, after: datetime, before: datetime) -> set[str]:
        """Ids of live mirrored messages in the window; those without a valid `created` belong to year 1."""
        ...

    def any_live(self, after: datetime, before: datetime) -> bool:
        """Whether `live_ids` would give any."""
        ...

    def live_among(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that are live mirrored messages."""
        ...

    def cuts(self, after: datetime, before: datetime, size: int) -> tuple[datetime, ...]:
        """Whole-second bounds inside the window, newest first, that cut it into parts of about `size` live messages."""
        ...

    def unnamed_folders(self) -> tuple[str, ...]:
        """Folders whose name was never read, without those the upstream does not know."""
        ...

    def deletions(self, found_by: FoundBy) -> int:
        """Tombstones of the last 24 hours whose absence was noticed this way, and those held back."""
        ...

    def live_count(self, at_most: int) -> int:
        """Live messages of the account, counted no further than `at_most`."""
        ...


class Judge(Protocol):
    """Compares what the upstream shows with what the mirror holds, field by field; writes nothing."""

    def differences(self, messages: Sequence[Message]) -> tuple[Difference, ...]:
        """Which of these messages the mirror lacks or holds otherwise."""
        ...

    def live_ids(self, after: datetime, before: datetime) -> set[str]:
        """As `LeasedStore.live_ids`."""
        ...

    def excused(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that stand in an open problem."""
        ...


class Clock(Protocol):
    """Time as this process feels it: for deadlines and waiting, never for what is written."""

    def monotonic(self) -> float:
        """Seconds since some moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
