"""The ten questions of docs/analytics.md: what they return, and that they find it by index in a million messages."""

import os
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.analytics import made, page
from tests.conftest import PostgresServer
from worker.store.roles import SETTINGS

Sql = psycopg.Connection[Any]

MILLION = dict.fromkeys(range(1, 21), 50_000)
YEAR = 365
SLOWEST = float(os.environ.get("MAILMIRROR_TEST_SLOWEST", "60"))
"""Seconds no question may take; far above what the page says, since a machine may be busy."""


def analyst_of(server: PostgresServer, sizes: dict[int, int], days: int) -> Iterator[Sql]:
    """A connection with the analyst's rights and settings to made-up mailboxes of these sizes."""
    name = server.create(server.migrated_template())
    with psycopg.connect(server.plain_url(name), autocommit=True) as opened:
        made.fill(opened, sizes, days)
        opened.execute("set session authorization mailmirror_analyst")
        opened.execute("set time zone 'UTC'")
        for setting, value in SETTINGS["analyst"].items():
            opened.execute(f"set {setting} to {', '.join(repr(part) for part in value.split(', '))}".encode())
        yield opened
    server.drop(name)


@pytest.fixture(scope="module")
def small(any_postgres: PostgresServer) -> Iterator[Sql]:
    yield from analyst_of(any_postgres, {1: 3000, 2: 500}, YEAR)


@pytest.fixture(scope="module")
def large(postgres: PostgresServer) -> Iterator[Sql]:
    yield from analyst_of(postgres, MILLION, 10 * YEAR)


def test_there_are_ten() -> None:
    assert [question.title.partition(".")[0] for question in page.questions()] == [str(n) for n in range(1, 11)]


def test_the_page_shows_what_the_queries_return(small: Sql) -> None:
    answers = {question.title: page.answered(small, question.sql) for question in page.questions()}
    if os.environ.get("WRITE_DOCS"):
        page.PAGE.write_text(page.rewritten(answers), encoding="utf-8")
    assert {q.title: q.answer for q in page.questions()} == answers, "run this test once with WRITE_DOCS=1"


def plan_of(sql: Sql, query: str) -> dict[str, Any]:
    """Run the query and return its plan with what happened."""
    row = sql.execute(f"explain (analyze, timing off, buffers, format json) {query}".encode()).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]
    return plan


def planned(sql: Sql, query: str) -> dict[str, Any]:
    """The plan alone."""
    row = sql.execute(f"explain (format json) {query}".encode()).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


SPAN = "{} >= '2025-10-01 00:00+00' and {} < '2026-01-01 00:00+00'"
TIMES = {
    "messages": "created",
    "counted_messages": "created",
    "threads": "last_at",
    "replies": "replied_at",
    "awaiting_reply": "since",
    "attachments": "created",
    "label_history": "created",
    "folder_history": "created",
    "time_to_read": "created",
    "time_in_folder": "created",
    "volumes_by_day('UTC', '2025-10-01', '2025-12-31')": None,
    "volumes_by_hour('Europe/Berlin', '2025-10-01', '2025-12-31')": None,
}
"""What has a time, and the column to filter on."""
TIMELESS = [
    "correspondents",
    "attachment_types",
    "possible_own_addresses",
    "own_addresses",
    "freshness",
    "labels_by_day()",
    "folders_by_day()",
]
LARGE = {"messages", "message_people", "message_labels", "message_labels_past", "message_folders_past", "attachments"}


def whole_tables(plan: list[dict[str, Any]]) -> list[str]:
    """Large tables that are read from end to end."""
    return [n["Relation Name"] for n in plan if n["Node Type"] == "Seq Scan" and n["Relation Name"] in LARGE]


@pytest.mark.thorough
@pytest.mark.slow
def test_every_question_about_one_account_in_a_million_messages_goes_by_index(
    large: Sql, capsys: pytest.CaptureFixture[str]
) -> None:
    assert large.execute("select count(*) from mail.messages").fetchone() == (1_000_000,)
    for question in page.questions():
        began = time.monotonic()
        rows = len(large.execute(question.sql.encode()).fetchall())
        took = time.monotonic() - began
        plan = list(nodes(plan_of(large, question.sql)["Plan"]))
        with capsys.disabled():
            print(f"\n{question.title:60} {took * 1000:8.0f} ms {rows:3} rows", end="")  # noqa: T201
        assert not whole_tables(plan), question.title
        sorted_rows = [n["Actual Rows"] * n["Actual Loops"] for n in plan if "Sort" in n["Node Type"]]
        assert max(sorted_rows, default=0) < 2 * MILLION[1], "no more than this account's mail, and whom it went to"
        assert took < SLOWEST, question.title


@pytest.mark.thorough
@pytest.mark.slow
def test_every_view_takes_an_account_and_a_span_of_time_to_the_index(large: Sql) -> None:
    for view, column in TIMES.items():
        span = f" and {SPAN.format(column, column)}" if column else ""
        plan = list(nodes(planned(large, f"select * from analytics.{view} where account_id = 1{span}")))
        assert not whole_tables(plan), view
        found = [n["Index Cond"] for n in plan if n.get("Index Name") == "ix_messages_account_id_created"]
        assert any("account_id = 1" in condition and "created >=" in condition for condition in found), view
    for view in TIMELESS:
        plan = list(nodes(planned(large, f"select * from analytics.{view} where account_id = 1")))
        assert not whole_tables(plan), view
    named = {name.partition("(")[0] for name in (*TIMES, *TIMELESS)}
    ours = large.execute(
        "select relname from pg_class where relnamespace = 'analytics'::regnamespace and relkind = 'v' union"
        " select proname from pg_proc where pronamespace = 'analytics'::regnamespace and proretset"
    ).fetchall()
    assert {name for (name,) in ours} - named == {"contract"}
