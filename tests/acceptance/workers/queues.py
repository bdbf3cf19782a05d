"""The queues from outside: messages put into them by hand, and every message that anybody puts into them."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import kombu
import redis

from tests.acceptance.workers.fleet import Fleet

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


def put(
    fleet: Fleet,
    task: str,
    arguments: object,
    options: object = None,
    *,
    serializer: str = "json",
    queue: str = "live",
    **odd_headers: object,
) -> None:
    """Put a message into a queue by hand."""
    headers = {"lang": "py", "task": task, "id": f"by-hand-{task}", "root_id": None, "parent_id": None, "group": None,
               "retries": 0, "eta": None, "expires": None, "timelimit": [None, None], "argsrepr": "", "kwargsrepr": "",
               "origin": "test", "ignore_result": True, **odd_headers}  # fmt: skip
    with kombu.Connection(fleet.redis_url) as connection, connection.channel() as channel:
        producer = kombu.Producer(channel, auto_declare=False)
        body = [
            arguments,
            {} if options is None else options,
            {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
        ]
        producer.publish(body, exchange="", routing_key=queue, serializer=serializer, headers=headers,
                         correlation_id=headers["id"], delivery_mode=2)  # fmt: skip


def everything_was_taken(fleet: Fleet) -> bool:
    """Whether the queues are empty and no task is under way."""
    with redis.Redis.from_url(fleet.redis_url) as client:
        return not (client.llen("live") or client.llen("backfill") or client.hlen("unacked"))


def put_raw(fleet: Fleet, message: bytes, queue: str = "live") -> None:
    """Put bytes into a queue that are not even a message."""
    with redis.Redis.from_url(fleet.redis_url) as client:
        client.lpush(queue, message)
