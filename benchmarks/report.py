"""What a run found: one row per promise with value, spread and verdict, as a table and as JSON."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from benchmarks.frame import Spread

RESULTS = Path(__file__).parent / "results"
LATEST = RESULTS / "latest.json"

Verdict = Literal["aim", "must", "missed", "-"]
SHOWN: Mapping[Verdict, str] = {"aim": "aim met", "must": "met", "missed": "MISSED", "-": ""}
PACKAGES = ("psycopg", "sqlalchemy", "msgspec", "httpx", "isal", "celery", "redis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise and what was measured."""

    part: str
    what: str
    value: Spread
    unit: str = "×"  # noqa: RUF001  # the sign for times
    must: float | None = None
    aim: float | None = None
    less_is_better: bool = False
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        if self.must is None:
            return "-"
        if self.aim is not None and self._reaches(self.aim):
            return "aim"
        return "must" if self._reaches(self.must) else "missed"

    def _reaches(self, bound: float) -> bool:
        return self.value.median <= bound if self.less_is_better else self.value.median >= bound


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title="Ratios of CPU in one run; value is the median over the rounds", title_justify="left")
    for name in ("part", "what", "value", "spread", "must", "aim", "verdict"):
        table.add_column(name, justify="left" if name in {"part", "what", "verdict"} else "right")
    for row in rows:
        table.add_row(
            row.part,
            row.what,
            number(row.value.median, row.unit),
            f"{number(row.value.least)} to {number(row.value.most)}",
            _bound(row.must, row),
            _bound(row.aim, row),
            SHOWN[row.verdict] + (f"; {row.note}" if row.note else ""),
        )
    Console(width=max(120, Console().width)).print(table)


def keep(rows: Sequence[Row], facts: Mapping[str, Any], path: Path = LATEST) -> None:
    """Write the rows with the machine they were measured on; parts that did not run keep what they had."""
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    for part in dict.fromkeys(row.part for row in rows):
        own = [{**asdict(row), "verdict": row.verdict} for row in rows if row.part == part]
        known["parts"][part] = {"facts": dict(facts), "rows": own}
    path.write_text(json.dumps(known, indent=1, default=str) + "\n")


def machine(**more: Any) -> dict[str, Any]:
    """Tell what the run was made on."""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        **more,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _bound(value: float | None, row: Row) -> str:
    return "" if value is None else f"{'≤' if row.less_is_better else '≥'} {number(value, row.unit)}"


def number(value: float, unit: str = "") -> str:
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0  # noqa: PLR2004  # three figures or so
    return f"{value:,.{digits}f}{' ' + unit if unit else ''}"
