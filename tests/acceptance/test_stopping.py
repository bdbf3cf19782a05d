"""A run may be stopped after any commit: the ledger tiles, what is done stays done, and the next run goes on."""

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Upstream

MISSING_FROM_DONE = """
select count(*) from unnest(%s::text[], %s::timestamptz[]) as u (message_id, created)
join sync.windows w on w.account_id = %s and w.state = 'done' and u.created >= w.after
    and (w.before is null or u.created < w.before)
where not exists (select from mail.messages m where m.account_id = w.account_id and m.message_id = u.message_id)
"""


@pytest.mark.parametrize("order", ["newest", "shuffled"])
def test_a_sync_in_many_small_runs_reads_every_page_about_once(
    calm_upstream: Upstream, mirror_of: MakeMirror, order: str
) -> None:
    messages, page = 1200, 25
    box = calm_upstream.mailbox(messages, switches={"order": order, "page_size_cap": page})
    shown = box.shown()
    ids, created = [one["id"] for one in shown], [one["created"] for one in shown]
    mirrored = mirror_of(box, window_messages=300)
    first, runs, held = box.last_request(), 0, 0
    while not mirrored.sync_a_little(6 + runs % 5).quiet:
        runs += 1
        assert runs < 120, "the runs get nowhere"
        report = mirrored.truth()
        assert not [flaw for flaw in report.flaws if "ledger" in flaw]
        assert (report.extra, report.stale) == ((), ())
        assert mirrored.one(MISSING_FROM_DONE, ids, created, mirrored.id) == 0
        assert report.checked - len(report.missing) >= held
        held = report.checked - len(report.missing)
    assert runs > 3
    mirrored.must_be_equal()
    listed = [one for one in box.requests(first) if one["route"] == "list"]
    assert len(listed) < 2 * messages / page + 40
