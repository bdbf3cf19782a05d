"""Progress of long work: one living line on a terminal, a plain line every few seconds anywhere else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from worker.cli import output

LINE_EVERY = 5.0
"""Seconds between lines where there is no terminal."""


class Watch(Protocol):
    """Something that shows how far work has come."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Say what is worked on now; with a `total` a bar and the time left are shown."""
        ...

    def show(self, state: str, done: int | None = None) -> None:
        """Say how far it is."""
        ...

    def remark(self, sentence: str) -> None:
        """Say something that stays."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, what: str, total: int | None = None) -> None:
        """See `Watch`."""

    def show(self, state: str, done: int | None = None) -> None:
        """See `Watch`."""

    def remark(self, sentence: str) -> None:
        """See `Watch`."""


class Lines:
    """Plain lines, seldom: for logs and pipes."""

    def __init__(self) -> None:
        self._what = ""
        self._total: int | None = None
        self._last = time.monotonic()

    def begin(self, what: str, total: int | None = None) -> None:
        """See `Watch`."""
        self._what = what
        self._total = total
        self._last = time.monotonic()

    def show(self, state: str, done: int | None = None) -> None:
        """See `Watch`."""
        now = time.monotonic()
        if now - self._last < LINE_EVERY:
            return
        self._last = now
        share = f" {done / self._total:.0%}," if done is not None and self._total else ""
        output.note(f"{self._what}:{share} {state}")

    def remark(self, sentence: str) -> None:
        """See `Watch`."""
        output.note(sentence)


class Living:
    """One line that is drawn again and again."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._what = ""
        self._task: TaskID | None = None

    def begin(self, what: str, total: int | None = None) -> None:
        """See `Watch`."""
        self._what = what
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(_plain(what), total=total)

    def show(self, state: str, done: int | None = None) -> None:
        """See `Watch`."""
        if self._task is not None:
            self._progress.update(self._task, description=_plain(f"{self._what}: {state}"), completed=done)

    def remark(self, sentence: str) -> None:
        """See `Watch`."""
        self._progress.console.print(Text(output.printable(sentence)))


@contextmanager
def watching(*, quiet: bool = False, bar: bool = False) -> Iterator[Watch]:
    """Show progress on stderr for the length of a with block; nothing of the living line stays behind."""
    console = output.aside()
    if quiet:
        yield Silent()
    elif not console.is_terminal:
        yield Lines()
    else:
        ahead = (BarColumn(bar_width=20), TimeRemainingColumn()) if bar else ()
        # A narrow terminal cuts the words short, never the clock.
        room = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        text = TextColumn("{task.description}", markup=False, table_column=room)
        columns = (SpinnerColumn(), TimeElapsedColumn(), *ahead, text)
        with Progress(*columns, console=console, transient=True, expand=True) as progress:
            yield Living(progress)


def _plain(text: str) -> str:
    return output.printable(text)
