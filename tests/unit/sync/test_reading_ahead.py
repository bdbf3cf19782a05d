"""A walk reads on while its pages are being committed; they are committed in the order in which it asked for them."""

import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from tests.unit.sync.ends import NOW, Mailbox, MemoryStore, StillClock
from tests.unit.sync.test_run import LIMITS, run, spread
from worker.records import Batch, MessagePage, Outcome, PageToken, Window
from worker.sync.looks import FIRST_TOGETHER, HEAVY, Looker
from worker.sync.observations import Observations
from worker.sync.run import LIGHT
from worker.sync.windows import Surroundings, Walk


@pytest.mark.parametrize(("body", "ahead"), [("short", True), ("x" * (LIGHT // 10 + 1), False)])
def test_a_walk_asks_for_its_next_page_while_one_is_committed_unless_that_one_is_very_large(
    body: str, *, ahead: bool
) -> None:
    mailbox, store = Mailbox(spread(40, timedelta(hours=20))), MemoryStore()
    mailbox.body = body
    asked: defaultdict[str | None, threading.Event] = defaultdict(threading.Event)
    early: dict[str, bool] = {}
    listing, commit = mailbox.window, store.commit

    def answer(after: datetime, before: datetime, page: PageToken | None, size: int) -> MessagePage:
        asked[page].set()
        return listing(after, before, page, size)

    def wait_and_commit(batch: Batch) -> Outcome:
        for token in [w.page for w in batch.ledger.put if w.page]:
            early.setdefault(token, asked[token].wait(5 if ahead else 0.05))
        return commit(batch)

    mailbox.window, store.commit = answer, wait_and_commit  # type: ignore[method-assign]
    run(mailbox, store)
    assert store.live.keys() == mailbox.messages.keys()
    assert early == dict.fromkeys(["10", "20", "30"], ahead)


def test_batches_of_a_walk_bear_the_numbers_of_their_requests_also_where_nothing_was_listed() -> None:
    """Batches are committed by these numbers: one without would be written before the pages that came before it."""
    mailbox, store, seen = Mailbox(spread(40, timedelta(hours=20))), MemoryStore(), Observations()
    mailbox.poison = {"m00035"}
    with ThreadPoolExecutor(1) as pool:
        around = Surroundings(
            source=mailbox,
            store=store,
            looker=Looker(mailbox, store, StillClock(), pool, seen),
            seen=seen,
            limits=LIMITS,
            upstream_now=lambda: NOW,
            windows_only=False,
        )
        window = Window(after=NOW - timedelta(days=1), before=NOW)
        batches = list(Walk(window, around).batches())
    assert [bool(b.listed) for b in batches] == [True, True, True, False]
    numbers = [b.asked for b in batches]
    assert numbers[0] > 0
    assert numbers == sorted(set(numbers))


def test_large_messages_that_events_name_are_committed_a_few_at_a_time() -> None:
    mailbox, store = Mailbox({}), MemoryStore()
    run(mailbox, store)
    commit, pieces = store.commit, []
    mailbox.body = "x" * (HEAVY // 8)
    for number in range(40):
        mailbox.deliver(f"m{number:02}", NOW)

    def count(batch: Batch) -> Outcome:
        pieces.append(len(batch.fetched))
        return commit(batch)

    mailbox.events = 40
    store.commit = count  # type: ignore[method-assign]
    run(mailbox, store)
    assert store.live.keys() == mailbox.messages.keys()
    assert max(pieces) == FIRST_TOGETHER + 2 * FIRST_TOGETHER
