"""Repair: only the difference that a verification found is fetched again and written, whatever the digests say."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from worker.ports import Clock, LeasedStore, Source
from worker.records import Batch, Difference
from worker.sync.brake import brake
from worker.sync.looks import Looker
from worker.sync.observations import Observations

PIECE = 100
"""Messages asked for before a commit."""


class Repaired(Struct, frozen=True, kw_only=True):
    """What a repair did."""

    written: int = 0
    deleted: int = 0
    """Tombstones for messages that only the mirror had."""
    held: int = 0
    """Deletions that were too many for one day; a person must confirm them."""
    undecided: int = 0
    """Could not be asked for this time."""


def repair(
    source: Source,
    store: LeasedStore,
    clock: Clock,
    differences: Sequence[Difference],
    *,
    parallel: int,
    observe: Callable[[int], None] = lambda _: None,
) -> Repaired:
    """Ask for each message that differs and write what the upstream says; `observe` is told how many were asked for.

    Raises what the source and the store raise; what was committed stays.
    """
    seen = Observations()
    done = Repaired()
    ids = list(dict.fromkeys(d.message_id for d in differences))
    with ThreadPoolExecutor(parallel, thread_name_prefix="fetch") as pool:
        looker = Looker(source, store, clock, pool, seen)
        for start in range(0, len(ids), PIECE):
            piece = ids[start : start + PIECE]
            look = looker.look(piece)
            verdict = brake(store, looker.gone(look.absent, "sweep"))
            problems = (*look.problems, *verdict.held)
            store.commit(
                Batch(stream="pending", fetched=look.fetched, gone=verdict.gone, problems=problems, rewrite=True)
            )
            done = Repaired(
                written=done.written + len(look.fetched),
                deleted=done.deleted + len(verdict.gone),
                held=done.held + len(verdict.held),
                undecided=done.undecided + len(look.problems),
            )
            observe(start + len(piece))
    return done
