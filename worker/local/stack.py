"""Everything mailmirror needs on one machine: PostgreSQL, Valkey, Celery workers and beat, brought up and kept up.

What the settings name is used as it is; what they do not name is started here. Each process ends with ours, however
ours ends (see `supervise`); an orderly end goes beat, workers, Valkey, PostgreSQL.
"""

import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from worker.config import Settings, to_environment
from worker.local import cluster, postgres
from worker.local.errors import LocalError
from worker.local.folder import DataFolder
from worker.local.part import Part
from worker.local.postgres import THROW_AWAY, RunningPostgres
from worker.local.process import Child, spawn
from worker.local.valkey import RunningValkey, start_valkey
from worker.local.workers import (
    BEAT_SIGNALS,
    BOTH_QUEUES,
    Workers,
    beat_command,
    children_of,
    worker_command,
    worker_signals,
)

__all__ = ["BOTH_QUEUES", "Stack", "Workers"]

# Where this very package lies: started there, Celery's processes find this one and no other.
_ROOT = Path(__file__).resolve().parents[2]


class Stack:
    """The servers run inside the `with` block, the Celery processes from `start_workers` on.

    `keep` keeps the data in `settings.data`, for one stack at a time; without it everything is temporary. `tell` is
    called with a sentence for a person when something ends, starts again, or takes its time. `patience` is how many
    seconds tasks have to finish in at the end; what they had not committed is done again later.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        keep: bool = True,
        workers: Sequence[Workers] = BOTH_QUEUES,
        tell: Callable[[str], None] = lambda _: None,
        patience: float = 20.0,
        app: str = "worker.celery",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._given = settings
        self._keep = keep
        self._plan = workers
        self._tell = tell
        self._patience = patience
        self._app = app
        self._environ = environ
        self._folder: DataFolder | None = None
        self._postgres: Part[RunningPostgres] | None = None
        self._valkey: Part[RunningValkey] | None = None
        self._workers: dict[str, Part[Child]] = {}
        self._beat: Part[Child] | None = None
        self._valkey_port: int | None = None
        self._valkey_password = secrets.token_urlsafe(24)
        self._worker_password = secrets.token_urlsafe(24)
        self._told: Settings | None = None  # what the Celery processes were told

    def __enter__(self) -> Self:
        """Take the data folder and start the servers. Raises LocalError when that cannot be."""
        try:
            self._folder = DataFolder(self._given.data if self._keep else None)
            if not self._given.database_url:
                log = self._folder.path / "postgres" / "server.log" if self._keep else None
                self._postgres = Part("PostgreSQL", log, self._start_postgres, tell=self._tell, again=self._keep)
                self._postgres.start()
            if not self._given.redis_url:
                log = self._folder.path / "valkey" / "server.log" if self._keep else None
                self._valkey = Part("Valkey", log, self._start_valkey, tell=self._tell)
                self._valkey.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def settings(self) -> Settings:
        """The settings with the URLs of what runs here, and the data folder by its full path."""
        return msgspec.structs.replace(
            self._given,
            database_url=self.database_url,
            owner_url=self.owner_url,
            redis_url=self.redis_url,
            data=self.folder.path,
        )

    @property
    def folder(self) -> DataFolder:
        """The folder that holds data and logs; raises LocalError outside the `with` block."""
        if self._folder is None:
            raise LocalError("the stack is not running")
        return self._folder

    @property
    def database_url(self) -> str:
        """URL of the database for workers, as libpq takes it when it is our own.

        Our own lets this user in once its tables were made and its roles were set (`apply_roles` with `login`).
        """
        if self._postgres is None:
            return self._given.database_url or ""
        return self._postgres.process.url_for(cluster.WORKER, self._worker_password)

    @property
    def owner_url(self) -> str | None:
        """URL of the same database for migrations; no Celery process is told of it."""
        return self._postgres.process.url if self._postgres else self._given.owner_url

    @property
    def redis_url(self) -> str:
        """URL of the broker."""
        return self._valkey.process.url if self._valkey else self._given.redis_url or ""

    @property
    def postgres_pid(self) -> int:
        """The main process of our own PostgreSQL; raises LocalError when the settings named another."""
        if self._postgres is None:
            raise LocalError("PostgreSQL was not started here")
        return self._postgres.process.pid

    @property
    def valkey_pid(self) -> int:
        """The process of our own Valkey; raises LocalError when the settings named another."""
        if self._valkey is None:
            raise LocalError("Valkey was not started here")
        return self._valkey.process.pid

    @property
    def worker_pids(self) -> dict[str, int]:
        """The main process of each worker, by the worker's name."""
        return {name: part.process.pid for name, part in self._workers.items()}

    @property
    def worker_pid(self) -> int:
        """The main process of the first worker."""
        return next(iter(self.worker_pids.values()))

    @property
    def beat_pid(self) -> int:
        """Beat's process."""
        if self._beat is None:
            raise LocalError("beat was not started")
        return self._beat.process.pid

    def start_workers(self) -> None:
        """Start the Celery workers and beat; they may take some seconds until they work."""
        self._told = self.settings
        for workers in self._plan:
            command = worker_command(self._app, workers)
            self._workers[workers.name] = self._celery(
                f"The worker for {workers.queues}", f"worker-{workers.name}", command, worker_signals(self._patience)
            )
        folder = self.folder.subfolder("beat")
        for old in folder.iterdir():
            old.unlink()  # its one entry is always due at once, and a file cut short by a crash helps nobody
        self._beat = self._celery("Beat", "beat", beat_command(self._app, folder), BEAT_SIGNALS)

    def poll(self) -> None:
        """Start again what ended by itself; call this about once a second.

        Raises LocalError when the stack cannot go on: PostgreSQL ended, and its data with it.
        """
        self.folder.trim_logs()
        for part in (self._postgres, self._valkey):
            if part is not None:
                part.look()
        if self._told is None or not self._servers_run():
            return
        if self._told != self.settings:
            self._tell("An address has changed: workers and beat are started again.")
            self._stop_celery()
            self.start_workers()
        for celery in (*self._workers.values(), self._beat):
            if celery is not None:
                celery.look()

    def kill_worker_child(self, name: str | None = None) -> int:
        """Kill the busiest child of a worker (the first one unless named) with SIGKILL; returns its pid.

        Raises LocalError when it has none.
        """
        pid = self.worker_pids[name] if name else self.worker_pid
        children = children_of(pid)
        if not children:
            raise LocalError(f"the worker {pid} has no children yet")
        os.kill(children[0], signal.SIGKILL)
        return children[0]

    def stop(self) -> None:
        """End everything in order: beat, workers, Valkey, PostgreSQL, temporary files. Twice is fine."""
        with contextlib.ExitStack() as last_first:
            # Whatever fails in between, the rest is stopped all the same.
            if self._folder is not None:
                last_first.callback(self._folder.give_back)
            for part in (self._postgres, self._valkey):
                if part is not None:
                    last_first.callback(part.stop)
            last_first.callback(self._stop_celery)
            if self._workers:
                last_first.callback(self._say, f"Stopping; tasks have up to {self._patience:.0f} s to finish.")

    def _say(self, sentence: str) -> None:
        with contextlib.suppress(OSError):  # at the end there may be nobody left to read it
            self._tell(sentence)

    def _stop_celery(self) -> None:
        with contextlib.ExitStack() as last_first:
            for part in self._workers.values():
                last_first.callback(part.stop)
            # All are asked before the first is waited for.
            last_first.callback(self._ask_workers)
            if self._beat is not None:
                last_first.callback(self._beat.stop)
        self._workers = {}
        self._beat = None
        self._told = None

    def _ask_workers(self) -> None:
        for part in self._workers.values():
            with contextlib.suppress(LocalError):  # it has ended by itself
                part.process.ask_to_stop()

    def _servers_run(self) -> bool:
        return all(part is None or part.running for part in (self._postgres, self._valkey))

    def _start_postgres(self) -> RunningPostgres:
        folder = self.folder
        if not self._keep:
            return postgres.start(settings=THROW_AWAY, password=True, holding=[folder.lock])
        running = postgres.start(
            data_dir=folder.path / "postgres", password=True, port=folder.noted_port(), holding=[folder.lock]
        )
        self._worker_password = folder.noted_password(cluster.WORKER) or self._worker_password
        folder.note_database_url(running.url_for(cluster.WORKER, self._worker_password), running.url)
        return running

    def _start_valkey(self) -> RunningValkey:
        folder = self.folder
        running = start_valkey(
            data_dir=folder.path / "valkey" if self._keep else None,
            port=self._valkey_port,
            password=self._valkey_password,
            holding=[folder.lock],
        )
        self._valkey_port = running.port
        return running

    def _celery(self, name: str, log: str, command: Sequence[str], signals: Sequence[tuple[int, float]]) -> Part[Child]:
        def start() -> Child:
            folder = self.folder
            with folder.open_log(log) as output:
                return spawn(
                    command,
                    output=output,
                    env=to_environment(
                        msgspec.structs.replace(self.settings, owner_url=None, web_token=None), self._environ
                    ),
                    cwd=_ROOT,
                    signals=signals,
                    clear=[folder.path] if folder.temporary else [],
                    holding=[folder.lock],
                )

        part = Part(name, self.folder.log_path(log), start, tell=self._tell)
        part.start()
        return part
