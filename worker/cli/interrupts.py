"""Ctrl-C, a polite kill and a closed terminal while an account is mirrored.

The first one lets the commit under way finish and cuts what is being asked of the upstream; the second one ends the
process on the spot. That loses nothing either: a commit is whole or not there, and a dead process's lease is free.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self, cast

from worker.cli.output import INTERRUPTED
from worker.errors import MailmirrorError
from worker.ports import Source

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SENTENCE = "Stopping after the commit under way. Once more, and it stops at once."
AT_ONCE = b"Stopped at once. What was committed stays; run it again to go on.\n"
SHOW_CURSOR = b"\r\x1b[K\x1b[?25h"
"""Clears the living line and shows the cursor that it hides."""


class Interrupts:
    """Takes the place of Python's own reaction inside its with block; `tell` says a sentence to the person."""

    def __init__(self) -> None:
        self.asked = False
        self.tell: Callable[[str], None] = lambda _: None
        self._running = False
        self._open: list[Source] = []

    def __enter__(self) -> Self:
        self._ours = [each for each in SIGNALS if signal.getsignal(each) is signal.default_int_handler]
        for each in self._ours:
            signal.signal(each, self._take)
        return self

    def __exit__(self, *_exc: object) -> None:
        for each in self._ours:
            signal.signal(each, signal.default_int_handler)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Mark the time in which there is something to finish; outside it an interrupt ends at once."""
        self._running = True
        try:
            yield
        finally:
            self._running = False
            self._open.clear()

    def check(self) -> None:
        """Raise KeyboardInterrupt once one was asked for; called where everything is committed."""
        if self.asked:
            raise KeyboardInterrupt

    def watch(self, source: Source) -> Source:
        """The same source, whose requests end with KeyboardInterrupt, and at once, after an interrupt."""
        self._open.append(source)
        return cast("Source", _Watched(source, self))

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            os.write(2, (SHOW_CURSOR if sys.stderr.isatty() else b"") + AT_ONCE)
            os._exit(INTERRUPTED)
        self.asked = True
        if not self._running:
            raise KeyboardInterrupt
        # In a thread of its own: the one that was interrupted may hold a lock that is needed here.
        threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        self.tell(SENTENCE)
        for source in list(self._open):
            source.close()


class _Watched:
    """Passes everything on to a source."""

    def __init__(self, source: Source, interrupts: Interrupts) -> None:
        self._source = source
        self._interrupts = interrupts

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        if not callable(found) or name == "close":
            return found

        def ask(*given: Any) -> Any:
            self._interrupts.check()
            try:
                return found(*given)
            except MailmirrorError:
                self._interrupts.check()  # it was cut by us: nothing is wrong with the upstream
                raise

        return ask
