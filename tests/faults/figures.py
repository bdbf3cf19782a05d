"""How much was tried: with `-p tests.faults.figures` pytest ends with the numbers of points, seeds, payloads, mutants.

A test says `count("payloads")` as often as it tries one, or `name("mutants", "no fence: killed by …")`.
"""

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

SIMULATED = "tests/faults/test_simulation.py::test_every_promise_holds_whatever_the_schedule"
COUNTED, NAMED = "counted in a test", "named in a test"

_counted: Counter[str] = Counter()
_named: list[tuple[str, str]] = []


def count(what: str, many: int = 1) -> None:
    """Count something that was tried."""
    _counted[what] += many


def name(what: str, one: str) -> None:
    """Keep a line to be shown under a title."""
    _named.append((what, one))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give what the test has counted into its report, which xdist carries to the process that shows it."""
    report = yield
    if call.when == "call":
        report.user_properties += [(COUNTED, dict(_counted)), (NAMED, list(_named))]
        _counted.clear()
        _named.clear()
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the sums."""
    counted: Counter[str] = Counter()
    named: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("passed", []):
        if report.when != "call":
            continue
        counted["simulated seeds"] += report.nodeid.startswith(SIMULATED)
        for key, value in report.user_properties:
            if key == COUNTED:
                counted.update(value)
            elif key == NAMED:
                for what, one in value:
                    named.setdefault(what, []).append(one)
    terminalreporter.section("tried")
    for what, many in sorted(counted.items()):
        terminalreporter.line(f"{many:8,} {what}")
    for what, lines in sorted(named.items()):
        terminalreporter.line(f"{len(lines):8,} {what}")
        for one in sorted(lines):
            terminalreporter.line(f"         {one}")
