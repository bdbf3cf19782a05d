"""Which seeds are simulated: some by default, those that once found something always, others on demand.

MAILMIRROR_TEST_SIM_SEEDS=4711      this one
MAILMIRROR_TEST_SIM_SEEDS=0-2000    these
MAILMIRROR_TEST_SIM_SEEDS=3,7-9     and so on
"""

import os
from collections.abc import Sequence

VARIABLE = "MAILMIRROR_TEST_SIM_SEEDS"
DEFAULT = range(20)
"""What is simulated with all other tests."""

PINNED: tuple[tuple[int, str], ...] = (
    (28, "a head whose walk was resumed closed its past unswept, and a deletion told meanwhile was lost"),
    (38, "a first walk did not sweep: what an event had brought and a lost cursor took away stayed"),
    (49, "a window in mid-walk was not walked again after a lost cursor: a changed message stayed as it was"),
    (51, "the same after an event without an id, with deletions"),
    (65, "the same with a listing in no order"),
    (279, "a walk whose last batch was built when everything was to be walked again was not walked again itself"),
    (314, "the same away from the head"),
    (282, "two messages in order by luck: the listing was taken for newest first, and a part never listed was closed"),
    (236, "a machine that slept for a day in the middle of a poll did not take itself for one that had not polled"),
)
"""Seeds that found something, and what it was. A schedule also depends on the ports that the engine calls: once they
are others, a seed is a different history, and worth no less than any other."""


def chosen(text: str | None = None) -> Sequence[int]:
    """Read the variable, or give the default with the pinned seeds; raises ValueError for what is no seeds."""
    wanted = os.environ.get(VARIABLE, "") if text is None else text
    if not wanted.strip():
        return list(dict.fromkeys((*DEFAULT, *(seed for seed, _ in PINNED))))
    seeds: list[int] = []
    for part in wanted.replace(",", " ").split():
        first, dash, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1) if dash else (int(first),)
    return seeds
