"""docs/security.md points to tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_claim_has_its_test() -> None:
    section = PAGE.partition("## What is done")[2].partition("## What is not done")[0]
    claims = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| what |")]
    assert len(claims) > 20
    assert [claim for claim in claims if "`tests/" not in claim.rpartition(" | ")[2]] == []


def test_its_links_lead_somewhere() -> None:
    for page, _, place in re.findall(r"\]\(([\w./-]+\.md)(#([\w-]+))?\)", PAGE):
        text = (ROOT / "docs" / page).read_text()
        headings = {
            re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert not place or place in headings
