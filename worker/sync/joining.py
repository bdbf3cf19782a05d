"""Batches of windows that are walked side by side, joined for one commit: a page of 50 is dear to commit by itself."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from worker.records import Batch, LedgerChange

TOGETHER = 500
"""Messages of one commit, unless a single page holds more: beyond that nothing is gained, and a lock lasts longer."""


def together(batches: Sequence[Batch]) -> Iterator[tuple[Batch, ...]]:
    """Group batches that may share a commit, in the order of their requests."""
    group: tuple[Batch, ...] = ()
    held = 0
    for batch in sorted(batches, key=lambda b: b.asked):
        if group and held + len(batch.listed) > TOGETHER:
            yield group
            group, held = (), 0
        group += (batch,)
        held += len(batch.listed)
    if group:
        yield group


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of several walks of different windows, given in the order of their requests: the last one counts."""
    first = batches[0]
    if len(batches) == 1:
        return first
    return replace(
        first,
        asked=batches[-1].asked,
        listed=tuple(m for b in batches for m in b.listed),
        fetched=tuple(f for b in batches for f in b.fetched),
        gone=tuple(g for b in batches for g in b.gone),
        problems=tuple(p for b in batches for p in b.problems),
        solved=tuple(s for b in batches for s in b.solved),
        walked=tuple(w for b in batches for w in b.walked),
        ledger=LedgerChange(
            drop=tuple(d for b in batches for d in b.ledger.drop),
            put=tuple(w for b in batches for w in b.ledger.put),
        ),
    )
