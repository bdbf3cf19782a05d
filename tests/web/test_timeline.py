"""The drawing of the past says the same in shapes and in words, whatever the ledger holds."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from worker.store.overview import BEGINNING, Seen, State, Stretch
from worker.web.timeline import AHEAD, WIDTH, draw, words

AT = datetime(2026, 11, 20, tzinfo=UTC)


def year(number: int) -> datetime:
    return datetime(number, 1, 1, tzinfo=UTC)


def seen(*stretches: Stretch, oldest: datetime | None = None) -> Seen:
    return Seen(
        id=1, tenant_id="t", kind="k", service=None, address=None, status="active", status_reason=None, polled_at=None,
        late=0, leased=False, problems=0, problems_with_mail=0, held_deletes=0, runs=0, written=0, live=0,
        oldest=oldest, stretches=stretches,
    )  # fmt: skip


def test_an_account_without_a_ledger_has_nothing_to_draw() -> None:
    line = draw(seen(), AT)
    assert line.bars == ()
    assert line.words == "No window has been laid out yet."


def test_walked_back_to_an_instant() -> None:
    account = seen(
        Stretch(year(2020), None, "done", 7),
        Stretch(year(2015), year(2020), "open", 2),
        Stretch(BEGINNING, year(2015), "open", 1),
    )
    assert account.complete_to == year(2020)
    line = draw(account, AT)
    assert line.words == "Walked back to 2020-01-01; 3 windows open."
    assert [bar.kind for bar in line.bars] == ["unknown", "open", "done"]
    unknown, still, done = line.bars
    assert (unknown.x, unknown.width) == (0, AHEAD)
    assert still.x == AHEAD
    assert done.x + done.width == WIDTH
    assert unknown.title == "the beginning to 2015-01-01: not laid out yet (1 window)"
    assert [tick.label for tick in line.ticks] == ["2016", "2018", "2020", "2022", "2024", "2026"]


def test_complete_with_a_part_that_cannot_be_read() -> None:
    account = seen(
        Stretch(year(2020), None, "done", 1),
        Stretch(year(2019), year(2020), "problem", 1),
        Stretch(BEGINNING, year(2019), "done", 4),
        oldest=year(2012),
    )
    assert account.complete
    assert words(account) == "The whole history has been walked; 1 window with a part unreadable."
    assert [bar.kind for bar in draw(account, AT).bars] == ["done", "problem", "done"]


def test_a_gap_in_the_ledger_ends_what_is_complete() -> None:
    account = seen(Stretch(year(2020), None, "done", 1), Stretch(year(2010), year(2018), "done", 1))
    assert account.complete_to == year(2020)
    assert seen(Stretch(year(2010), year(2018), "done", 1)).complete_to is None


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.sampled_from(["open", "done", "problem"])), min_size=1, max_size=40),
    st.integers(-9000, 9000),
)
def test_every_ledger_fits_the_drawing(widths: list[tuple[int, State]], oldest: int) -> None:
    stretches, before, end = [], None, AT - timedelta(days=1)
    for days, state in widths:
        stretches.append(Stretch(end, before, state, 1))
        before, end = end, end - timedelta(days=days)
    stretches.append(Stretch(BEGINNING, before or AT, "open", 1))
    line = draw(msgspec.structs.replace(seen(*stretches), oldest=AT + timedelta(days=oldest)), AT)
    assert len(line.bars) == len(stretches)
    assert all(bar.x >= 0 and bar.width > 0 and bar.x + bar.width <= WIDTH + 0.2 for bar in line.bars)
    assert [bar.x for bar in line.bars] == sorted(bar.x for bar in line.bars)
    assert all(AHEAD <= tick.x <= WIDTH for tick in line.ticks)
    assert len(line.ticks) <= 8
