"""How much of an account's past has been walked, as shapes to draw and as words."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from worker.store.overview import BEGINNING, Seen, Stretch

WIDTH = 1000
"""Units of the drawing from left to right."""
AHEAD = 120
"""Those at the left that stand for all time before the oldest mail that is known."""
LEAST_SPAN = timedelta(days=30)
MOST_TICKS = 7
YEARS = (1, 2, 5, 10, 20, 50)

Kind = Literal["done", "open", "problem", "unknown"]


class Bar(Struct, frozen=True):
    """A stretch of time on the drawing."""

    x: float
    width: float
    kind: Kind
    title: str


class Tick(Struct, frozen=True):
    """A year on the drawing."""

    x: float
    label: str


class Timeline(Struct, frozen=True):
    """The drawing, oldest at the left, and the same in words."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    words: str


WORDS: dict[Kind, str] = {
    "done": "walked",
    "open": "still to be walked",
    "problem": "walked, but a part cannot be read",
    "unknown": "not laid out yet",
}


def draw(account: Seen, at: datetime) -> Timeline:
    """Draw an account's ledger up to `at`."""
    scale = _Scale(_start(account, at), at)
    bars = tuple(_bars(account.stretches, scale))
    return Timeline(bars, tuple(scale.ticks()), words(account))


def words(account: Seen) -> str:
    """Say in one sentence how much of an account's past has been walked."""
    if not account.stretches:
        return "No window has been laid out yet."
    if account.complete:
        said = "The whole history has been walked"
    elif account.complete_to is None:
        said = "Not even the newest window has been walked"
    else:
        said = f"Walked back to {account.complete_to:%Y-%m-%d}"
    counts = [
        f"{count:,} {'window' if count == 1 else 'windows'} {how}"
        for count, how in ((account.windows("open"), "open"), (account.windows("problem"), "with a part unreadable"))
        if count
    ]
    return f"{said}{'; ' if counts else ''}{', '.join(counts)}."


def _start(account: Seen, at: datetime) -> datetime:
    """Where the drawing of known time begins: at the oldest mail, or at the oldest window with a beginning."""
    known = [stretch.after for stretch in account.stretches if stretch.after > BEGINNING]
    known += [stretch.before for stretch in account.stretches if stretch.after == BEGINNING and stretch.before]
    if account.oldest is not None and account.oldest < at:
        if account.complete:  # what was walked before the oldest mail is of no interest, unless it could not be read
            known = [each.after for each in account.stretches if each.state == "problem" and each.after > BEGINNING]
        known.append(account.oldest)
    return min([*known, at - LEAST_SPAN])


class _Scale:
    """Places instants on the drawing."""

    def __init__(self, start: datetime, end: datetime) -> None:
        self._start, self._end = start, end

    def place(self, moment: datetime) -> float:
        if moment <= BEGINNING:
            return 0.0
        share = (moment - self._start) / (self._end - self._start)
        return round(min(float(WIDTH), max(float(AHEAD), AHEAD + share * (WIDTH - AHEAD))), 1)

    def ticks(self) -> Iterable[Tick]:
        """Few enough years to be read."""
        years: list[int] = []
        for step in YEARS:
            years = [year for year in range(self._start.year + 1, self._end.year + 1) if year % step == 0]
            if len(years) <= MOST_TICKS:
                break
        for year in years:
            moment = self._end.replace(year=year, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
            yield Tick(self.place(moment), str(year))


def _bars(stretches: Sequence[Stretch], scale: _Scale) -> Iterable[Bar]:
    for stretch in reversed(stretches):
        left = scale.place(stretch.after)
        right = WIDTH if stretch.before is None else scale.place(stretch.before)
        kind: Kind = "unknown" if stretch.after == BEGINNING and stretch.state == "open" else stretch.state
        width = round(max(right - left, 2.0), 1)
        yield Bar(min(left, WIDTH - width), width, kind, _title(stretch, kind))


def _title(stretch: Stretch, kind: Kind) -> str:
    after = "the beginning" if stretch.after == BEGINNING else f"{stretch.after:%Y-%m-%d}"
    before = "now" if stretch.before is None else f"{stretch.before:%Y-%m-%d}"
    windows = f"{stretch.windows:,} {'window' if stretch.windows == 1 else 'windows'}"
    return f"{after} to {before}: {WORDS[kind]} ({windows})"
