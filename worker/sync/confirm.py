"""Deletions that were held: each is asked for once more, and applied where the upstream still says that it is gone."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from worker.ports import Clock, LeasedStore, Source
from worker.records import Batch
from worker.sync.asking import pieces


class Confirmed(Struct, frozen=True, kw_only=True):
    """What asking again has found."""

    deleted: int = 0
    """Gone upstream, and now here."""
    still_there: int = 0
    """Shown by the upstream after all, and brought up to date."""
    undecided: int = 0
    """Could not be asked for this time; still held."""


def confirm(
    source: Source,
    store: LeasedStore,
    clock: Clock,
    held: Sequence[str],
    *,
    parallel: int,
    observe: Callable[[int], None] = lambda _: None,
) -> Confirmed:
    """Ask for each held message and commit piece by piece; `observe` is told how many were asked for.

    No brake applies: a person has confirmed. Raises what the source and the store raise; what was committed stays.
    """
    found = Confirmed()
    asked = pieces(source, store, clock, held, parallel=parallel, found_by=None, observe=observe)
    for look, gone in asked:
        settled = [*(f.message.id for f in look.fetched), *(g.message_id for g in gone)]
        store.commit(
            Batch(
                stream="pending",
                fetched=look.fetched,
                gone=gone,
                problems=look.problems,
                solved=tuple(("held_delete", id_) for id_ in settled),
            )
        )
        found = Confirmed(
            deleted=found.deleted + len(gone),
            still_there=found.still_there + len(look.fetched),
            undecided=found.undecided + len(look.problems),
        )
    return found
