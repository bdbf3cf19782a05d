"""Every test gets a database of its own, as empty and as new as it asked for, on the server it asked for."""

import psycopg
import pytest

from tests.conftest import PostgresServer


def plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def tables(url: str) -> set[str]:
    with psycopg.connect(plain(url)) as connection:
        rows = connection.execute(
            "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('mail', 'sync')"
        )
        return {name for (name,) in rows}


@pytest.mark.parametrize("visit", [1, 2])
def test_a_database_has_the_newest_tables_and_no_trace_of_other_tests(database: str, visit: int) -> None:
    assert {"mail.messages", "sync.accounts"} <= tables(database)
    with psycopg.connect(plain(database)) as connection:
        # Twice the same key would fail.
        connection.execute("INSERT INTO mail.messages (account_id, message_id) VALUES (1, 'trace')")


def test_an_empty_database_is_empty(empty_database: str) -> None:
    assert tables(empty_database) == set()


def test_every_server_migrates(any_database: str, any_postgres: PostgresServer) -> None:
    assert any_postgres.major >= 15
    assert "mail.messages" in tables(any_database)


def test_a_database_goes_even_while_somebody_is_connected(postgres: PostgresServer) -> None:
    name = postgres.create()
    with psycopg.connect(postgres.plain_url(name)):
        postgres.drop(name)
    with psycopg.connect(postgres.plain_url()) as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None


def test_tests_with_a_database_are_left_out_of_the_quick_check(database: str, request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("postgres")
