"""What the engine takes for its clock, its pools and its locks while a baton decides who runs."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Self, TypeVar

import pytest

from tests.faults.simulation.baton import Baton, DiedError
from worker.sync import asking, looks, run

T = TypeVar("T")


class Clock:
    """`ports.Clock` in virtual time."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        self._baton.hand_over("clock")
        return self._baton.time

    def sleep(self, seconds: float) -> None:
        """See `ports.Clock`."""
        self._baton.sleep(seconds)


class Pool:
    """What the engine takes for a ThreadPoolExecutor: so many actors of the same process."""

    def __init__(self, baton: Baton, workers: int, name: str) -> None:
        self._baton = baton
        self._life = baton.actor.life
        self._most = workers
        self._name = f"{baton.actor.name}/{name}"
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._at_work = 0

    def submit(self, work: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Queue a piece of work."""
        future: Future[T] = Future()
        self._waiting.append((future, lambda: work(*arguments)))
        if self._at_work < self._most:
            self._at_work += 1
            self._baton.spawn(self._name, self._life, self._work)
        return future

    def map(self, work: Callable[[Any], T], each: Iterable[Any]) -> Iterator[T]:
        """Queue the work for each, and give the results in order."""
        futures = [self.submit(work, one) for one in each]
        for future in futures:
            self._baton.hand_over("wait for a look", future.done)
            yield future.result()

    def shutdown(self, *, cancel_futures: bool = False) -> None:
        """Wait for what is being done; drop what is not."""
        if cancel_futures:
            for future, _ in self._waiting:
                future.cancel()
            self._waiting.clear()
        if self._at_work and not self._life.dead:
            self._baton.hand_over("wait for the pool", lambda: not self._at_work)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def _work(self) -> None:
        try:
            while self._waiting:
                future, work = self._waiting.pop(0)
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)
                    if isinstance(error, DiedError):
                        raise
        finally:
            self._at_work -= 1


class Mutex:
    """What the engine takes for a threading.Lock."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            self._baton.hand_over("wait for a lock", lambda: not self._taken)
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


@contextmanager
def conducted(baton: Baton) -> Iterator[pytest.MonkeyPatch]:
    """Let the engine's pools, waits and locks go by the baton."""

    def pool(workers: int, thread_name_prefix: str = "pool") -> Pool:
        return Pool(baton, workers, thread_name_prefix)

    def wait(futures: Collection["Future[Any]"], return_when: str = "ALL_COMPLETED") -> tuple[list[Any], list[Any]]:
        enough = any if return_when == "FIRST_COMPLETED" else all
        if futures:
            baton.hand_over("wait for a walk", lambda: enough(future.done() for future in futures))
        return [f for f in futures if f.done()], [f for f in futures if not f.done()]

    with pytest.MonkeyPatch.context() as patch:
        for module in (run, asking):
            patch.setattr(module, "ThreadPoolExecutor", pool)
        patch.setattr(run, "wait", wait)
        # It tells of each connection that died; here that is the daily bread.
        pool_log = logging.getLogger("sqlalchemy.pool")
        patch.setattr(pool_log, "propagate", False)
        patch.setattr(pool_log, "handlers", [logging.NullHandler()])
        patch.setattr(looks, "threading", SimpleNamespace(Lock=lambda: Mutex(baton)))
        yield patch
