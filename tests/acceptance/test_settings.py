"""What is kept follows the settings, also when they change; accounts that hold equal ids do not touch each other."""

from typing import Any

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Upstream

KEPT: dict[str, dict[str, Any]] = {
    "text alone": {"bodies": "text"},
    "no bodies": {"bodies": "none"},
    "at most 100 bytes": {"max_body": 100},
    "nothing of a body": {"max_body": 0},
}


@pytest.mark.parametrize("kept", KEPT)
def test_bodies_are_kept_as_the_settings_say(calm_upstream: Upstream, mirror_of: MakeMirror, kept: str) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(150), **KEPT[kept])
    mirrored.sync()
    mirrored.must_be_equal()


def test_a_changed_setting_rewrites_what_is_walked_again(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(150, "outlook_email"), bodies="none")
    mirrored.sync()
    mirrored.with_settings(bodies="full")
    mirrored.walk_again()
    assert mirrored.sync().totals.updated == 150
    mirrored.must_be_equal()


@pytest.mark.fault("D13")
def test_two_accounts_with_the_same_ids_do_not_touch_each_other(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(150)
    one, other = mirror_of(box, tenant="one"), mirror_of(box, tenant="other")
    one.sync()
    other.sync()
    gone = box.delete(random=10, seed=1)
    box.churn(20, 1)
    other.sync()
    assert set(gone) <= other.tombstones()
    assert not one.tombstones()
    one.sync()
    for mirrored in (one, other):
        mirrored.must_be_equal()
