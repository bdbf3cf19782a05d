"""A TCP proxy that cuts connections where a test wants it: after so many bytes, or in place of an answer."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Chunk = Callable[[bytes], bytes]
"""What is left of bytes on their way; where that is less than all, the connection is cut on both sides."""


def _as_it_is(data: bytes) -> bytes:
    return data


class Proxy:
    """Stands between a client and the server at `port`; every connection takes the rules as they are when it begins."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.port = 0
        self.connections = 0
        self.cuts = 0
        self.up: Callable[[], Chunk] = lambda: _as_it_is
        """Makes the rule for what the client sends on one connection."""
        self.down: Callable[[], Chunk] = lambda: _as_it_is
        """Makes the rule for what the server sends on one connection."""
        self.listen()

    def listen(self) -> None:
        """Take connections, again on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Cut what is open and refuse new connections."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Cut every open connection."""
        with self._lock:
            found = list(self._open)
        for one in found:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut_after(self, size: int, times: int) -> None:
        """Let only `size` bytes of the server's answers through on each of the next connections."""
        left = [times]

        def rule() -> Chunk:
            if left[0] <= 0:
                return _as_it_is
            left[0] -= 1
            room = [size]

            def count(data: bytes) -> bytes:
                kept = data[: room[0]]
                room[0] -= len(kept)
                return kept

            return count

        self.down = rule

    def swallow_answer_to(self, words: bytes, number: int) -> None:
        """Pass the client's `number`-th message with these words on, wait for its answer, and cut in its place."""
        seen = [0]

        def rules() -> tuple[Chunk, Chunk]:
            swallowing = [False]

            def up(data: bytes) -> bytes:
                if words in data:
                    seen[0] += 1
                    swallowing[0] = seen[0] == number
                return data

            return up, lambda data: b"" if swallowing[0] else data

        made: list[Chunk] = []

        def pair() -> Chunk:
            up, down = rules()
            made.append(down)
            return up

        self.up, self.down = pair, made.pop

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open |= {client, server}
                up, down = self.up(), self.down()
            for way in ((client, server, up), (server, client, down)):
                threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, rule: Chunk) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept = rule(data)
                sink.sendall(kept)
                if len(kept) < len(data):
                    with self._lock:
                        self.cuts += 1
                    break
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open.discard(source)
        source.close()


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """Stand before the server at `port` for the length of a with block."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.refuse()
