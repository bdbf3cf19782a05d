"""The engine's figures: how much at once, how long until, how many at most."""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Where the ledger begins."""
END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The latest bound that can be written in the API's form."""

SETTLE = timedelta(minutes=15)
"""Mail younger than this may not be in the upstream's lists yet, so no window is closed over it."""
AHEAD = timedelta(days=1)
"""How far beyond the upstream's own time the head is usually listed."""
LOOK_AHEAD_EVERY = timedelta(days=1)
"""How often the head is listed to the end of time, for mail dated in the future."""
SAFE_AGE = 20 * 3600
"""Seconds without a complete poll after which events may have been dropped (kept 24 h; kloudless-api.md trap 8)."""
RETENTION = 10_000
"""Events an upstream keeps; a poll that delivers as many may have lost some (kloudless-api.md 9.4)."""
RECHECK_ACTIVITY = 24 * 3600
"""Seconds until an account without activity is asked for it again (kloudless-api.md trap 30)."""
FRESH = timedelta(minutes=10)
"""How long a new message may answer 404 before that counts as gone (read-after-write lag)."""

MAX_PAGES = 60
"""Pages after which a first walk gives its window up for smaller ones."""
LEAF = 5_000
"""Messages above which a window is cut before it is walked again, because its ids are held in memory."""
TRIES = 3
"""How often a page that cannot be read is asked for before its window is halved."""
FIRST_WIDTH = timedelta(days=7)
BARREN = timedelta(days=365)
"""So long without mail, and all that lies before is walked as one window: most mailboxes begin somewhere."""
GROWTH = 8
SHRINK = 0.25
SMALLEST = timedelta(seconds=1)
IN_ORDER = 10
"""Messages that show a listing to be newest first; a shuffled one looks so once in 3.6 million times."""
OVERLAP = timedelta(seconds=1)
"""How far below its own lower bound a window is listed: an upstream may leave out what lies on the bound itself."""

BRAKE_MESSAGES = 50
BRAKE_SHARE = 0.2
BRAKE_EVENT_SHARE = 0.5
BRAKE_FROM = 5
"""Mailboxes smaller than this are never held back."""


class Limits(Struct, frozen=True, kw_only=True):
    """What a run may do at once; from the settings."""

    page_size: int = 100
    window_messages: int = 2000
    parallel_windows: int = 4
    parallel_fetches: int = 4
    poll_while_walking: float = 10.0
    """Seconds between polls of the activity stream while windows are being walked."""
