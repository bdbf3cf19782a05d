"""`python -m benchmarks.page --write`: docs/performance.md and its plots from the figures in results/latest.json.

Without `--write` it only says whether the page is as the figures are.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, report, sizing

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PAGE = DOCS / "performance.md"
PLOTS = DOCS / "performance"
ORDER = (
    "store",
    "path",
    "workers",
    "latency",
    "growth",
    "idle",
    "fleet",
    "neighbours",
    "visible",
    "memory",
    "profiles",
)
VERDICTS = {"aim": "aim met", "must": "met", "missed": "**missed**", "-": ""}
CURVES = (("95 %", "p95"), ("median", "median"))
NO_REASON = "Not looked into yet."
Found = Mapping[str, Mapping[str, Any]]
Row = Mapping[str, Any]


def pictures(parts: Found) -> dict[str, str]:
    """The plots whose figures are there, by file name."""
    made = {}
    if rates := _details(parts, "growth", "messages_per_cpu_second"):
        points = sorted((float(size), float(rate)) for size, rate in rates.items())
        made["mirror-size.svg"] = plots.line(
            "4,000 new messages into a mirror that holds more and more", "messages in the mirror before",
            "messages a CPU second", {"": points},
        )  # fmt: skip
    if rates := _details(parts, "latency", "messages_per_second"):
        points = sorted((float(windows), float(rate)) for windows, rate in rates.items())
        made["parallel-windows.svg"] = plots.line(
            "One account's backfill, 100 ms for each answer", "windows walked side by side", "messages a second",
            {"": points},
        )  # fmt: skip
    if curve := _details(parts, "fleet", "curve"):
        made["accounts.svg"] = plots.line(
            f"Accounts polled every {_details(parts, 'fleet', 'interval'):.0f} s", "accounts",
            "from due to polled, seconds",
            {name: [(one["accounts"], one[key]) for one in curve] for name, key in CURVES},
        )  # fmt: skip
    return made


def page(parts: Found) -> str:
    """The whole page."""
    return "\n".join(_lines(parts)) + "\n"


def _lines(parts: Found) -> Iterator[str]:
    yield _text("head")
    yield "## The targets\n"
    yield "Must is what was promised, aim what was hoped for; why one is missed stands below the table.\n"
    yield "| part | what | measured | spread | must | aim | verdict |"
    yield "|---|---|---:|---:|---:|---:|---|"
    ordered = [row for part in ORDER if part in parts for row in parts[part]["rows"]]
    yield from (_line(row) for row in ordered if row["must"] is not None)
    yield ""
    yield from _reasons(ordered)
    yield "## What else was measured\n"
    yield "| part | what | measured | spread | remark |"
    yield "|---|---|---:|---:|---|"
    yield from (_line(row, bounds=False) for row in ordered if row["must"] is None)
    yield ""
    yield "## How it grows\n"
    for name, words in sizing.ALTERNATIVES.items():
        if name in pictures(parts):
            yield f"![{words}](performance/{name})\n"
    yield from sizing.where(parts)
    yield from sizing.sizes(parts)
    yield _text("sizing")
    yield _text("beyond")
    yield from _machine(parts)


def _text(name: str) -> str:
    return (HERE / f"page_{name}.md").read_text()


def _line(row: Row, *, bounds: bool = True) -> str:
    value = row["value"]
    spread = f"{report.number(value['least'])} to {report.number(value['most'])}"
    cells = [row["part"], row["what"], report.number(value["median"], row["unit"]), spread]
    if bounds:
        sign = "≤" if row["less_is_better"] else "≥"
        cells += [f"{sign} {report.number(row[name], row['unit'])}" if row[name] is not None else ""
                  for name in ("must", "aim")]  # fmt: skip
        cells.append(VERDICTS[row["verdict"]])
    else:
        cells.append(row["note"])
    return "| " + " | ".join(cells) + " |"


def _reasons(rows: Sequence[Row]) -> Iterator[str]:
    notes = [row for row in rows if row["must"] is not None and row["note"]]
    if notes:
        yield "How, where it does not go without saying:\n"
        yield from (f"- {row['part']}, {row['what']}: {row['note']}." for row in notes)
        yield ""
    known = reasons()
    missed = [row for row in rows if row["verdict"] == "missed"]
    if missed:
        yield "### What is missed, and why\n"
        yield from (f"- **{row['what']}** ({row['part']}): {known.get(row['what'], NO_REASON)}" for row in missed)
        yield ""
    short = [row for row in rows if row["verdict"] == "must" and row["what"] in known]
    if short:
        yield "### What reaches its target, but not its aim, and why\n"
        yield from (f"- {row['what']} ({row['part']}): {known[row['what']]}" for row in short)
        yield ""


def reasons() -> dict[str, str]:
    """Reasons found by profiling, by the name of a row: `## name`, then its text."""
    found = {}
    for block in (HERE / "page_reasons.md").read_text().split("\n## ")[1:]:
        name, _, text = block.partition("\n")
        found[name.strip()] = " ".join(text.split())
    return found


def _machine(parts: Found) -> Iterator[str]:
    yield "## The machine\n"
    yield "| part | when | seconds | processor | load average before | Python | PostgreSQL | lz4 |"
    yield "|---|---|---:|---|---:|---|---|---|"
    for name in ORDER:
        if name in parts:
            facts = parts[name]["facts"]
            cells = (
                name,
                facts["when"],
                str(facts.get("seconds", "")),
                f"{facts['cpu']}, {facts['cores']} cores",
                str(facts["load"]),
                facts["python"],
                str(facts["postgres"]),
                "yes" if facts["lz4"] else "no",
            )
            yield "| " + " | ".join(cells) + " |"
    newest = max((part["facts"] for part in parts.values()), key=lambda facts: str(facts["when"]))
    versions = ", ".join(f"{name} {version}" for name, version in newest["packages"].items())
    yield f"\n{newest['system']}; {versions}."


def _details(parts: Found, part: str, name: str) -> Any:
    return next((row["details"][name] for row in parts.get(part, {}).get("rows", ()) if name in row["details"]), None)


def main() -> int:
    """Write or compare; returns 1 when they differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its plots")
    given = parser.parse_args()
    parts: Found = json.loads(report.LATEST.read_text())["parts"]
    files = {PAGE: page(parts), **{PLOTS / name: text for name, text in pictures(parts).items()}}
    if given.write:
        PLOTS.mkdir(exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
        return 0
    old = [path.name for path, text in files.items() if not path.exists() or path.read_text() != text]
    for name in old:
        sys.stderr.write(f"{name} is not as the figures are. Run: python -m benchmarks.page --write\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
