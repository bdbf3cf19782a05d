"""A mass disappearance is held and shown, never applied by itself (faults.md U43)."""

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Upstream


@pytest.mark.fault("U43")
def test_a_listing_that_is_suddenly_empty_deletes_nothing(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(400)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.arm("empty_list", route="list", count=None)
    mirrored.walk_again()
    assert mirrored.sync().quiet
    assert mirrored.tombstones() == set()
    assert {kind for kind, _ in mirrored.problems()} == {"page"}
    mirrored.must_be_equal()
    box.calm()
    mirrored.walk_again()
    mirrored.sync()
    mirrored.must_be_equal()
    assert mirrored.problems() == []


@pytest.mark.fault("U43")
@pytest.mark.parametrize("at_once", [1, 8], ids=["one window at a time", "eight at once"])
def test_half_of_the_mailbox_gone_without_a_word_is_held(
    calm_upstream: Upstream, mirror_of: MakeMirror, at_once: int
) -> None:
    box = calm_upstream.mailbox(400)
    box.set(activity="forbidden")
    mirrored = mirror_of(box, parallel_windows=at_once, window_messages=40)
    assert mirrored.sync().quiet
    gone = box.delete(random=200, seed=1)
    mirrored.walk_again()
    mirrored.sync()
    report = mirrored.truth()
    assert report.missing == ()
    assert set(report.extra) | mirrored.tombstones() == set(gone)
    held = {subject for kind, subject in mirrored.problems() if kind == "held_delete"}
    assert held == set(report.extra)
    assert len(mirrored.tombstones()) < 80


@pytest.mark.parametrize(("deleted", "held"), [(150, False), (260, True)])
def test_announced_deletions_are_held_from_half_of_the_mailbox_on(
    calm_upstream: Upstream, mirror_of: MakeMirror, deleted: int, held: bool
) -> None:
    box = calm_upstream.mailbox(400)
    mirrored = mirror_of(box)
    mirrored.sync()
    gone = set(box.delete(random=deleted, seed=2))
    mirrored.sync()
    problems = {subject for kind, subject in mirrored.problems() if kind == "held_delete"}
    assert bool(problems) == held
    assert problems | mirrored.tombstones() == gone
    assert not problems & mirrored.tombstones()
    if held:
        assert set(mirrored.truth().extra) == problems
    else:
        mirrored.must_be_equal()


def test_the_last_four_messages_may_all_go(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(4)
    mirrored = mirror_of(box)
    mirrored.sync()
    gone = box.delete(all=True)
    mirrored.sync()
    assert mirrored.tombstones() == set(gone)
    mirrored.must_be_equal()
