"""The mailbox keeps its order by arithmetic, and agrees with one that is simply sorted."""

import datetime as dt
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.sandbox import ids
from worker.sandbox.calendar import Timetable
from worker.sandbox.catalog import Placement
from worker.sandbox.generator import Generator
from worker.sandbox.mailbox import Mailbox, Record

END = 1_717_588_800
SPAN = 3600


def mailbox_of(count: int) -> Mailbox:
    base = Generator(1, "gmail", "me@x", Timetable(count, END, SPAN / 86_400, 1)) if count else None
    return Mailbox(ids.Numbering(ids.digest("salt")), base)


def record(created: int) -> Record:
    return Record(created, created, 1, 0, Placement(), 0.0)


def live(mailbox: Mailbox) -> list[int]:
    serials = [serial for serial in range(mailbox.next_serial) if mailbox.is_live(serial)]
    return sorted(serials, key=mailbox.key)


@settings(max_examples=150, deadline=None)
@given(count=st.integers(0, 60), seed=st.integers(0, 10**6), steps=st.integers(0, 60))
def test_views_agree_with_a_sorted_list(count: int, seed: int, steps: int) -> None:
    dice = random.Random(seed)
    mailbox = mailbox_of(count)
    for _ in range(steps):
        known = live(mailbox)
        if known and dice.random() < 0.5:
            mailbox.remove(dice.choice(known))
        else:
            # often the very second of a message there is
            created = (
                mailbox.created(dice.choice(known)) if known and dice.random() < 0.5 else END - dice.randrange(SPAN)
            )
            mailbox.add(record(created))
    order = live(mailbox)
    assert len(mailbox) == len(order)
    hidden = frozenset(dice.sample([s for s in order if s in mailbox.records], k=min(2, len(mailbox.records))))
    edges = sorted(END + 1 - dice.randrange(SPAN + 2) for _ in range(2))
    for after, before in ((END - 2 * SPAN, END + 1), (edges[0], edges[1])):
        for out in (frozenset[int](), hidden):
            wanted = [s for s in order if after <= mailbox.created(s) < before and s not in out]
            view = mailbox.view(after, before, out)
            assert len(view) == len(wanted)
            assert view.serials(0, len(wanted) + 5) == wanted
            for rank in range(0, len(wanted), 7):
                assert view.serials(rank, 5) == wanted[rank : rank + 5]
            for serial in dice.sample(order, k=min(8, len(order))):
                key = mailbox.key(serial)
                assert view.rank_after(key) == sum(mailbox.key(s) <= key for s in wanted)


@pytest.mark.parametrize("salt", [0, 1, 2**64 - 1, 0x9E3779B97F4A7C15])
def test_numbers_lead_back_to_serials(salt: int) -> None:
    numbering = ids.Numbering(salt)
    numbers = [numbering.number(serial) for serial in range(5000)]
    assert len(set(numbers)) == 5000
    assert [numbering.serial(number) for number in numbers] == list(range(5000))


def test_the_same_mail_comes_back_after_a_restart(start: Any) -> None:

    until = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    first, second = (start(now=None, until=until, messages=50) for _ in range(2))
    assert list(first.truth(1001)[1]) == list(second.truth(1001)[1])
    assert first.token(1001) == second.token(1001)
