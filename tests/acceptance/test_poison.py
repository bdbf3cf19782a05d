"""What cannot be read fails alone, is a problem that everybody sees, and stops being one (faults.md U9, D1-D6)."""

from typing import Any

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Upstream

MESSAGES = 300
OBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "no object at all": ("poison_object", {"value": "this is no message"}),
    "a field of the wrong type": ("set_field", {"field": "subject", "value": 17}),
    "recipients of the wrong type": ("set_field", {"field": "to", "value": {"email": "a@example.com"}}),
    "no id": ("set_field", {"field": "id", "value": None}),
    "not a number": ("nan", {}),
}


@pytest.mark.fault("U9", "D5", "D6")
@pytest.mark.parametrize("what", OBJECTS)
def test_a_poison_object_fails_alone_and_clears_itself(
    calm_upstream: Upstream, mirror_of: MakeMirror, what: str
) -> None:
    kind, args = OBJECTS[what]
    box = calm_upstream.mailbox(MESSAGES)
    poisoned = box.ids()[123]
    box.arm(kind, message_id=poisoned, count=None, args=args)
    mirrored = mirror_of(box)
    assert mirrored.sync().quiet
    report = mirrored.truth()
    assert (report.missing, report.extra, report.stale) == ((poisoned,), (), ())
    assert [found for found, _ in report.open_problems] == ["message"]
    box.calm()
    mirrored.retry_now()
    mirrored.walk_again()
    mirrored.sync()
    mirrored.must_be_equal()
    assert mirrored.problems() == []


@pytest.mark.fault("U9")
def test_a_page_that_is_never_json_costs_one_second_of_mail(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(MESSAGES)
    poisoned = box.ids()[123]
    box.arm("poison_page", message_id=poisoned, count=None, args={"where": ["list"]})
    mirrored = mirror_of(box)
    run = mirrored.sync()
    assert run.quiet
    assert run.requests < 400
    report = mirrored.truth()
    assert (report.missing, report.extra, report.stale, report.flaws) == ((poisoned,), (), (), ())
    assert [kind for kind, _ in report.open_problems] == ["page"]
    box.calm()
    mirrored.walk_again()
    mirrored.sync()
    mirrored.must_be_equal()
    assert mirrored.problems() == []


def test_a_page_poisoned_for_a_while_leaves_no_trace(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(MESSAGES)
    box.arm("poison_page", message_id=box.ids()[123], count=2, args={"where": ["list"]})
    mirrored = mirror_of(box)
    mirrored.sync()
    report = mirrored.must_be_equal()
    assert report.open_problems == ()


CLEANED = {
    "nul": {"snippet", "subject", "text_body", "sender"},
    "lone_surrogate": {"snippet", "subject", "text_body", "sender"},
    "impossible_date": {"created"},
    "huge_integer": {"rfc822"},
}


@pytest.mark.fault("D1", "D2", "D4", "D15")
@pytest.mark.parametrize("kind", CLEANED)
def test_what_postgres_cannot_hold_is_cleaned_and_named(
    calm_upstream: Upstream, mirror_of: MakeMirror, kind: str
) -> None:
    box = calm_upstream.mailbox(120)
    odd = next(one["id"] for one in box.shown() if not one["attachments"] and (one["from"] or {}).get("name"))
    box.arm(kind, message_id=odd, count=None)
    mirrored = mirror_of(box)
    mirrored.sync()
    assert len(mirrored.live()) == 120
    assert mirrored.problems() == []
    altered = mirrored.one("select altered from mail.messages where message_id = %s", odd)
    assert set(altered) == CLEANED[kind]
    box.calm()
    mirrored.walk_again()
    mirrored.sync()
    mirrored.must_be_equal()
