"""docs/analytics.md: the questions it asks, and the answers it shows."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "analytics.md"
BLOCK = re.compile(r"### (\d+\. [^\n]+)\n\n```sql\n(.*?)\n```\n(?:\n```text\n(.*?)\n```\n)?", re.DOTALL)


class Question(NamedTuple):
    """One question of the page."""

    title: str
    sql: str
    answer: str


def questions() -> list[Question]:
    """All questions, in order."""
    return [Question(*found) for found in BLOCK.findall(PAGE.read_text(encoding="utf-8"))]


def answered(sql: psycopg.Connection[Any], query: str) -> str:
    """What the query returns, as a table for people."""
    cursor = sql.execute(query.encode())
    assert cursor.description is not None
    rows = [[column.name for column in cursor.description], *([_shown(value) for value in row] for row in cursor)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def rewritten(answers: dict[str, str]) -> str:
    """The page with these answers to its questions."""

    def block(found: re.Match[str]) -> str:
        return f"### {found[1]}\n\n```sql\n{found[2]}\n```\n\n```text\n{answers[found[1]]}\n```\n"

    return BLOCK.sub(block, PAGE.read_text(encoding="utf-8"))


def _shown(value: object) -> str:
    return "" if value is None else str(value)
