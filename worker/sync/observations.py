"""The stale-read rule: what an earlier request saw never overwrites what a later one saw.

Every request takes a number before it is sent. An observation is dropped when the same message was already
committed from a request with a higher number. Requests that are still out are remembered, so that what is older
than all of them can be forgotten: memory stays bounded however long the run.
"""

import threading

import msgspec

from worker.records import Batch

FORGET_ABOVE = 20_000


class Observations:
    """Numbers the requests of one run and filters its batches; one per lease."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 1
        self._out: set[int] = set()
        self._seen: dict[str, int] = {}

    def ask(self) -> int:
        """Take the number of a request that is about to be sent."""
        with self._lock:
            number = self._next
            self._next += 1
            self._out.add(number)
            return number

    def settle(self, *numbers: int) -> None:
        """Say that nothing observed by these requests will be committed any more."""
        with self._lock:
            self._out.difference_update(numbers)
            if len(self._seen) > FORGET_ABOVE:
                oldest = min(self._out, default=self._next)
                self._seen = {id_: number for id_, number in self._seen.items() if number > oldest}

    @property
    def made(self) -> int:
        """Requests numbered so far."""
        return self._next - 1

    def admit(self, batch: Batch) -> Batch:
        """Drop from the batch what a later request has already shown otherwise, and remember the rest."""
        with self._lock:
            gone = tuple(g for g in batch.gone if self._newest(g.message_id, g.asked))
            fetched = tuple(f for f in batch.fetched if self._newest(f.message.id, f.asked))
            listed = tuple(m for m in batch.listed if self._newest(m.id, batch.asked))
        unchanged = (len(gone), len(fetched), len(listed)) == (
            len(batch.gone),
            len(batch.fetched),
            len(batch.listed),
        )
        return batch if unchanged else msgspec.structs.replace(batch, gone=gone, fetched=fetched, listed=listed)

    def _newest(self, message_id: str, number: int) -> bool:
        if self._seen.get(message_id, 0) > number:
            return False
        self._seen[message_id] = number
        return True
