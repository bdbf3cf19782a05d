"""One process of a stack: started, watched, and started again with a growing pause when it ends by itself."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from worker.local.errors import LocalError

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
STEADY_SECONDS = 60.0
"""A process that has run for this long begins again with the first pause."""


class Running(Protocol):
    """What every kind of process started here can say and do."""

    @property
    def running(self) -> bool:
        """Whether it still runs."""

    def stop(self) -> None:
        """End it."""


Process = TypeVar("Process", bound=Running)


class Part(Generic[Process]):
    """A process with a name for people, a log that outlives it, and how to start it.

    `again` says whether it can be started again after it ended by itself.
    """

    def __init__(
        self,
        name: str,
        log: Path | None,
        start: Callable[[], Process],
        *,
        tell: Callable[[str], None],
        again: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._log = log
        self._start = start
        self._tell = tell
        self._again = again
        self._clock = clock
        self._process: Process | None = None
        self._ended = 0
        self._moment = 0.0  # since when it runs; without a process, when the next is started

    @property
    def process(self) -> Process:
        """The running process; raises LocalError while there is none."""
        if self._process is None:
            raise LocalError(f"{self.name} is not running{self._see_log('; its log is ')}")
        return self._process

    @property
    def running(self) -> bool:
        """Whether there is a process and it runs."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start the process. Raises LocalError when it cannot."""
        self._process = self._start()
        self._moment = self._clock()

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def look(self) -> bool:
        """Start the process again when it has ended and its pause is over; True when it was started.

        Raises LocalError when what has ended cannot be started again.
        """
        if self._process is not None:
            if self._process.running:
                if self._clock() - self._moment > STEADY_SECONDS:
                    self._ended = 0
                return False
            self.stop()  # collects what it left behind
            if not self._again:
                raise LocalError(f"{self.name} ended unexpectedly, and its data was temporary")
            pause = self._wait()
            self._tell(
                f"{self.name} ended unexpectedly; it is started again in {pause:.0f} s.{self._see_log(' Log: ')}"
            )
        if self._clock() < self._moment:
            return False
        try:
            self.start()
        except LocalError as error:
            self._tell(f"{self.name} cannot be started: {error}. Next attempt in {self._wait():.0f} s.")
            return False
        self._tell(f"{self.name} runs again.")
        return True

    def _see_log(self, before: str) -> str:
        return f"{before}{self._log}" if self._log else ""

    def _wait(self) -> float:
        """Set and return the pause before the next start, twice the last one."""
        pause = min(FIRST_PAUSE * 2.0**self._ended, LONGEST_PAUSE)
        self._ended += 1
        self._moment = self._clock() + pause
        return pause
