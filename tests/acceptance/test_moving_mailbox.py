"""A mailbox that changes all through the first sync and after it: once it rests, one more sync makes the mirror equal.

The seed fixes the mailbox and the changes, not how threads meet. MAILMIRROR_TEST_SEEDS="7 8" tries others;
MAILMIRROR_TEST_MESSAGES makes the mailboxes larger.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mailbox, Upstream

SEEDS = [int(seed) for seed in os.environ.get("MAILMIRROR_TEST_SEEDS", "1 2").split()]
MESSAGES = int(os.environ.get("MAILMIRROR_TEST_MESSAGES", "1000"))
PAGINGS: dict[str, dict[str, object]] = {
    "keyset": {"paging": "keyset"},
    "offset": {"paging": "offset", "page_size_cap": 20},
    "offset-shuffled": {"paging": "offset", "order": "shuffled", "page_size_cap": 20},
}


class Churn(threading.Thread):
    """Changes a mailbox from a thread of its own until it is told to rest."""

    def __init__(self, box: Mailbox, seed: int, *, at_once: int, every: float) -> None:
        super().__init__(daemon=True)
        self._box, self._seed, self._at_once, self._every = box, seed, at_once, every
        self._resting = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        """Deliver, relabel, move, delete, and deliver late mail, until `rest`."""
        while not self._resting.wait(self._every):
            self._box.churn(self._at_once, self._seed * 10_000 + self.rounds)
            self.rounds += 1

    def rest(self) -> None:
        """Stop changing."""
        self._resting.set()
        self.join()


@contextmanager
def churning(box: Mailbox, seed: int, *, at_once: int = 3, every: float = 0.03) -> Iterator[Churn]:
    """Change the mailbox for the length of a with block, from before its first line on."""
    churn = Churn(box, seed, at_once=at_once, every=every)
    churn.start()
    try:
        yield churn
    finally:
        churn.rest()


def again(seed: int) -> str:
    """The command that repeats a failure."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    return f"repeat with: MAILMIRROR_TEST_SEEDS={seed} MAILMIRROR_TEST_MESSAGES={MESSAGES} .venv/bin/pytest '{test}'"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("service", "paging"), [*(("gmail", paging) for paging in PAGINGS), ("outlook_email", "offset")]
)
def test_changes_during_and_after_the_first_sync_all_arrive(
    calm_upstream: Upstream, mirror_of: MakeMirror, service: str, paging: str, seed: int
) -> None:
    moving: dict[str, object] = {"move_changes_id": True} if service == "outlook_email" else {}
    box = calm_upstream.mailbox(MESSAGES, service, switches={**PAGINGS[paging], **moving})
    mirrored = mirror_of(box, page_size=50)
    with churning(box, seed) as churn:
        # While mail keeps coming, "quiet" is a moment: three runs see three of them.
        for _ in range(3):
            mirrored.sync()
    assert churn.rounds > 3
    box.churn(25, seed)
    assert mirrored.sync().quiet
    report = mirrored.truth()
    assert report.equal, f"{again(seed)}\n{report}"
    assert report.open_problems == (), again(seed)


@pytest.mark.parametrize("paging", ["keyset", "offset"])
def test_a_sync_comes_to_rest_while_the_mailbox_does_not(
    calm_upstream: Upstream, mirror_of: MakeMirror, paging: str
) -> None:
    box = calm_upstream.mailbox(MESSAGES, switches=PAGINGS[paging])
    mirrored = mirror_of(box, page_size=50)
    with churning(box, 1, at_once=2, every=0.2) as churn:
        assert mirrored.sync().quiet
        assert mirrored.sync().quiet
        assert churn.is_alive()


@pytest.mark.fault("D12")
def test_labels_renamed_meanwhile_carry_their_new_name(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(200)
    mirrored = mirror_of(box)
    mirrored.sync()
    name = next(label["name"] for one in box.shown() for label in one["labels"] if label["name"].istitle())
    box.do("rename", kind="label", name=name, to="Renamed")
    mirrored.walk_again()
    mirrored.sync()
    mirrored.must_be_equal()
