"""A simulated worker process: the real mirror, store and source, with the baton passed at each of their ports.

It can die at a port call, in the middle of a commit, or live on with a commit whose answer was lost. A death closes
its connections first, so that nothing it still says reaches Postgres.
"""

from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tests.faults.simulation.baton import Baton, DiedError, Life
from tests.faults.simulation.invariants import Invariants
from tests.faults.simulation.plan import Plan
from tests.faults.simulation.ports import PassingSource, PassingStore
from tests.faults.simulation.postgres import Postgres
from tests.faults.simulation.stand_ins import Clock
from tests.faults.simulation.upstream import ROOT, Upstream
from worker.bootstrap import turns
from worker.bootstrap.mirror import Mirror
from worker.config import Settings
from worker.ports import Source
from worker.store import owners
from worker.store.accounts import AccountRow
from worker.store.credentials import KeyRing
from worker.store.engine import connect
from worker.store.leases import Ending, Lease
from worker.store.leases import Run as RunRow
from worker.store.postgres import Opening, PostgresStore
from worker.store.rows import Projection


class Scene:
    """Everything the actors of one simulation share."""

    def __init__(self, plan: Plan, baton: Baton, upstream: Upstream, postgres: Postgres) -> None:
        self.plan = plan
        self.baton = baton
        self.upstream = upstream
        self.postgres = postgres
        self.invariants = Invariants(baton, upstream, postgres)
        self.processes: list[Process] = []
        self.account_id = 0

    def alive(self) -> "list[Process]":
        """The processes that run."""
        return [p for p in self.processes if not p.dead]

    def of(self, life: Life) -> "Process":
        """The process an actor belongs to."""
        assert isinstance(life, Process)
        return life

    def settings(self) -> Settings:
        """Settings as the plan says."""
        plan = self.plan
        return Settings(
            database_url=self.postgres.url,
            data=Path("nowhere"),
            kloudless_url=ROOT,
            page_size=plan.page_size,
            window_messages=plan.window_messages,
            parallel_windows=plan.parallel_windows,
            parallel_fetches=plan.parallel_fetches,
            slice_seconds=plan.slice_seconds,
        )


class Process(Life):
    """A worker process with connections of its own."""

    def __init__(self, scene: Scene, name: str) -> None:
        super().__init__(name)
        self._scene = scene
        self._connections: list[psycopg.Connection[Any]] = []
        self.dies_in_commit = False
        self.loses_answer = False
        self.engine = connect(scene.postgres.url, pool_size=scene.plan.parallel_windows + 2)
        sa.event.listen(self.engine, "do_connect", self._may_connect)
        sa.event.listen(self.engine, "connect", self._remember)
        # A statement that is a transaction by itself begins none.
        sa.event.listen(self.engine, "checkout", lambda *_: scene.postgres.tell(scene.baton.time))
        sa.event.listen(self.engine, "begin", lambda _: scene.postgres.tell(scene.baton.time))
        sa.event.listen(self.engine, "commit", self._before_commit)
        self.mirror = SimulatedMirror(scene, self)
        scene.processes.append(self)

    def kill(self) -> None:
        """Die at once, as by a power cut: open transactions are rolled back, and nothing more is said."""
        self.dead = True
        for connection in self._connections:
            if connection.closed:
                continue
            pid = connection.info.backend_pid
            connection.close()
            self._scene.postgres.end_session(pid)

    def close(self) -> None:
        """Close the connections of a process that is done."""
        self.dead = True
        self.engine.dispose()
        for connection in self._connections:
            connection.close()

    def has_open_transaction(self) -> bool:
        """Whether one of its sessions stands in a transaction."""
        idle = psycopg.pq.TransactionStatus.IDLE
        return any(not c.closed and c.info.transaction_status != idle for c in self._connections)

    def _may_connect(self, *_: object) -> None:
        if self.dead:
            raise DiedError

    def _remember(self, connection: psycopg.Connection[Any], _record: object) -> None:
        self._connections.append(connection)

    def _before_commit(self, connection: Connection) -> None:
        """Die before COMMIT is sent, or let it be carried out and its answer be lost."""
        if not self.dies_in_commit and not self.loses_answer:
            return
        session = connection.connection.driver_connection
        assert isinstance(session, psycopg.Connection)
        if self.dies_in_commit:
            self._scene.baton.note("dies before COMMIT")
            self.kill()
            self._scene.invariants.unchanged("a crash before COMMIT")
            raise DiedError
        self.loses_answer = False
        self._scene.baton.note("COMMIT is carried out, its answer is lost")
        session.commit()
        session.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")


class SimulatedMirror(Mirror):
    """The composition root with the simulation's ends."""

    def __init__(self, scene: Scene, process: Process) -> None:
        super().__init__(scene.settings(), process.engine, KeyRing())
        self._scene = scene
        self._process = process
        self.clock: Any = Clock(scene.baton)

    def source(self, account: AccountRow, token: str | None) -> Source:  # noqa: ARG002  # there is one account
        """Open the account's source behind the baton."""
        scene = self._scene
        return PassingSource(scene.baton, scene.upstream.source(self.settings), self._process.has_open_transaction)

    def _release(self, lease: Lease, ending: Ending, row: RunRow) -> None:
        self._scene.baton.hand_over("release")
        super()._release(lease, ending, row)


def staged(scene: Scene, patch: pytest.MonkeyPatch) -> None:
    """Let runs open the simulation's store, and let processes be told apart by their simulated names."""

    def store(
        engine: Engine, account_id: int, epoch: int, projection: Projection, opening: Opening | None
    ) -> PassingStore:
        scene.baton.hand_over("open the store")
        inner = PostgresStore(engine, account_id, epoch, projection, opening, monotonic=lambda: scene.baton.time)
        return PassingStore(scene.baton, scene.invariants, epoch, inner)

    def is_dead(name: str) -> bool:
        return scene.plan.knows_the_dead and all(p.dead for p in scene.processes if p.name == name)

    patch.setattr(turns, "PostgresStore", store)
    patch.setattr(owners, "this_process", lambda: scene.baton.actor.life.name)
    patch.setattr(owners, "is_dead", is_dead)
