"""How commands speak: data on stdout, everything else on stderr; numbers, times and tables alike everywhere."""

import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from worker.errors import (
    AccountGoneError,
    CredentialRefusedError,
    ForbiddenError,
    LeaseHeldError,
    MailmirrorError,
    UnreachableError,
    UnreadableError,
)

DONE, FAILED, USAGE, PROBLEMS = 0, 1, 2, 3
"""Exit codes; PROBLEMS is for work that came to its end, or was told to stop, with something left open."""
INTERRUPTED = 130

SHOWN_IDS = 20
FOLDED_TO = 24
"""Columns that the last one of a table needs at least."""
MINUTE = 60
WHOLE_FROM = 10
"""Messages per second from which no decimals are shown."""


def console() -> Console:
    """Write what was asked for to stdout."""
    return Console(soft_wrap=True, highlight=False)


def aside() -> Console:
    """Write progress, notes and errors to stderr."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def say(sentence: str) -> None:
    """Print a line of the answer, as plain text."""
    console().print(Text(printable(sentence)))


def note(sentence: str) -> None:
    """Print a line that is no part of the answer."""
    aside().print(Text(printable(sentence)))


def fail(sentence: str) -> None:
    """Print why a command did not do what it was asked to."""
    aside().print(Text(printable(sentence), style="red"))


def document(data: object) -> None:
    """Print one JSON document."""
    encoded = msgspec.json.format(msgspec.json.encode(data), indent=2)
    sys.stdout.write(encoded.decode() + "\n")


def line(data: object) -> None:
    """Print one JSON document on a line of its own, at once."""
    sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
    sys.stdout.flush()


def program() -> str:
    """How another shell calls this program: by name where it is installed for all, else by its full path."""
    script = Path(sys.argv[0]).absolute()
    if script.name != "mailmirror":
        return f"{shlex.quote(sys.executable)} -m worker"
    for_all = sys.prefix == sys.base_prefix and shutil.which("mailmirror") is not None
    return "mailmirror" if for_all else shlex.quote(str(script))


def flush() -> None:
    """Let a reader at the other end of a pipe see what was printed."""
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
    """Print rows under a heading, or one below the other where a terminal is too narrow for their columns.

    The columns named in `right` hold numbers; the last one may be folded.
    """
    numbers = set(right)
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    screen = console()
    if not screen.is_terminal:
        _unfolded(columns, cells, widths, numbers)
        return
    if sum(widths[:-1]) + 2 * len(widths[1:]) + min(widths[-1], FOLDED_TO) > screen.width:
        _one_below_the_other(columns, cells)
        return
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns, 1):
        last = number == len(columns)
        shown.add_column(column, justify="right" if column in numbers else "left", overflow="fold", no_wrap=not last)
    for row in cells:
        shown.add_row(*map(escape, row))
    screen.print(shown)


def _unfolded(columns: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int], numbers: set[str]) -> None:
    """Print rows into a file or a pipe: nothing is cut or folded, however long it is, and no line ends in blanks."""
    for row in (columns, *rows):
        cells = []
        for column, cell, width in zip(columns, row, widths, strict=True):
            blanks = " " * (width - cell_len(cell))
            cells.append(f"{blanks}{cell}" if column in numbers else f"{cell}{blanks}")
        say("  ".join(cells).rstrip())


def _one_below_the_other(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of its own, without what is empty."""
    widest = max(map(cell_len, columns))
    for number, row in enumerate(rows):
        if number:
            say("")
        for column, cell in zip(columns, row, strict=True):
            if cell:
                say(f"{column or 'remarks':<{max(widest, 7)}}  {cell}")


def printable(text: str) -> str:
    """Replace control characters: what an upstream names must not move a terminal's cursor."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def sentences(*parts: str | None) -> str:
    """What is said, one sentence after the other; each ends with a full stop, except the last one."""
    said = [part.strip() for part in parts if part and part.strip()]
    ended = [part if part[-1] in ".!?…" else f"{part}." for part in said[:-1]]
    return " ".join([*ended, *said[-1:]])


def number(value: int | None) -> str:
    """A count with thousands set apart; a dash where it is not known."""
    return "-" if value is None else f"{value:,}"


def counted(value: int, one: str, many: str | None = None) -> str:
    """A count with its noun."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def day(moment: datetime | None) -> str:
    """A date; year 1 is where every ledger begins."""
    if moment is None:
        return "-"
    return "the beginning" if moment.year == 1 else moment.astimezone(UTC).date().isoformat()


def minute(moment: datetime | None) -> str:
    """A date and time, UTC."""
    return "-" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def ago(age: timedelta | None) -> str:
    """How long something is past, in its largest unit."""
    if age is None:
        return "never"
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    hours, minutes = divmod(minutes, MINUTE)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def rate(amount: int, seconds: float) -> str:
    """Messages per second, in whole numbers where there are ten or more."""
    per_second = amount / seconds if seconds > 0 else 0.0
    return f"{per_second:,.0f}/s" if per_second >= WHOLE_FROM else f"{per_second:.1f}/s"


def advised(error: MailmirrorError, account_id: int | None = None) -> str:
    """The error's sentence and, where the error does not say it itself, what to do about it."""
    advice = ""
    if isinstance(error, LeaseHeldError):
        wait = f", or wait for it: mailmirror sync {account_id} --wait 300" if account_id is not None else ""
        advice = f"Try again in {error.seconds:.0f} seconds{wait}."
    elif isinstance(error, CredentialRefusedError) and error.scope == "app":
        advice = "Correct MAILMIRROR_KLOUDLESS_API_KEY."
    elif isinstance(error, CredentialRefusedError) and error.scope == "token" and account_id is not None:
        advice = f"Give it a new one: mailmirror accounts token {account_id} --token-stdin"
    elif isinstance(error, CredentialRefusedError) and error.scope == "token":
        advice = "Check the token, and that MAILMIRROR_KLOUDLESS_URL names the upstream it is for."
    elif isinstance(error, UnreachableError) and error.kind == "connect":
        advice = "Check MAILMIRROR_KLOUDLESS_URL, and that the upstream runs."
    elif isinstance(error, UnreadableError) and account_id is None:
        advice = "Check that MAILMIRROR_KLOUDLESS_URL names the API's root with its version."
    elif isinstance(error, ForbiddenError):
        advice = "Give the token's owner the rights to read mail, or connect the account again."
    elif isinstance(error, AccountGoneError) and account_id is not None:
        advice = f"Remove it here, too: mailmirror accounts remove {account_id}"
    elif isinstance(error, AccountGoneError):
        advice = "Check the account's id."
    return f"{error} {advice}".strip()
