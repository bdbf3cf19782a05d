"""The two mailboxes, on every server there is."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.analytics.mailbox import Sql, fill
from tests.conftest import PostgresServer


@pytest.fixture(scope="module")
def sql(any_postgres: PostgresServer) -> Iterator[Sql]:
    """A superuser's connection to a database with the two mailboxes; its session is in no special time zone."""
    name = any_postgres.create(any_postgres.migrated_template())
    with psycopg.connect(any_postgres.plain_url(name), autocommit=True) as opened:
        opened.execute("set time zone 'Pacific/Auckland'")  # no figure may depend on it
        fill(opened)
        yield opened
    any_postgres.drop(name)
