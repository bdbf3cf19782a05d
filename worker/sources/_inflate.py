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
_alone = threading.Lock()


@contextmanager
def alone(size: int) -> Iterator[None]:
    """Hold back other large bodies while one is copied or decoded: the copy takes as much memory again."""
    if size < LARGE:
        yield
        return
    with _alone:
        yield


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
        try:
            self._inflate(chunk)
        except IsalError:  # type: ignore[misc]  # its stub declares the class as an instance
            raise UnreadableError("The upstream's answer cannot be unpacked.") from None

    def close(self) -> bytes:
        """Return the whole body; raises UnreachableError when a packed one broke off."""
        if self._tail or (self._inner is not None and not self._inner.eof):
            raise UnreachableError("The upstream's answer broke off.", kind="broken")
        with alone(self._size):
            whole = b"".join(self._parts)
            self._parts.clear()
        return whole

    def _inflate(self, chunk: bytes) -> None:
        data = self._tail + chunk
        self._tail = b""
        while data:
            if self._inner is None or self._inner.eof:  # the next of several gzip members
                if len(data) == 1 and self._encoding == "deflate":
                    self._tail = data  # the second byte tells which of the two meanings of `deflate` it is
                    return
                self._inner = self._begin(data)
            made = self._inner.decompress(data, self._cap - self._size + 1)
            self._keep(made)
            data = self._inner.unconsumed_tail or (self._inner.unused_data if self._inner.eof else b"")

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
