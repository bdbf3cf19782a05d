"""Deleted mail: a tombstone that keeps what was known, and that only the upstream's own word brings back."""

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mailbox, Mirrored, Upstream

CHILDREN = ("message_people", "message_labels", "attachments")


@pytest.fixture
def box(calm_upstream: Upstream) -> Mailbox:
    return calm_upstream.mailbox(200)


@pytest.fixture
def mirrored(box: Mailbox, mirror_of: MakeMirror) -> Mirrored:
    made = mirror_of(box)
    made.sync()
    return made


def children(mirrored: Mirrored, ids: list[str], view: str = "") -> dict[str, list[tuple[object, ...]]]:
    """Every child row of these messages, in an order of its own."""
    return {
        table: sorted(mirrored.sql(f"select * from mail.{view}{table} where message_id = any(%s)", ids), key=repr)
        for table in CHILDREN
    }


def bury(mirrored: Mirrored, message_id: str) -> None:
    """Make a tombstone of a message that is still there upstream."""
    mirrored.sql("update mail.messages set deleted_at = sync.now(), found_gone = 'event' where message_id = %s",
                 message_id)  # fmt: skip


def test_a_deleted_message_becomes_a_tombstone_and_keeps_its_children(box: Mailbox, mirrored: Mirrored) -> None:
    before = children(mirrored, box.ids())
    gone = box.delete(random=12, seed=1)
    kept = {table: [row for row in rows if row[1] in gone] for table, rows in before.items()}
    mirrored.sync()
    assert mirrored.tombstones() == set(gone)
    assert children(mirrored, gone) == kept
    assert all(kept.values())
    assert not any(children(mirrored, gone, view="live_").values())
    mirrored.must_be_equal()


@pytest.mark.fault("U31")
def test_a_list_page_does_not_revive_a_tombstone(box: Mailbox, mirrored: Mirrored) -> None:
    ghost = box.ids()[17]
    bury(mirrored, ghost)
    box.arm("not_found", route="get", path=ghost, count=None)
    mirrored.walk_again()
    mirrored.sync()
    assert mirrored.tombstones() == {ghost}
    assert mirrored.problems() in ([], [("pending", ghost)])


def test_a_get_revives_a_tombstone_that_a_list_shows(box: Mailbox, mirrored: Mirrored) -> None:
    back = box.ids()[17]
    bury(mirrored, back)
    mirrored.walk_again()
    assert mirrored.sync().totals.revived == 1
    mirrored.must_be_equal()
    assert mirrored.tombstones() == set()
    assert mirrored.problems() == []
    assert mirrored.one("select found_gone from mail.messages where message_id = %s", back) is None


def test_an_event_revives_a_tombstone(box: Mailbox, mirrored: Mirrored) -> None:
    back = box.ids()[17]
    bury(mirrored, back)
    box.do("relabel", message_id=back, add=["Restored"])
    mirrored.sync()
    mirrored.must_be_equal()


@pytest.mark.fault("U30")
def test_a_deletion_of_a_message_never_seen_leaves_a_tombstone(box: Mailbox, mirrored: Mirrored) -> None:
    [unseen] = box.deliver(1)
    box.delete(message_id=unseen)
    mirrored.sync()
    found = mirrored.sql("select subject, digest, found_gone from mail.messages where message_id = %s", unseen)
    assert found == [(None, None, "event")]
    assert mirrored.tombstones() == {unseen}
    mirrored.must_be_equal()


def test_a_404_that_is_not_the_apis_own_deletes_nothing(box: Mailbox, mirrored: Mirrored) -> None:
    box.do("relabel", random=3, seed=4, add=["Touched"])
    box.arm("html_404", route="get", count=None)
    mirrored.sync()
    assert mirrored.tombstones() == set()
    box.calm()
    mirrored.retry_now()
    mirrored.sync()
    mirrored.must_be_equal()
    assert mirrored.problems() == []


@pytest.mark.fault("U29")
def test_a_new_message_that_answers_404_is_pending_not_gone(box: Mailbox, mirrored: Mirrored) -> None:
    [fresh] = box.deliver(1)
    box.arm("not_found", route="get", path=fresh)
    mirrored.sync()
    assert mirrored.problems() == [("pending", fresh)]
    assert mirrored.tombstones() == set()
    mirrored.retry_now()
    mirrored.sync()
    mirrored.must_be_equal()
    assert mirrored.problems() == []
    assert mirrored.problems("closed") == [("pending", fresh)]


def test_a_moved_message_with_a_new_id_is_a_tombstone_and_a_new_message(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box = calm_upstream.mailbox(200, "outlook_email", switches={"move_changes_id": True})
    mirrored = mirror_of(box)
    mirrored.sync()
    before = set(box.ids())
    box.do("move", random=8, seed=5, folder="Archive")
    mirrored.sync()
    mirrored.must_be_equal()
    assert mirrored.tombstones() == before - set(box.ids())
