"""A mailbox: lazily generated bulk mail, explicit mail, and an overlay of changes; ordered newest first.

Every message has a serial. Serials below `base.count` are computed on demand and cost no memory until they
change; the others are records. The order is (created descending, id), and a place in it is a rank.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

from . import ids
from .catalog import Placement
from .content import Content
from .spool import Stretch

Key = tuple[int, int]


class Bulk(Protocol):
    """Give mail by index, newest first, with strictly decreasing times."""

    count: int

    def created(self, index: int) -> int:
        """Return the time of message `index`."""
        ...

    def first_before(self, moment: int) -> int:
        """Return the lowest index with created < moment."""
        ...

    def placement(self, index: int) -> Placement:
        """Return where the message lies at first."""
        ...

    def content(self, index: int) -> Content:
        """Return what the message says."""
        ...

    def thread_root(self, index: int) -> int:
        """Return the index of the first message of the thread."""
        ...

    def part(self, index: int, number: int) -> bytes | None:
        """Return the bytes of an attachment."""
        ...

    def rfc822(self, index: int, created: int | None = None) -> bytes:
        """Return the message as mail."""
        ...


@dataclass(slots=True)
class Record:
    """Hold one explicit message: its times, thread (an upstream id), place, and where its content is.

    `source` is a stretch of a file, or the index of a generated message.
    """

    delivered: int
    written: int
    thread: int
    source: Stretch | int
    placement: Placement
    arrived: float


class Mailbox:
    """Keep the live messages of one account in order."""

    __slots__ = (
        "base",
        "entries",
        "gone",
        "moved",
        "next_serial",
        "numbering",
        "records",
        "revisions",
        "version",
        "wild",
    )

    def __init__(self, numbering: ids.Numbering, base: Bulk | None) -> None:
        """Start with the bulk mail alone."""
        self.numbering = numbering
        self.base = base
        self.records: dict[int, Record] = {}
        self.entries: list[tuple[int, int, int]] = []
        self.gone: list[int] = []
        self.moved: dict[int, Placement] = {}
        self.revisions: dict[int, int] = {}
        self.next_serial = base.count if base else 0
        self.version = 0
        self.wild = False

    @property
    def base_count(self) -> int:
        """Return how many bulk messages there were at first."""
        return self.base.count if self.base else 0

    def __len__(self) -> int:
        return self.base_count - len(self.gone) + len(self.entries)

    def is_live(self, serial: int) -> bool:
        """Tell whether a message exists now."""
        if serial >= self.base_count:
            return serial in self.records
        return serial >= 0 and not self._is_gone(serial)

    def _is_gone(self, index: int) -> bool:
        place = bisect_left(self.gone, index)
        return place < len(self.gone) and self.gone[place] == index

    def created(self, serial: int) -> int:
        """Return the `created` that is shown."""
        record = self.records.get(serial)
        if record is not None:
            return record.written if self.wild else record.delivered
        assert self.base is not None  # noqa: S101 - a live serial is a record or bulk mail
        return self.base.created(serial)

    def key(self, serial: int) -> Key:
        """Return the place of a message in the order."""
        return -self.created(serial), self.numbering.number(serial)

    def placement(self, serial: int) -> Placement:
        """Return labels and folder as they are now."""
        record = self.records.get(serial)
        if record is not None:
            return record.placement
        moved = self.moved.get(serial)
        if moved is not None:
            return moved
        assert self.base is not None  # noqa: S101 - as above
        return self.base.placement(serial)

    def thread(self, serial: int) -> int:
        """Return the upstream id of the thread."""
        record = self.records.get(serial)
        if record is not None:
            return record.thread
        assert self.base is not None  # noqa: S101 - as above
        return self.numbering.number(self.base.thread_root(serial))

    def add(self, record: Record) -> int:
        """File a message and return its serial."""
        serial = self.next_serial
        self.next_serial += 1
        self.records[serial] = record
        insort(self.entries, (*self.key(serial), serial))
        self.version += 1
        return serial

    def add_all(self, records: list[Record]) -> None:
        """File many messages at once."""
        for record in records:
            self.records[self.next_serial] = record
            self.next_serial += 1
        self.reorder()

    def reorder(self) -> None:
        """Sort anew, after many additions or when other dates are shown."""
        self.entries = sorted((*self.key(serial), serial) for serial in self.records)
        self.version += 1
        for serial in self.records:
            self.revisions[serial] = self.revisions.get(serial, 0) + 1

    def remove(self, serial: int) -> None:
        """Take a live message away."""
        if serial in self.records:
            del self.entries[bisect_left(self.entries, (*self.key(serial), serial))]
            del self.records[serial]
        else:
            insort(self.gone, serial)
            self.moved.pop(serial, None)
        self.version += 1

    def place(self, serial: int, placement: Placement) -> None:
        """Change labels or folder of a live message."""
        record = self.records.get(serial)
        if record is not None:
            record.placement = placement
        else:
            self.moved[serial] = placement
        self.revisions[serial] = self.revisions.get(serial, 0) + 1
        self.version += 1

    def revision(self, serial: int) -> int:
        """Return a number that grows when the message changes."""
        return self.revisions.get(serial, 0)

    def view(self, after: int, before: int, hidden: frozenset[int] = frozenset()) -> "View":
        """Return the messages with after <= created < before."""
        return View(self, after, before, hidden)


class View:
    """Address the live messages of a window by rank, newest first, without listing them."""

    __slots__ = ("_base", "_entries", "_first", "_high", "_low", "_mailbox", "_places")

    def __init__(self, mailbox: Mailbox, after: int, before: int, hidden: frozenset[int]) -> None:
        """Find the window's edges by bisection."""
        self._mailbox = mailbox
        entries = mailbox.entries
        low = bisect_left(entries, 1 - before, key=itemgetter(0))
        high = bisect_left(entries, 1 - after, key=itemgetter(0))
        if hidden:
            entries = [entry for entry in entries[low:high] if entry[2] not in hidden]
            low, high = 0, len(entries)
        self._entries, self._low, self._high = entries, low, max(low, high)
        base = mailbox.base
        self._base = base
        self._first = self._rank_of(base.first_before(before)) if base else 0
        last = self._rank_of(base.first_before(after)) if base else 0
        self._places = max(0, last - self._first)

    def _rank_of(self, index: int) -> int:
        return index - bisect_left(self._mailbox.gone, index)

    def _index_of(self, rank: int) -> int:
        """Return the index of the rank-th bulk message that is not gone."""
        gone = self._mailbox.gone
        return rank + bisect_left(range(len(gone)), rank + 1, key=lambda place: gone[place] - place)

    def __len__(self) -> int:
        return self._high - self._low + self._places

    def serials(self, start: int, count: int) -> list[int]:
        """Return up to `count` serials from rank `start` on."""
        end = min(len(self), start + count)
        if start >= end:
            return []
        explicit = bisect_left(range(self._high - self._low), start, key=self._rank_of_entry)
        bulk = start - explicit
        if self._low + explicit >= self._high and not self._mailbox.gone:
            return list(range(self._first + bulk, self._first + bulk + end - start))
        found: list[int] = []
        while len(found) < end - start:
            entry = self._entries[self._low + explicit] if self._low + explicit < self._high else None
            index = self._index_of(self._first + bulk) if bulk < self._places else None
            if index is None or (entry is not None and entry[:2] < self._mailbox.key(index)):
                assert entry is not None  # noqa: S101 - one of the two is left while rank < len
                found.append(entry[2])
                explicit += 1
            else:
                found.append(index)
                bulk += 1
        return found

    def _rank_of_entry(self, place: int) -> int:
        entry = self._entries[self._low + place]
        return place + self._bulk_before((entry[0], entry[1]))

    def _bulk_before(self, key: Key) -> int:
        if self._base is None or not self._places:
            return 0
        index = self._base.first_before(1 - key[0])
        if index < self._base.count and self._mailbox.key(index) < key:
            index += 1
        return max(0, min(self._places, self._rank_of(index) - self._first))

    def rank_after(self, key: Key) -> int:
        """Return the rank of the first message that comes after a place in the order."""
        place = bisect_left(self._entries, (key[0], key[1] + 1), self._low, self._high, key=lambda entry: entry[:2])
        return place - self._low + self._bulk_before((key[0], key[1] + 1))
