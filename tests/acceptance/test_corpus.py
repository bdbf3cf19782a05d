"""Real mail: every message of the corpus stands in the mirror, equal in every field, with no problem left."""

import os
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import upstream

SMALL = ("hard-cases.tar.gz", "osst-users-to-2021.mbox.gz")
REST = (
    "spamassassin-easy_ham-hard_ham-spam.mbox.gz",
    "linux-man-2020-2021.mbox.gz",
    "usrp-users-2019-2021.mbox.gz",
)
FILES = SMALL + (REST if os.environ.get("MAILMIRROR_TEST_WHOLE_CORPUS") else ())
PLAIN: tuple[str, ...] = ()
ODD = ("--switch", "paging=offset", "--switch", "order=shuffled", "--switch", "wild_dates=true")


@pytest.mark.parametrize("way", [PLAIN, ODD], ids=["plain", "offset-shuffled-wild"])
@pytest.mark.parametrize("name", FILES)
def test_real_mail_is_mirrored_in_every_field(
    corpus: Path, mirror_of: MakeMirror, name: str, way: tuple[str, ...]
) -> None:
    with upstream("--mbox", str(corpus / name), *way) as running:
        mirrored = mirror_of(running.served()[0])
        run = mirrored.sync()
        assert run.quiet
        report = mirrored.must_be_equal()
    assert report.checked == len(mirrored.live())
    assert report.checked > 900
    assert report.open_problems == ()
    assert report.open_windows == 0
    if name == SMALL[0] and way == ODD:
        oldest, newest = mirrored.sql("select min(created), max(created) from mail.messages")[0]
        assert (oldest.year, newest.year) < (1900, 9999)
        assert newest.year > 2100, "wild dates are what this is about"
