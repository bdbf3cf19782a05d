"""What the formats write: cells that compute nothing, and types that need no guess."""

import csv
import io
import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.export.reading import INERT
from tests.test_layout import project
from worker.errors import UsageError
from worker.export.formats import PYARROW, Csv, JsonLines, cell, named
from worker.export.parquet import TYPES
from worker.store.export import Column, Table, month_of

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''@x"]  # noqa: RUF001  # full-width, too

TABLE = Table(
    "sample",
    "mail.sample",
    "account_id",
    (
        Column("account_id", "integer", True),
        Column("name", "text", False),
        Column("at", "time", False),
        Column("kept", "boolean", False),
        Column("words", "texts", False),
        Column("raw", "json", False),
        Column("changed_in", "transaction", True),
    ),
)
AT = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
ROW = (1, 'Ann "A", Lee', AT, True, ["a", "=b"], '{"n": 1.00}', 12)


def written(kind: Any, *rows: tuple[Any, ...]) -> bytes:
    file = io.BytesIO()
    writer = kind(file, TABLE)
    writer.write(rows)
    writer.finish()
    return file.getvalue()


def read(text: str) -> str:
    ((value, _),) = csv.reader(io.StringIO(f"{text},\r\n", newline=""), strict=True)
    return value


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_compute_is_inert(text: str) -> None:
    assert read(cell(text)) == f"'{text}"


@pytest.mark.parametrize("text", ["plain", "1 = 1", " =1", "'tis", "a,b", 'a"b', "a\r\nb"])
def test_other_text_stands_there_as_it_is(text: str) -> None:
    assert read(cell(text)) == text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@example("'=x")
@example("\r\n")
def test_every_text_can_be_had_back(text: str) -> None:
    shown = read(cell(text))
    assert shown[:1] not in tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001  # full-width, too
    assert (shown[1:] if INERT.match(shown) else shown) == text


def test_a_line_of_csv() -> None:
    head, line, _ = written(Csv, ROW).decode().split("\r\n")
    assert head == "account_id,name,at,kept,words,raw,changed_in"
    assert line == '1,"Ann ""A"", Lee",2026-02-28T23:30:00Z,true,"[""a"",""=b""]","{""n"": 1.00}",12'


def test_null_and_an_empty_text_are_two_things_in_csv() -> None:
    _, null, empty, _ = written(Csv, (1, *[None] * 5, 1), (1, "", *[None] * 4, 1)).decode().split("\r\n")
    assert (null, empty) == ("1,,,,,,1", '1,"",,,,,1')


def test_a_line_of_json() -> None:
    line = written(JsonLines, (1, "a\nb\u2028c", AT.astimezone(UTC), None, [], '{"n": 1.00}', 12)).decode()
    assert line.count("\n") == 1
    assert '"raw":{"n": 1.00}' in line, "numbers stand there as they were"
    assert json.loads(line) == {
        "account_id": 1, "name": "a\nb\u2028c", "at": "2026-02-28T23:30:00Z", "kept": None, "words": [],
        "raw": {"n": 1.0}, "changed_in": 12,
    }  # fmt: skip


def test_types_of_parquet() -> None:
    assert (TYPES["time"], TYPES["text"]) == (pa.timestamp("us", "UTC"), pa.string())
    assert TYPES["integer"] == TYPES["transaction"] == pa.int64()


@pytest.mark.parametrize(
    ("created", "month"),
    [
        (None, "unknown"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01"),
        (datetime(9999, 12, 31, tzinfo=UTC), "9999-12"),
        (AT, "2026-02"),
    ],
)
def test_months_are_those_of_utc(created: datetime | None, month: str) -> None:
    assert month_of(created) == month


def test_what_is_to_be_installed_is_what_the_project_asks_for() -> None:
    extras = project()["optional-dependencies"]
    assert isinstance(extras, dict)
    assert extras["parquet"] == [PYARROW]
    assert PYARROW in extras["dev"]


def test_without_pyarrow_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "worker.export.parquet", raising=False)
    with pytest.raises(UsageError, match="pip install 'pyarrow"):
        named("parquet")
    assert named("jsonl").suffix == "jsonl"
