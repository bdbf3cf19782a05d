"""Whose name stands in `mail.people`: the one on the newest message that bears one, also when that message changes."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from tests.conftest import as_superuser
from tests.integration.store.mail import DAY, fetched, leased, listed, message, table
from worker.records import Person
from worker.store.engine import connect
from worker.store.postgres import PostgresStore

Sql = psycopg.Connection[Any]


@pytest.fixture
def connection(database: str) -> Iterator[Sql]:
    with psycopg.connect(as_superuser(database), autocommit=True) as opened:
        yield opened


@pytest.fixture
def store(database: str) -> Iterator[PostgresStore]:
    engine: Engine = connect(database)
    with leased(engine) as opened:
        yield opened
    engine.dispose()


@pytest.mark.fault("D10")
def test_the_name_of_a_person_is_the_one_on_the_newest_message(store: PostgresStore, connection: Sql) -> None:
    def named(id_: str, name: str | None, days: int) -> Any:
        return message(id_, created=DAY + timedelta(days=days), sender=Person("ann@example.com", name), to=(), cc=())

    for found in (named("b", "Middle", 2), named("c", "Newest", 3), named("a", "Oldest", 1), named("d", None, 4)):
        store.commit(listed(found))
    assert table(connection, "select name, name_on from mail.people") == [("Newest", "c")]
    store.commit(fetched(named("c", "Renamed", 3)))
    assert table(connection, "select name, name_on from mail.people") == [("Renamed", "c")]
    store.commit(fetched(named("e", "Undated", 0), message("f", created=None, sender=Person("zoe@example.com", "Zoe"))))
    assert ("Renamed", "c") in table(connection, "select name, name_on from mail.people")
    assert ("Zoe", "f", None) in table(connection, "select name, name_on, name_at from mail.people")


@pytest.mark.parametrize("after", [Person("ann@example.com", None), Person("zoe@example.com", "Zoe")])
@pytest.mark.parametrize("rewrite", [False, True])
def test_a_name_its_message_no_longer_bears_gives_way_to_the_newest(
    store: PostgresStore, connection: Sql, after: Person, rewrite: bool
) -> None:
    older, oldest = DAY - timedelta(days=1), DAY - timedelta(days=2)
    store.commit(listed(message("m3", sender=Person("ann@example.com", "Wrong"), to=(), cc=())))
    store.commit(listed(message("m1", created=oldest, sender=Person("ann@example.com", "Old"), to=(), cc=())))
    store.commit(listed(message("m2", created=older, sender=Person("ann@example.com", "Ann"), to=(), cc=())))
    store.commit(fetched(message("m3", sender=after, to=(), cc=()), rewrite=rewrite))
    named = "select name, name_at, name_on from mail.people where address = 'ann@example.com'"
    assert table(connection, named) == [("Ann", older, "m2")]
    store.commit(fetched(message("m2", created=older, sender=after, to=(), cc=())))
    store.commit(fetched(message("m1", created=oldest, sender=after, to=(), cc=())))
    assert table(connection, named) == [(None, None, None)]
