"""The frozen values that flow from source to sync to store: the objects of the unified Email API, and our own.

Everything here is clean: no NUL, no lone surrogate, every time aware and in UTC with whole seconds.
What had to be changed on the way in is named in `Message.altered`.
"""

from datetime import datetime
from typing import Literal, NewType

from msgspec import Struct

Cursor = NewType("Cursor", str)
"""An opaque position in the activity stream; compared for equality only."""

PageToken = NewType("PageToken", str)
"""An opaque `next_page` value, bound to one account and one window."""


class Person(Struct, frozen=True):
    """A sender or recipient as written on one message (seed: Person)."""

    email: str | None = None
    name: str | None = None


class Label(Struct, frozen=True):
    """A label by id with its display name (seed: Label)."""

    id: str
    name: str | None = None


class Folder(Struct, frozen=True):
    """A folder by id with its display name (seed: Folder)."""

    id: str
    name: str | None = None


class File(Struct, frozen=True):
    """An attachment or raw-content reference; `id` and `href` may change at every read (kloudless-api.md 8.2)."""

    id: str | None = None
    name: str | None = None
    mime_type: str | None = None
    size: int | None = None
    href: str | None = None


class Message(Struct, frozen=True, kw_only=True):
    """One message as a list page or a GET gave it (seed: Message)."""

    id: str
    created: datetime | None = None
    """Whole seconds, UTC, year 1 to 9999; None when the upstream's value was no valid time."""
    created_raw: str | None = None
    """The upstream's own text, only when it was no valid time."""
    thread_id: str | None = None
    folder_id: str | None = None
    labels: tuple[Label, ...] = ()
    """Distinct by id, in the upstream's order."""
    subject: str | None = None
    sender: Person | None = None
    to: tuple[Person, ...] = ()
    cc: tuple[Person, ...] = ()
    bcc: tuple[Person, ...] = ()
    snippet: str | None = None
    text_body: str | None = None
    body: str | None = None
    rfc822: File | None = None
    attachments: tuple[File, ...] = ()
    raw: bytes | None = None
    """JSON of the upstream service's own object, when it was asked for; fit for jsonb."""
    altered: tuple[str, ...] = ()
    """Names of the fields that were cleaned on the way in, sorted."""
    cut: tuple[str, ...] = ()
    """Names of the bodies of which only the beginning came in, because the settings keep no more of them."""
    body_size: int | None = None
    """UTF-8 bytes of `body` before it was cut; None where it is whole."""

    @property
    def weight(self) -> int:
        """Characters of its bodies, which is about what it takes in memory."""
        return len(self.body or "") + len(self.text_body or "")


class Rejected(Struct, frozen=True):
    """An object on a page that could not be read; the rest of the page is good."""

    subject: str
    """The object's id where it has a usable one, else the SHA-256 of its bytes as `sha256:…`."""
    reason: str
    raw: bytes
    """The object's bytes, at most 64 kB of them."""
    addressable: bool
    """Whether `subject` is an id that can be asked for again."""


class MessagePage(Struct, frozen=True):
    """One page of a listing."""

    messages: tuple[Message, ...]
    rejected: tuple[Rejected, ...]
    next_page: PageToken | None
    served_at: datetime
    """The upstream's `Date`, whole seconds UTC."""


EventKind = Literal["add", "update", "delete"]


class Event(Struct, frozen=True):
    """A hint that something happened to a message; unknown kinds read as update (kloudless-api.md 9.3, trap 11)."""

    message_id: str
    kind: EventKind
    at: datetime | None = None


class ActivityPage(Struct, frozen=True):
    """One page of the activity stream."""

    events: tuple[Event, ...]
    rejected: tuple[Rejected, ...]
    """Events without a usable message id."""
    count: int
    """Objects on the page, of whatever kind; 0 means the end of the stream at this time."""
    cursor: Cursor | None
    served_at: datetime


class Profile(Struct, frozen=True):
    """What the upstream says of an account."""

    upstream_id: str
    service: str
    address: str | None
    served_at: datetime
    """The upstream's `Date`, whole seconds UTC."""


Queue = Literal["live", "backfill"]
"""Where a task waits: for a look at what has changed, or for work on the history."""

Status = Literal["active", "backing_off", "auth_required", "degraded", "gone", "paused"]
"""States of an account; paused, gone and auth_required wait for a person."""

WindowState = Literal["open", "done", "problem"]


class Window(Struct, frozen=True, kw_only=True):
    """One row of the ledger: messages with `after <= created < before`; `before` None marks the head."""

    after: datetime
    before: datetime | None
    state: WindowState = "open"
    page: PageToken | None = None
    """Where a first walk goes on; None at its beginning."""
    pages: int = 0
    """Pages read by the walk in progress, or by the last finished one."""
    seen: int = 0
    """Messages read by the walk in progress, or by the last finished one."""
    attempts: int = 0
    """Failures of the walk in progress."""
    page_size: int | None = None
    """A smaller page size than the usual one, while a page of this window cannot be read."""
    walk_before: datetime | None = None
    """The upper bound sent upstream, pinned for the whole walk."""
    walk_began_at: datetime | None = None
    """The upstream's time when the walk in progress began."""
    reached: datetime | None = None
    """The oldest `created` read so far while the listing has come newest first without exception."""
    disturbed: bool = False
    """A message of the window was deleted while it was being walked, so the listing may have skipped another."""
    known_before: bool = False
    """Messages of the window were mirrored before its first walk began: only a walk in one go shows which are gone."""
    looked_ahead_at: datetime | None = None
    """Head only: when it was last walked as far into the future as the API accepts."""
    walked_at: datetime | None = None
    """When the last complete walk ended."""
    next_walk_at: datetime | None = None
    """When a done window is walked again."""


class LedgerChange(Struct, frozen=True, kw_only=True):
    """What a commit does to the ledger: first drop, then put, then mark."""

    drop: tuple[datetime, ...] = ()
    """`after` of windows that disappear (split or merged)."""
    put: tuple[Window, ...] = ()
    walk_all: bool = False
    """Make every walked window due now (a cursor was lost)."""


class Span(Struct, frozen=True):
    """A span of time `[after, before)`; `before` None is open."""

    after: datetime
    before: datetime | None


class Walked(Struct, frozen=True):
    """A span that was listed from its first page to its last in one go."""

    span: Span
    unreadable: tuple[str, ...] = ()
    """Subjects of problems without an id that this walk has found again."""


ProblemKind = Literal["pending", "message", "event", "page", "held_delete", "account"]


class Problem(Struct, frozen=True, kw_only=True):
    """A failure that lets a position move on: it stays as a row until it is put right."""

    kind: ProblemKind
    subject: str
    """A message id, an event's digest, or a window's bounds."""
    cause: str
    raw: bytes | None = None
    retry_in: float | None = None
    """Seconds until it is tried again; None leaves it to a person or to the next walk."""
    window: Span | None = None
    """Where it was found, when it has no id to ask for: the next complete walk there puts it right."""


FoundBy = Literal["event", "sweep"]


class Pending(Struct, frozen=True):
    """An open problem whose message is due to be asked for again."""

    kind: ProblemKind
    subject: str
    attempts: int
    age: float
    """Seconds since it was first recorded."""


class Fetched(Struct, frozen=True):
    """A message as a GET gave it; `asked` numbers the request within the run."""

    message: Message
    asked: int


class Gone(Struct, frozen=True):
    """A message the upstream itself said is gone; `found_by` tells how the absence was noticed.

    None: a person confirmed it, and the deletion brake does not count it.
    """

    message_id: str
    found_by: FoundBy | None
    asked: int


class CursorMove(Struct, frozen=True):
    """The activity cursor of an account moves; `supported` False means it has no activity at all."""

    cursor: Cursor | None
    supported: bool = True


class Position(Struct, frozen=True):
    """Where the activity stream of an account stands."""

    cursor: Cursor | None
    supported: bool
    age: float
    """Seconds since the stream was last read to its end, or found unsupported."""


class Batch(Struct, frozen=True, kw_only=True):
    """Everything one commit writes: rows, tombstones, failures and the position, or nothing."""

    stream: Literal["activity", "windows", "pending"]
    listed: tuple[Message, ...] = ()
    """Seen on a list page: never revives a tombstone."""
    asked: int = 0
    """Number within the run of the request that gave `listed`."""
    fetched: tuple[Fetched, ...] = ()
    """Seen by a GET: may revive."""
    rewrite: bool = False
    """Write what was fetched whatever the digests say: a repair trusts no row."""
    gone: tuple[Gone, ...] = ()
    folders: tuple[Folder, ...] = ()
    """Folders with the names that were asked for."""
    gone_folders: tuple[str, ...] = ()
    """Ids of folders the upstream does not know."""
    problems: tuple[Problem, ...] = ()
    solved: tuple[tuple[ProblemKind, str], ...] = ()
    walked: tuple[Walked, ...] = ()
    cursor: CursorMove | None = None
    polled: bool = False
    """The activity stream was read to its end at this time."""
    ledger: LedgerChange = LedgerChange()
    walking: tuple[datetime, ...] = ()
    """`after` of finished windows that are being walked again now."""

    @property
    def weight(self) -> int:
        """Characters of the bodies on its list pages."""
        return sum(message.weight for message in self.listed)

    @property
    def is_bare(self) -> bool:
        """Whether it holds nothing that is written, except for the time of a poll and what closes problems."""
        rows = self.listed or self.fetched or self.gone or self.folders or self.gone_folders or self.problems
        return not rows and self.cursor is None and self.ledger == LedgerChange()


class Outcome(Struct, frozen=True, kw_only=True):
    """What a commit changed."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    tombstoned: int = 0
    revived: int = 0
    held: tuple[str, ...] = ()
    """Listed ids whose row is a tombstone: recorded as pending, to be asked for by GET."""
    new_folders: int = 0
    """Folders seen for the first time, or again after they were gone; a message carries no name of its folder."""
    disturbed: tuple[datetime, ...] = ()
    """`after` of windows being walked in which this commit deleted a message."""


class Difference(Struct, frozen=True):
    """One message that the mirror does not hold as the upstream shows it."""

    message_id: str
    kind: Literal["missing", "stale", "extra"]
    fields: tuple[str, ...] = ()
