"""Messages asked for one by one outside the streams: those a person has confirmed as gone, and those a repair names."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from worker.ports import Clock, LeasedStore, Source
from worker.records import FoundBy, Gone
from worker.sync.looks import Look, Looker
from worker.sync.observations import Observations

PIECE = 100
"""Messages asked for before a commit."""


def pieces(
    source: Source,
    store: LeasedStore,
    clock: Clock,
    ids: Sequence[str],
    *,
    parallel: int,
    found_by: FoundBy | None,
    observe: Callable[[int], None],
) -> Iterator[tuple[Look, tuple[Gone, ...]]]:
    """Ask for the messages piece by piece; gives what was found and what is gone, for the caller to commit.

    `observe` is told after each piece how many were asked for. Raises what the source raises.
    """
    with ThreadPoolExecutor(parallel, thread_name_prefix="fetch") as pool:
        looker = Looker(source, store, clock, pool, Observations())
        for start in range(0, len(ids), PIECE):
            piece = ids[start : start + PIECE]
            look = looker.look(piece)
            yield look, looker.gone(look.absent, found_by)
            observe(start + len(piece))
