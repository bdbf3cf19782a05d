"""Part `store`: one commit of the real store against raw COPY of the same rows.

Every batch goes through `PostgresStore.commit` with fence, window of the ledger and cursor, as a walk's page does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psycopg
from msgspec.structs import replace

from benchmarks import reference, server
from benchmarks.frame import Contestant, Cost, Meter, Spread, compete, micros, ratio
from benchmarks.report import Row
from benchmarks.upstream import OLDEST, YOUNGEST, decoded, one_mailbox
from worker.config import Settings
from worker.records import Batch, Cursor, CursorMove, Label, LedgerChange, Message, PageToken, Window
from worker.store import accounts, leases
from worker.store.engine import Engine, connect
from worker.store.postgres import PostgresStore
from worker.store.rows import Projection

MESSAGES = 3000
FEW, ROUNDS = 5, 7
"""Rounds among all parts, and where the part was asked for."""
UNREAD = Label("UNREAD", "UNREAD")
EMPTIED = ", ".join(
    (
        *(f"mail.{table}" for table in reference.TABLES),
        *(f"sync.{table}" for table in ("windows", "cursors", "problems", "runs")),
    )
)
"""Everything a run of an account writes, but the account itself."""
Batches = Sequence[Sequence[Message]]


@dataclass
class Bench:
    """One account on one server, and the ways to fill it."""

    engine: Engine
    writer: psycopg.Connection[Any]
    """The reference's own connection."""
    console: psycopg.Connection[Any]
    """In autocommit, for what is not measured."""
    account_id: int
    batches: Batches
    wal: list[int] = field(default_factory=list)
    projection: Projection = field(default_factory=lambda: Projection.of(Settings()))
    opened: PostgresStore | None = None

    def empty(self) -> None:
        """Take everything away, and let the server finish what it still has to write."""
        self.close()
        self.admin(f"truncate {EMPTIED}", "checkpoint")
        self.open()

    def filled(self) -> None:
        """Have every message stored, with statistics, and a fresh lease that knows nothing of it."""
        self.empty()
        self.commit(self.batches)
        self.close()
        self.admin("vacuum analyze", "checkpoint")
        self.open()

    def admin(self, *statements: str) -> None:
        for statement in statements:
            self.console.execute(statement.encode())

    def open(self) -> None:
        lease = leases.take_lease(self.engine, self.account_id, "bench", dead=lambda _: True)
        self.opened = PostgresStore(self.engine, self.account_id, lease.epoch, self.projection)

    def close(self) -> None:
        if self.opened is not None:
            self.opened.close()
            self.opened = None

    def commit(self, batches: Batches, *, moves: bool = True) -> None:
        """Write the batches through the real store; `moves` writes cursor and window with each."""
        assert self.opened is not None
        window = Window(after=OLDEST, before=YOUNGEST, walk_before=YOUNGEST, walk_began_at=YOUNGEST)
        for number, batch in enumerate(batches):
            window = replace(window, page=PageToken(f"{number:0200}"), pages=number + 1, reached=batch[-1].created)
            made = Batch(
                stream="windows",
                listed=tuple(batch),
                asked=number,
                cursor=CursorMove(Cursor(f"{number:040}")) if moves else None,
                ledger=LedgerChange(put=(window,)) if moves else LedgerChange(),
            )
            self.opened.commit(made)

    def reread(self) -> None:
        """See every message again as it is stored; the place of a later walk is kept in memory, as in the engine."""
        before = self._wal()
        self.commit(self.batches, moves=False)
        self.wal.append(self._wal() - before)

    def _wal(self) -> int:
        found = self.console.execute("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8").fetchone()
        assert found is not None
        return int(found[0])


def relabelled(batches: Batches) -> list[list[Message]]:
    """The same messages with UNREAD put on, or taken off where it was."""
    return [[replace(m, labels=_toggled(m.labels)) for m in batch] for batch in batches]


def _toggled(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    without = tuple(label for label in labels if label.name != "UNREAD")
    return without if len(without) < len(labels) else (*labels, UNREAD)


def alone(rounds: int = ROUNDS) -> list[Row]:
    """Measure in more rounds."""
    return run(rounds)


def run(rounds: int = FEW) -> list[Row]:
    """Measure the three rows of the store."""
    with one_mailbox(MESSAGES) as box:
        batches = decoded(box)
    with server.running() as postgres:
        url = server.database(postgres, "bench")
        engine = connect(url)
        account = accounts.add(engine, kind="kloudless", upstream_id="1")
        with psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as console:
            bench = Bench(engine, writer, console, account.id, batches)
            costs = _compete(bench, Meter(postgres.pid), rounds)
            bench.close()
        engine.dispose()
    return _rows(costs, bench, sum(map(len, batches)))


def _compete(bench: Bench, meter: Meter, rounds: int) -> dict[str, list[Cost]]:
    ready = reference.rows(bench.account_id, bench.batches, bench.projection)
    toggled = relabelled(bench.batches)
    return compete(
        meter,
        [
            Contestant(name="copy", prepare=bench.empty, run=lambda: reference.load(bench.writer, ready)),
            Contestant(name="fresh", prepare=bench.empty, run=lambda: bench.commit(bench.batches)),
            Contestant(name="unchanged", prepare=bench.filled, run=bench.reread),
            Contestant(name="labels", prepare=bench.filled, run=lambda: bench.commit(toggled, moves=False)),
        ],
        rounds,
    )


def _rows(costs: dict[str, list[Cost]], bench: Bench, count: int) -> list[Row]:
    limit = costs["copy"]
    details = {name: micros(taken, count) for name, taken in costs.items()}
    wal = median(bench.wal) / len(bench.batches)
    return [
        _row("fresh load, batches of 100: share of raw COPY", ratio(limit, costs["fresh"]), 0.65, 0.80, details),
        _row("unchanged messages read again, against fresh raw COPY", ratio(limit, costs["unchanged"]), 3.0, 4.5),
        Row(
            part="store",
            what="WAL of one unchanged batch of 100",
            value=Spread.of(used / len(bench.batches) for used in bench.wal),
            unit="B",
            details={"median": wal},
        ),
        _row("labels alone changed, against fresh raw COPY", ratio(limit, costs["labels"]), 0.75, 1.0),
    ]


def _row(what: str, value: Spread, must: float, aim: float, details: dict[str, Any] | None = None) -> Row:
    return Row(part="store", what=what, value=value, must=must, aim=aim, details=details or {})
