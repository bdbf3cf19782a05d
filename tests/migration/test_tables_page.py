"""docs/tables.md says what the database says."""

import os
from pathlib import Path

import psycopg

from tests.migration import catalog

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"


def test_the_page_of_tables_is_written_from_the_comments(connection: psycopg.Connection) -> None:
    page = catalog.tables_page(connection)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page, "run this test once with WRITE_DOCS=1"
