"""docs/dbt/sources.yml says what the database says."""

import os
from pathlib import Path
from typing import Any

import psycopg
import yaml

from tests.analytics.dbt import sources

FILE = Path(__file__).resolve().parents[2] / "docs" / "dbt" / "sources.yml"


def test_the_dbt_source_file_is_written_from_the_comments(connection: psycopg.Connection[Any]) -> None:
    text = sources(connection)
    if os.environ.get("WRITE_DOCS"):
        FILE.write_text(text, encoding="utf-8")
    assert FILE.read_text(encoding="utf-8") == text, "run this test once with WRITE_DOCS=1"


def test_it_names_every_view_people_query_and_nothing_of_the_machinery() -> None:
    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert found["version"] == 2
    tables = {(source["schema"], table["name"]) for source in found["sources"] for table in source["tables"]}
    assert {("mail", "messages"), ("mail", "live_messages"), ("analytics", "replies")} <= tables
    assert {schema for schema, _ in tables} == {"mail", "analytics"}
    columns = [c for source in found["sources"] for table in source["tables"] for c in table["columns"]]
    assert all(column["description"] and column["data_type"] for column in columns)
