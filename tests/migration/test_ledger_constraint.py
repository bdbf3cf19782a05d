"""The windows of an account never overlap, and may be split and merged inside one transaction."""

import psycopg
import pytest

WINDOW = "INSERT INTO sync.windows (account_id, after, before) VALUES (%s, %s, %s)"


@pytest.fixture
def account(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "INSERT INTO sync.accounts (kind, upstream_id) VALUES ('kloudless', '1') RETURNING id"
    ).fetchone()
    assert row is not None
    connection.execute(WINDOW, (row[0], "0001-01-01+00", "2020-01-01+00"))
    connection.execute(WINDOW, (row[0], "2020-01-01+00", None))
    return int(row[0])


@pytest.mark.parametrize(
    ("after", "before"),
    [("2019-01-01+00", "2019-02-01+00"), ("2019-12-31+00", "2020-01-02+00"), ("2030-01-01+00", None)],
)
def test_an_overlap_is_refused(connection: psycopg.Connection, account: int, after: str, before: str | None) -> None:
    with pytest.raises(psycopg.errors.ExclusionViolation):
        connection.execute(WINDOW, (account, after, before))


def test_a_split_and_a_merge_in_one_transaction_are_allowed(connection: psycopg.Connection, account: int) -> None:
    with connection.transaction():
        connection.execute(WINDOW, (account, "2010-01-01+00", "2020-01-01+00"))
        connection.execute(
            "UPDATE sync.windows SET before = '2010-01-01+00' WHERE account_id = %s AND after = '0001-01-01+00'",
            [account],
        )
    with connection.transaction():
        connection.execute(
            "UPDATE sync.windows SET before = '2020-01-01+00' WHERE account_id = %s AND after = '0001-01-01+00'",
            [account],
        )
        connection.execute("DELETE FROM sync.windows WHERE account_id = %s AND after = '2010-01-01+00'", [account])
    assert connection.execute("SELECT count(*) FROM sync.windows").fetchone() == (2,)


def test_accounts_have_ledgers_of_their_own(connection: psycopg.Connection, account: int) -> None:
    connection.execute("INSERT INTO sync.accounts (kind, upstream_id) VALUES ('kloudless', '2')")
    connection.execute(WINDOW, (account + 1, "0001-01-01+00", None))


def test_a_window_that_ends_before_it_begins_is_refused(connection: psycopg.Connection, account: int) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.DataException)):
        connection.execute(WINDOW, (account, "2030-01-01+00", "2029-01-01+00"))
