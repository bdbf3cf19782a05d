"""Repair: only the difference that a verification found is fetched again and written, whatever the digests say."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from worker.ports import Clock, LeasedStore, Source
from worker.records import Batch, Difference
from worker.sync.asking import pieces
from worker.sync.brake import brake


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
    done = Repaired()
    ids = list(dict.fromkeys(d.message_id for d in differences))
    asked = pieces(source, store, clock, ids, parallel=parallel, found_by="sweep", observe=observe)
    for look, gone in asked:
        verdict = brake(store, gone)
        problems = (*look.problems, *verdict.held)
        store.commit(Batch(stream="pending", fetched=look.fetched, gone=verdict.gone, problems=problems, rewrite=True))
        done = Repaired(
            written=done.written + len(look.fetched),
            deleted=done.deleted + len(verdict.gone),
            held=done.held + len(verdict.held),
            undecided=done.undecided + len(look.problems),
        )
    return done
