"""What a seed means: the mailbox, how the upstream behaves, how many act on it, and what goes wrong how often."""

from datetime import UTC, datetime
from random import Random
from typing import Literal

from msgspec import Struct

Paging = Literal["keyset", "offset"]
PAGINGS: tuple[Paging, ...] = ("keyset", "keyset", "offset")
BASE = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
"""When every simulation begins."""


class Plan(Struct, frozen=True, kw_only=True):
    """Drawn from the seed alone."""

    seed: int
    # the mailbox
    service: str
    messages: int
    days: float
    edits: int
    purges: int
    """Deletions of many messages at once."""
    # the upstream
    paging: Paging
    order: Literal["newest", "shuffled"]
    activity: bool
    subscribed: bool
    skew: float
    """Seconds that the upstream's clock is ahead of Postgres'."""
    list_lag: float
    """Seconds until a list shows a new message."""
    ghost_lag: float
    """Seconds for which a list shows a deleted message."""
    activity_lag: float
    activity_page: int
    drop_rate: float
    may_drop_deletions: bool
    shuffle_rate: float
    cursor_expiry: str
    delete_metadata: str
    page_token_ttl: float | None
    faults: int
    """How often the upstream has a bad moment."""
    # the workers
    workers: int
    page_size: int
    window_messages: int
    parallel_windows: int
    parallel_fetches: int
    slice_seconds: float
    crashes: int
    knows_the_dead: bool
    """Whether a worker can tell that the owner of a lease is dead, or must wait until the lease runs out."""
    stalls: int
    """How often a worker is stopped for longer than its lease."""
    # the schedule
    stickiness: float
    """How often who has the baton keeps it: many bugs need few changes, at the right places."""
    leaps: float
    """Weight of the clock: how often time passes while others are at work."""
    weights: tuple[float, float, float, float]
    """Of workers, user, upstream's moods, crashes."""

    def switches(self) -> dict[str, object]:
        """The sandbox's switches."""
        return {
            "paging": self.paging,
            "order": self.order,
            "list_lag": self.list_lag,
            "activity_lag": self.activity_lag,
            "activity_page_size": self.activity_page,
            "cursor_expiry": self.cursor_expiry,
            "delete_metadata": self.delete_metadata,
            "page_token_ttl": self.page_token_ttl,
            "move_changes_id": self.service != "gmail" and self.seed % 2 == 0,
        }


def drawn(seed: int) -> Plan:
    """Draw the plan of a seed."""
    dice = Random(f"plan {seed}")
    some = dice.choice
    paging: Paging = some(PAGINGS)
    calm = dice.random() < 0.25
    return Plan(
        seed=seed,
        service=some(("gmail", "gmail", "outlook_email")),
        messages=some((0, 6, 12, 25, 40)),
        days=some((0.5, 3.0, 40.0, 400.0)),
        edits=some((6, 15, 30)),
        purges=some((0, 0, 0, 1)),
        paging=paging,
        order=some(("newest", "newest", "shuffled")),
        activity=dice.random() < 0.93,
        subscribed=some((True, False)),
        skew=some((0.0, 0.0, -3.0, 40.0)),
        list_lag=0.0 if calm else some((0.0, 0.0, 5.0, 120.0)),
        ghost_lag=0.0 if calm else some((0.0, 5.0, 120.0)),
        activity_lag=0.0 if calm or paging == "offset" else some((0.0, 0.0, 3.0, 60.0)),
        activity_page=some((2, 5, 100)),
        drop_rate=0.0 if calm else some((0.0, 0.0, 0.1)),
        may_drop_deletions=paging == "keyset",
        shuffle_rate=some((0.0, 0.5)),
        cursor_expiry=some(("400", "404", "410", "silent_skip")),
        delete_metadata=some(("ids", "ids", "ids", "null")),
        page_token_ttl=None if calm else some((None, None, 4.0)),
        faults=0 if calm else some((0, 2, 6)),
        workers=some((1, 2, 2, 3)),
        page_size=some((2, 4, 10)),
        window_messages=some((4, 12, 40)),
        parallel_windows=some((1, 2, 3)),
        parallel_fetches=some((1, 2)),
        slice_seconds=some((2.0, 30.0)),
        crashes=some((0, 1, 2, 4)),
        knows_the_dead=some((True, False)),
        stalls=some((0, 1, 2)),
        stickiness=some((0.0, 0.6, 0.9)),
        leaps=some((0.02, 0.1, 0.3)),
        weights=(some((1.0, 3.0)), some((0.1, 0.3, 1.0)), some((0.05, 0.2)), some((0.02, 0.1))),
    )
