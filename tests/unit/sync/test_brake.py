"""Deletions in a mass are held; the figures of the brake."""

import pytest

from worker.records import FoundBy
from worker.sync.brake import threshold


@pytest.mark.parametrize(
    ("mailbox", "found_by", "held_from"),
    [
        (4, "sweep", float("inf")),
        (5, "sweep", 5),
        (30, "sweep", 30),
        (50, "sweep", 50),
        (200, "sweep", 50),
        (1_000, "sweep", 200),
        (1_000_000, "sweep", 200_000),
        (4, "event", float("inf")),
        (80, "event", 50),
        (1_000, "event", 500),
    ],
)
def test_how_many_deletions_a_day_are_too_many(mailbox: int, found_by: FoundBy, held_from: float) -> None:
    assert threshold(mailbox, found_by) == held_from
