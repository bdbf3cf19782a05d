"""Watches what is put into the queues, message by message."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

QUEUES = ("live", "backfill")
END = "no-more-to-watch"


@dataclass
class Watched:
    """The messages that were put into the queues."""

    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def etas(self) -> set[object]:
        """The times before which messages must not be taken."""
        return {message["headers"]["eta"] for _, message in self.messages}

    def arguments(self, task: str) -> list[Any]:
        """What the messages for a task hold: arguments and options."""
        found = [m for _, m in self.messages if m["headers"]["task"] == task]
        return [json.loads(base64.b64decode(message["body"]))[:2] for message in found]

    def kinds(self) -> set[str]:
        """The content types of the messages."""
        return {message["content-type"] for _, message in self.messages}


@contextmanager
def watching(url: str) -> Iterator[Watched]:
    """Note every message that is put into a queue within the with block."""
    watched = Watched()
    with redis.Redis.from_url(url, socket_timeout=None) as client, client.monitor() as monitor:

        def listen() -> None:
            while (command := str(monitor.next_command()["command"])) != f"ECHO {END}":
                verb, _, rest = command.partition(" ")
                queue, _, message = rest.partition(" ")
                if verb in {"LPUSH", "RPUSH"} and queue in QUEUES:
                    watched.messages.append((queue, json.loads(message)))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield watched
        finally:
            client.echo(END)
            thread.join()
