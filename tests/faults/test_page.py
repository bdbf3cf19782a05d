"""docs/faults.md says which test covers which fault, and only what is so."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import matrix
from tests.faults.rows import IDS, ROWS

ROOT = Path(__file__).resolve().parents[2]


def test_there_are_104_rows() -> None:
    numbers = {"U": 45, "D": 20, "P": 29, "S": 10}
    assert list(IDS) == [f"{part}{number}" for part, count in numbers.items() for number in range(1, count + 1)]
    assert all(row.fault and row.answer for row in ROWS)


def test_the_page_is_what_the_marks_say() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tests.faults.matrix"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert matrix.PAGE.read_text(encoding="utf-8") == made.stdout, "run: python -m tests.faults.matrix --write"


@pytest.mark.parametrize("mark", [("U46",), (), ("u1",), (1,), ("U1", "X1")])
def test_a_mark_that_names_no_row_is_an_error(request: pytest.FixtureRequest, mark: tuple[str, ...]) -> None:
    request.node.add_marker(pytest.mark.fault(*mark))
    with pytest.raises(pytest.UsageError, match="is marked with"):
        matrix.check([request.node])
