"""An account whose plan or service has no activity is mirrored and kept current by listing alone."""

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mailbox, Mirrored, Upstream


def made(calm_upstream: Upstream, mirror_of: MakeMirror, service: str) -> tuple[Mailbox, Mirrored]:
    box = calm_upstream.mailbox(400, service)
    if service != "imap":
        box.set(activity="forbidden")
    mirrored = mirror_of(box)
    assert mirrored.sync().quiet
    return box, mirrored


@pytest.mark.fault("U40")
@pytest.mark.parametrize("service", ["gmail", "imap"])
def test_a_mailbox_without_activity_is_mirrored_and_says_so(
    calm_upstream: Upstream, mirror_of: MakeMirror, service: str
) -> None:
    _, mirrored = made(calm_upstream, mirror_of, service)
    mirrored.must_be_equal()
    status, reason = mirrored.sql("select status, status_reason from mail.accounts where id = %s", mirrored.id)[0]
    assert status == "degraded"
    assert "listing" in reason


def test_new_mail_arrives_with_the_next_sync(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box, mirrored = made(calm_upstream, mirror_of, "gmail")
    arrived = box.deliver(7)
    mirrored.sync()
    assert set(arrived) <= mirrored.live()
    mirrored.must_be_equal()


def test_walks_find_deletions_changes_and_late_mail(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box, mirrored = made(calm_upstream, mirror_of, "gmail")
    gone = box.delete(random=9, seed=1)
    late = box.deliver(3, created="2001-02-03T04:05:06Z")
    box.do("relabel", random=20, seed=2, add=["Seen again"], remove=["INBOX"])
    box.deliver(2)
    mirrored.walk_again()
    mirrored.sync()
    mirrored.must_be_equal()
    assert set(late) <= mirrored.live()
    assert mirrored.tombstones() == set(gone)
    found = mirrored.sql("select distinct found_gone from mail.messages where deleted_at is not null")
    assert found == [("sweep",)]


def test_activity_that_comes_back_is_used_again(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box, mirrored = made(calm_upstream, mirror_of, "gmail")
    box.set(activity="on")
    mirrored.sql("update sync.cursors set moved_at = moved_at - interval '25 hours', read_at = read_at - interval"
                 " '25 hours' where account_id = %s", mirrored.id)  # fmt: skip
    mirrored.sync()
    box.delete(random=5, seed=3)
    box.deliver(1, created="1999-01-01T00:00:00Z")
    mirrored.sync()
    mirrored.must_be_equal()
    assert mirrored.one("select status from mail.accounts where id = %s", mirrored.id) == "active"
