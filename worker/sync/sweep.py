"""What a finished walk says is missing upstream: asked for one by one, and only then believed."""

from collections.abc import Set as AbstractSet

from msgspec import Struct

from worker.ports import LeasedStore
from worker.records import Fetched, Gone, Problem, Window
from worker.sync.brake import held, too_many
from worker.sync.ledger import bounds, span
from worker.sync.limits import END
from worker.sync.looks import Looker

SAMPLE = 20
"""Messages asked for when so many are absent that either the mailbox or the listing is broken."""


class Found(Struct, frozen=True):
    """Messages that turned out to be there, those that are gone, and what could not be told."""

    fetched: tuple[Fetched, ...] = ()
    gone: tuple[Gone, ...] = ()
    problems: tuple[Problem, ...] = ()


def sweep(store: LeasedStore, looker: Looker, window: Window, listed: AbstractSet[str]) -> Found:
    """Compare a complete walk with the mirror: what is live here and was not listed there is asked for by GET.

    A listing may have skipped a message (offset paging) or lag behind, so absence alone deletes nothing. Where the
    brake would hold anyway, a sample is asked for: if it exists, the listing is broken and no deletion is even held.
    """
    absent = sorted(store.live_ids(window.after, window.before or window.walk_before or END) - listed)
    cause = too_many(store, len(absent), "sweep")
    if cause is None:
        look = looker.look(absent)
        return Found(look.fetched, looker.gone(look.absent, "sweep"), look.problems)
    sample = looker.look(absent[:: max(1, len(absent) // SAMPLE)])
    if sample.fetched or sample.problems:
        lacking = f"The listing of {bounds(window)} lacks {len(absent)} messages, some of which exist."
        problem = Problem(kind="page", subject=bounds(window), cause=lacking, window=span(window))
        return Found(sample.fetched, (), (*sample.problems, problem))
    looker.account()
    return Found(problems=held(absent, cause))
