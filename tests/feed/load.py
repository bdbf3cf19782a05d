"""Eight writers at once, and one reader that has nothing but the feed and crashes now and then.

python -m tests.feed.load               print what a longer run did
python -m tests.feed.load --rounds 500

Five writers are leased stores that commit batches as a worker does; three are transactions of their own that wait in
the middle, and roll back now and then. Each writes an account of its own, but all of them draw from one number.
"""

import argparse
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
from msgspec import Struct

from tests.conftest import PostgresServer, as_superuser
from tests.feed.rebuilding import Copy, mirrored
from tests.integration.store.mail import INBOX, UNREAD, fetched, gone, leased, listed, message
from worker.local.postgres import THROW_AWAY, start
from worker.records import Label, Person
from worker.store import feed
from worker.store.engine import connect

STORES, PLAIN = 5, 3
IDS = 60
"""Messages each writer changes again and again."""
LABELS = (INBOX, UNREAD, Label("l3", "Work"))
CONSUMER = "rebuilt"


class Figures(Struct, frozen=True):
    """What one run did."""

    commits: int
    rollbacks: int
    changes: int
    again: int
    """Changes that were read a second time, after a crash."""
    crashes: int
    seconds: float
    lag_p50: float
    lag_p99: float
    """Seconds from the beginning of the writing transaction to the reading of a message."""
    equal: bool
    rows: int


class Tally:
    """Counts of all writers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.commits = self.rollbacks = 0

    def count(self, *, committed: bool) -> None:
        with self._lock:
            self.commits += committed
            self.rollbacks += not committed


def store_writes(url: str, number: int, rounds: int, dice: random.Random, tally: Tally) -> None:
    """Commit batches of adds, changes and deletions as a worker does."""
    engine = connect(url)
    with leased(engine, upstream_id=f"store {number}") as store:
        for turn in range(rounds):
            ids = [f"m{dice.randrange(IDS)}" for _ in range(dice.randrange(1, 12))]
            some = [
                message(
                    id_,
                    subject=f"{turn}",
                    labels=tuple(dice.sample(LABELS, dice.randrange(4))),
                    folder_id=dice.choice(("f1", "f2", None)),
                    sender=Person(f"p{dice.randrange(30)}@example.com", f"Name {turn}"),
                )
                for id_ in ids
            ]
            store.commit(dice.choice((fetched, fetched, listed))(*some))
            tally.count(committed=True)
            if dice.random() < 0.3:
                store.commit(gone(dice.choice(ids), f"unseen{turn}"))
                tally.count(committed=True)
    engine.dispose()


def plain_writes(url: str, number: int, rounds: int, dice: random.Random, tally: Tally) -> None:
    """Write in transactions that wait between their statements, and roll some of them back."""
    write = (
        "insert into mail.messages (account_id, message_id, subject) values (%(account)s, %(id)s, %(subject)s)"
        " on conflict (account_id, message_id) do update set subject = excluded.subject,"
        " changed_at = sync.now(), changed_in = pg_current_xact_id()"
    )
    with psycopg.connect(as_superuser(url)) as connection:
        for turn in range(rounds):
            for step in range(dice.randrange(1, 4)):
                values = {"account": 1000 + number, "id": f"m{dice.randrange(IDS)}", "subject": f"{turn}.{step}"}
                connection.execute(write, values)
                time.sleep(dice.random() * 0.02)
            committed = dice.random() < 0.7
            (connection.commit if committed else connection.rollback)()
            tally.count(committed=committed)


class Reader:
    """Reads until the writers have ended and nothing is left; a crash loses what was not acknowledged."""

    def __init__(self, url: str, dice: random.Random) -> None:
        self._engine = connect(url)
        self._dice = dice
        self.copy = Copy()
        self.lags: list[float] = []
        self.seen: set[str] = set()
        self.read = self.again = self.crashes = 0

    def run(self, ended: Callable[[], bool]) -> None:
        while True:
            over = ended()
            page = feed.changes(self._engine, CONSUMER, self._dice.randrange(1, 80))
            if not page and over:
                break
            crash = self._dice.random()
            if page and crash < 0.1:
                self.crashes += 1  # before anything was written down
                continue
            self._take(page)
            if page and crash < 0.2:
                self.crashes += 1  # before it was acknowledged
                continue
            if page:
                feed.acknowledge(self._engine, CONSUMER, page[-1].position)
        self._engine.dispose()

    def _take(self, page: list[feed.Change]) -> None:
        now = datetime.now(UTC)
        for change in page:
            self.copy.apply(change)
            self.read += 1
            self.again += change.position in self.seen
            if change.position not in self.seen and change.kind == "message":
                state = self.copy.rows["message", change.account_id, change.key]
                self.lags.append((now - datetime.fromisoformat(state["changed_at"])).total_seconds())
            self.seen.add(change.position)


def run(url: str, rounds: int, seed: int) -> tuple[Figures, Copy, dict[Any, Any]]:
    """Let all of them work; gives the figures, what was rebuilt, and what the tables hold."""
    began, tally = time.monotonic(), Tally()
    with ThreadPoolExecutor(STORES + PLAIN) as pool:
        writers: list[Future[None]] = [
            pool.submit(work, url, number, rounds, random.Random(f"{seed} {work.__name__} {number}"), tally)
            for work, count in ((store_writes, STORES), (plain_writes, PLAIN))
            for number in range(count)
        ]
        reader = Reader(url, random.Random(seed))
        reader.run(lambda: all(writer.done() for writer in writers))
        for writer in writers:
            writer.result()
    with psycopg.connect(as_superuser(url), autocommit=True) as connection:
        held = mirrored(connection)
    lags = sorted(reader.lags)
    figures = Figures(
        commits=tally.commits,
        rollbacks=tally.rollbacks,
        changes=reader.read,
        again=reader.again,
        crashes=reader.crashes,
        seconds=time.monotonic() - began,
        lag_p50=lags[len(lags) // 2],
        lag_p99=lags[int(len(lags) * 0.99)],
        equal=reader.copy.rows == held,
        rows=len(held),
    )
    return figures, reader.copy, held


def main() -> None:
    """Run it on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with start(None, settings=THROW_AWAY) as running:
        server = PostgresServer(running)
        figures, _, _ = run(server.url(server.create(server.migrated_template())), given.rounds, given.seed)
    for name in figures.__struct_fields__:
        value = getattr(figures, name)
        print(f"{name:10} {value:.3f}" if isinstance(value, float) else f"{name:10} {value}")  # noqa: T201  # a report


if __name__ == "__main__":
    main()
