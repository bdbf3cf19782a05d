"""Undoes an answer's content encoding under a cap: a bomb stops at the cap, not at the end of memory.

Measured on 291 kB of gzip that hold 300 MB: the HTTP library's own decoding yields chunks of 67 MB and more
(faults.md U45); here no step makes more than what is still allowed.
"""

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from isal import isal_zlib
from isal.igzip_lib import IsalError

from worker.errors import UnreachableError, UnreadableError

LARGE = 8 << 20
AT_ONCE = 1 << 18
"""Packed bytes that are collected before they are unpacked: most answers then come out in one piece, never copied."""
LEAST_STEP = 1 << 16
_alone = threading.Lock()


@contextmanager
def alone(size: int) -> Iterator[None]:
    """Hold back other large bodies while one is copied or decoded: the copy takes as much memory again."""
    if size < LARGE:
        yield
        return
    with _alone:
        yield


def _promised(data: bytes) -> int:
    """How much to make in one step: the size in the last four bytes of gzip (RFC 1952 2.3.1), if these are they.

    Else it is any number, and there are more steps or one with too much room. The inflater doubles its room up to the
    step; what it has too much goes back to the system and is asked for again with the next page, which was measured at
    up to a third of a page's CPU.
    """
    return max(int.from_bytes(data[-4:], "little"), LEAST_STEP)


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Inflater:
    """Collects the chunks of one body, decoded; `cap` holds for the bytes received and for the bytes made."""

    def __init__(self, encoding: str, cap: int) -> None:
        self._encoding = encoding.strip().lower()
        if self._encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise UnreadableError("The upstream's answer is packed in a way that was not asked for.")
        self._cap = cap
        self._received = 0
        self._size = 0
        self._parts: list[bytes] = []
        self._waiting: list[bytes] = []
        self._waits = 0
        self._inner: _Decompressor | None = None
        self._tail = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes from the wire; raises UnreadableError beyond the cap or when they are garbled."""
        self._received += len(chunk)
        if self._received > self._cap:
            self._too_big()
        if self._encoding in {"", "identity"}:
            self._keep(chunk)
            return
        self._waiting.append(chunk)
        self._waits += len(chunk)
        if self._waits >= AT_ONCE:
            self._inflate_waiting()

    def close(self) -> bytes:
        """Return the whole body; raises UnreachableError when a packed one broke off, else as `feed`."""
        self._inflate_waiting()
        if self._tail or (self._inner is not None and not self._inner.eof):
            raise UnreachableError("The upstream's answer broke off.", kind="broken")
        with alone(self._size):
            whole = b"".join(self._parts)
            self._parts.clear()
        return whole

    def _inflate_waiting(self) -> None:
        data = b"".join((self._tail, *self._waiting))
        self._waiting.clear()
        self._tail, self._waits = b"", 0
        try:
            self._inflate(data)
        except IsalError:  # type: ignore[misc]  # its stub declares the class as an instance
            raise UnreadableError("The upstream's answer cannot be unpacked.") from None

    def _inflate(self, data: bytes) -> None:
        held_back = False
        while data or held_back:
            if self._inner is None or self._inner.eof:  # the next of several gzip members
                if len(data) == 1 and self._encoding == "deflate":
                    self._tail = data  # the second byte tells which of the two meanings of `deflate` it is
                    return
                self._inner = self._begin(data)
            step = min(self._cap - self._size, _promised(data)) + 1
            made = self._inner.decompress(data, step)
            self._keep(made)
            data = self._inner.unconsumed_tail or (self._inner.unused_data if self._inner.eof else b"")
            held_back = len(made) == step and not self._inner.eof  # perhaps, with nothing left to feed it

    def _begin(self, data: bytes) -> _Decompressor:
        if self._encoding != "deflate":
            wbits = 16 + zlib.MAX_WBITS
        else:
            wrapped = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
            wbits = zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
        inner: _Decompressor = isal_zlib.decompressobj(wbits=wbits)
        return inner

    def _keep(self, made: bytes) -> None:
        self._size += len(made)
        if self._size > self._cap:
            self._too_big()
        self._parts.append(made)

    def _too_big(self) -> None:
        self._parts.clear()
        raise UnreadableError(f"The upstream's answer is larger than {self._cap} bytes.")
