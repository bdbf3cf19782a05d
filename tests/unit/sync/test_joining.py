"""Pages of several windows share a commit, and of one message the newest look at it counts."""

from datetime import timedelta

from tests.unit.sync.ends import NOW
from worker.records import Batch, Fetched, LedgerChange, Message, Window
from worker.sync.joining import TOGETHER, joined, together

MESSAGES = [Message(id=f"m{n}", created=NOW - timedelta(hours=n)) for n in range(TOGETHER + 100)]


def page(asked: int, first: int, count: int) -> Batch:
    window = Window(after=MESSAGES[first].created or NOW, before=None)
    listed = tuple(MESSAGES[first : first + count])
    return Batch(stream="windows", listed=listed, asked=asked, ledger=LedgerChange(put=(window,)))


def test_pages_share_a_commit_until_it_is_large() -> None:
    pages = [page(n, n * 50, 50) for n in range(12)]
    assert [len(group) for group in together(pages)] == [10, 2]


def test_a_page_larger_than_that_stands_alone() -> None:
    assert [len(group) for group in together([page(1, 0, TOGETHER + 1), page(2, 0, 1)])] == [1, 1]


def test_nothing_is_no_commit() -> None:
    assert list(together([])) == []


def test_the_later_request_comes_last() -> None:
    (group,) = together([page(7, 0, 1), page(3, 0, 1)])
    assert [batch.asked for batch in group] == [3, 7]


def test_what_is_joined_holds_all_of_each() -> None:
    fetched = Batch(stream="windows", asked=2, fetched=(Fetched(MESSAGES[9], 2),))
    whole = joined([page(1, 0, 2), fetched, page(3, 4, 1)])
    assert [m.id for m in whole.listed] == [MESSAGES[0].id, MESSAGES[1].id, MESSAGES[4].id]
    assert whole.fetched == fetched.fetched
    assert [w.after for w in whole.ledger.put] == [MESSAGES[0].created, MESSAGES[4].created]
