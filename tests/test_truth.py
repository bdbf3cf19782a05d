"""The judge of mirrors is independent of them, and has its own reading of the rules."""

import ast
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import truth
from tests.truth import moment, normalised

SOURCE = Path(truth.__file__)


def test_the_judge_shares_nothing_with_what_it_judges() -> None:
    tree = ast.parse(SOURCE.read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    assert not imported & {"worker", "models", "tests", "alembic", "sqlalchemy", "msgspec"}
    assert "__import__" not in SOURCE.read_text()
    assert "importlib" not in imported


LONG = "x" * 320 + "@Example.COM"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("Ann@Example.COM", "ann@example.com"),
        ("  ann@example.com ", "ann@example.com"),
        ("Straße@example.com", "strasse@example.com"),
        ("ann@Bücher.example", "ann@xn--bcher-kva.example"),
        ("a.n+n@example.com", "a.n+n@example.com"),
        ('"A B"@Example.com', '"a b"@example.com'),
        ("one@two@Three.com", "one@two@three.com"),
        ("Undisclosed Recipients", "undisclosed recipients"),
        ("ann@no domain ü", "ann@no domain ü"),
        ("", None),
        ("   ", None),
        (None, None),
        (LONG, LONG.lower()[:200] + "#" + hashlib.sha256(LONG.lower().encode()).hexdigest()),
    ],
)
def test_an_address_has_one_normal_form(written: str | None, key: str | None) -> None:
    assert normalised(written) == key


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2020-02-29T12:30:45Z", datetime(2020, 2, 29, 12, 30, 45, tzinfo=UTC)),
        ("2020-02-29T12:30:45.999999Z", datetime(2020, 2, 29, 12, 30, 45, tzinfo=UTC)),
        ("2020-03-01T00:30:00+01:00", datetime(2020, 2, 29, 23, 30, tzinfo=UTC)),
        ("2020-02-30T00:00:00Z", None),
        ("2020-02-29T12:30:45", None),
        ("2020-02-29", None),
        ("0000-01-01T00:00:00Z", None),
        ("10000-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_a_time_is_valid_with_its_zone_and_a_year_that_exists(text: str, meant: datetime | None) -> None:
    assert moment(text) == meant
