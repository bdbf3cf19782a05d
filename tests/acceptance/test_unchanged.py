"""An unchanged mailbox costs one request, and not one row of schema mail is written."""

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Upstream


@pytest.mark.fault("S8")
def test_a_second_sync_writes_no_row_and_asks_once(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(600, "outlook_email")
    mirrored = mirror_of(box)
    mirrored.sync()
    written, versions, asked = mirrored.written(), mirrored.versions(), box.last_request()
    assert written["messages"] >= 600
    run = mirrored.sync()
    assert run.quiet
    assert (run.requests, box.last_request() - asked) == (1, 1)
    assert mirrored.written() == written
    assert mirrored.versions() == versions


@pytest.mark.fault("S8")
def test_a_whole_walk_of_an_unchanged_mailbox_writes_no_row(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(600, "outlook_email")
    mirrored = mirror_of(box)
    mirrored.sync()
    written, versions = mirrored.written(), mirrored.versions()
    mirrored.walk_again()
    run = mirrored.sync()
    assert run.totals.unchanged == 600
    assert mirrored.written() == written
    assert mirrored.versions() == versions


@pytest.mark.fault("D20")
def test_file_ids_that_change_at_every_read_write_no_row(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(300, "outlook_email", switches={"attachment_ids": "changing"})
    mirrored = mirror_of(box)
    mirrored.sync()
    written = mirrored.written()
    mirrored.walk_again()
    assert mirrored.sync().totals.unchanged == 300
    assert mirrored.written() == written
