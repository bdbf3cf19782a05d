"""An upstream made of raw sockets: it answers exactly the bytes a test gives it, and keeps what it was asked."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from worker.config import Settings

TOKEN = "canary-bearer-0123456789"
Script = Callable[[socket.socket], None]


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """Answers one request with each of `answers`, the last of them for ever."""

    answers: list[bytes | Script] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def settings(self, **more: Any) -> Settings:
        return Settings(**{"kloudless_url": self.url, "request_timeout": 10.0, **more})

    @staticmethod
    def reply(
        body: bytes | object = b"{}", status: int = 200, content_type: str | None = "application/json", **headers: str
    ) -> bytes:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}"]
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + data

    @staticmethod
    def refusal(status: int, code: str, **headers: str) -> bytes:
        body = {"status_code": status, "message": "no", "error_code": code, "id": "9b62d9d8"}
        return Upstream.reply(body, status, **headers)

    def close(self) -> None:
        self._socket.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            stream = connection.makefile("rb")
            while (line := stream.readline()).strip():
                method, target, _ = line.decode().split(" ", 2)
                headers: dict[str, str] = {}
                while entry := stream.readline().strip():
                    name, _, value = entry.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                with self._lock:
                    self.asked.append(Asked(method, target, headers, body))
                    answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    connection.sendall(answer)
                else:
                    answer(connection)
                    connection.close()
                    return
        except OSError:
            return  # the other side hung up, as some tests want


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def other_upstream() -> Iterator[Upstream]:
    """A second one, on another port: another origin."""
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def token() -> str:
    return TOKEN
