"""A cache of bytes with a bound on their sum; the least recently used go first."""

from collections import OrderedDict
from collections.abc import Hashable


class ByteCache:
    """Keep rendered objects and pages."""

    __slots__ = ("_bound", "_items", "size")

    def __init__(self, bound: int) -> None:
        """Take the bound in bytes."""
        self._bound = bound
        self._items: OrderedDict[Hashable, bytes] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable) -> bytes | None:
        """Return what is kept under a key."""
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
        return found

    def put(self, key: Hashable, value: bytes) -> None:
        """Keep bytes, and drop the oldest while there are too many."""
        old = self._items.pop(key, None)
        self.size += len(value) - (len(old) if old is not None else 0)
        self._items[key] = value
        while self.size > self._bound and self._items:
            self.size -= len(self._items.popitem(last=False)[1])
