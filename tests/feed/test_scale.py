"""A page of the feed costs what is on it, however much stands before and behind it."""

import os
from typing import Any

import psycopg
import pytest

Sql = psycopg.Connection[Any]
ROWS = int(os.environ.get("MAILMIRROR_TEST_FEED_ROWS", "1000000"))
BATCH = 100
"""Messages that one transaction wrote."""
PAGE = 1000


def fill(connection: Sql) -> None:
    """Write messages as a first backfill leaves them: many small transactions, one after the other."""
    connection.execute(
        f"do $$ begin for i in 1..{ROWS // BATCH + 1000} loop perform pg_current_xact_id(); commit; end loop; end $$"
    )
    first = connection.execute(f"select pg_snapshot_xmin(pg_current_snapshot())::text::bigint - {ROWS // BATCH + 500}")
    values = {"first": (first.fetchone() or (0,))[0], "rows": ROWS, "batch": BATCH}
    connection.execute(
        "insert into mail.messages (account_id, message_id, subject, changed_in)"
        " select 1 + n %% 7, 'm' || n, 'Subject', (%(first)s + n / %(batch)s)::text::xid8"
        " from generate_series(1, %(rows)s) n", values
    )  # fmt: skip
    connection.execute(
        "insert into mail.people (account_id, address, changed_in)"
        " select 1 + n %% 7, 'p' || n, (%(first)s + n * 5 / %(batch)s)::text::xid8"
        " from generate_series(1, %(rows)s / 5) n", values
    )  # fmt: skip
    connection.execute("vacuum analyze mail.messages")
    connection.execute("vacuum analyze mail.people")


def blocks(connection: Sql, query: str) -> int:
    """How many pages of tables and indexes the query touches."""
    explained = connection.execute(f"explain (analyze, buffers, format json) {query}".encode()).fetchone()
    assert explained is not None
    plan = explained[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def scans(connection: Sql) -> int:
    """How often a table of the mirror was read as a whole."""
    connection.execute("select pg_stat_force_next_flush()")
    found = connection.execute(
        "select sum(seq_scan) from pg_stat_user_tables where relname in ('messages', 'people')"
    ).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.slow
@pytest.mark.thorough
def test_a_page_in_the_middle_of_a_million_messages_reads_only_itself(connection: Sql) -> None:
    fill(connection)
    span = "select changed_in::text, kind, account_id, key from mail.feed_keys({}, 5::smallint, 3, '', {})"
    low, high = connection.execute("select min(x), max(x) from (select changed_in::text::bigint x from mail.people) t"
    ).fetchone() or (0, 0)  # fmt: skip
    before = scans(connection)
    costs = []
    for place in (low, (low + high) // 2, high - PAGE // BATCH - 10):
        query = span.format(f"'{place}'::xid8", PAGE)
        found = connection.execute(query.encode()).fetchall()
        assert len(found) == PAGE
        assert int(found[-1][0]) - place <= 2 * PAGE // BATCH
        costs.append(blocks(connection, query))
    print(f"blocks of {PAGE} keys at the beginning, in the middle, at the end: {costs}")  # noqa: T201  # a figure
    assert max(costs) < 2 * min(costs) + 100
    assert max(costs) < 3 * PAGE
    for _ in range(6):  # past the number of runs after which a plan is kept for good
        connection.execute("select count(*) from mail.changes('etl', 1000)")
    whole = blocks(connection, f"select * from mail.changes('etl', {PAGE})")
    print(f"blocks of {PAGE} changes: {whole}")  # noqa: T201  # a figure
    assert whole < 40 * PAGE
    assert scans(connection) == before
