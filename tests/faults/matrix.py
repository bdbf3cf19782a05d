"""Collects the `fault` marks of all tests, and writes docs/faults.md from them.

python -m tests.faults.matrix            print the page
python -m tests.faults.matrix --write    write it
"""

import contextlib
import io
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.faults.rows import IDS, PARTS, ROWS, Row

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"

INTRODUCTION = """# What can go wrong, and what must come of it

Written by `python -m tests.faults.matrix --write` from `tests/faults/rows.py` and the `fault` marks of the tests.
A test counts only when it lets the fault happen and asserts the right answer.

**{covered} of {all} rows are covered.** {parts}
"""


def check(items: Iterable[pytest.Item]) -> None:
    """Raise UsageError for a mark without a number, or with one that no row has."""
    for item in items:
        for mark in item.iter_markers("fault"):
            unknown = [repr(one) for one in mark.args if one not in IDS]
            if unknown or mark.kwargs or not mark.args:
                wrong = ", ".join(unknown) or "no fault at all"
                raise pytest.UsageError(
                    f"{item.nodeid} is marked with {wrong}; known are those of tests/faults/rows.py"
                )


def place(item: pytest.Item) -> str:
    """Name the test an item comes from, without its parameters."""
    return item.nodeid.partition("[")[0]


class Collector:
    """A plugin that keeps which test covers which fault."""

    def __init__(self) -> None:
        self.tests: dict[str, set[str]] = defaultdict(set)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        check(items)
        for item in items:
            for mark in item.iter_markers("fault"):
                for id_ in mark.args:
                    self.tests[id_].add(place(item))


def collected() -> Mapping[str, set[str]]:
    """Collect every test of the project; raises SystemExit with pytest's words when that fails."""
    collector, words = Collector(), io.StringIO()
    with contextlib.redirect_stdout(words):
        code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", str(ROOT / "tests")], [collector])
    if code != 0:
        raise SystemExit("\n".join(line for line in words.getvalue().splitlines() if not line.startswith("tests/")))
    return collector.tests


def page(tests: Mapping[str, set[str]]) -> str:
    """Write the page."""
    covered = [row.id for row in ROWS if tests.get(row.id)]
    parts = ", ".join(
        f"{name.lower()} {sum(id_[0] == letter for id_ in covered)} of {sum(id_[0] == letter for id_ in IDS)}"
        for letter, name in PARTS.items()
    )
    lines = [INTRODUCTION.format(covered=len(covered), all=len(ROWS), parts=f"{parts[0].upper()}{parts[1:]}.")]
    for letter, name in PARTS.items():
        lines += [f"## {name}\n", "| # | Fault | Right answer | Tests |", "|---|---|---|---|"]
        lines += [_line(row, tests.get(row.id, set())) for row in ROWS if row.id[0] == letter]
        lines.append("")
    return "\n".join(lines)


def _line(row: Row, tests: Iterable[str]) -> str:
    named = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in sorted(tests))
    return f"| {row.id} | {row.fault} | {row.answer} | {named or f'**none:** {row.missing}'} |"


def contradictions(tests: Mapping[str, set[str]]) -> list[str]:
    """Rows that have neither a test nor a reason, or both."""
    return [row.id for row in ROWS if bool(tests.get(row.id)) == bool(row.missing)]


def main(arguments: list[str]) -> None:
    """Print or write the page; a row without test and reason, or with both, is an error."""
    tests = collected()
    wrong = contradictions(tests)
    if wrong:
        raise SystemExit(f"Neither or both of test and reason: {', '.join(wrong)}")
    if "--write" in arguments:
        PAGE.write_text(page(tests), encoding="utf-8")
    else:
        sys.stdout.write(page(tests))


if __name__ == "__main__":
    main(sys.argv[1:])
