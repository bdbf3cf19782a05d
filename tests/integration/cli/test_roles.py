"""`mailmirror roles apply` says what it did, and migrations take the owner's URL."""

import psycopg

from tests.conftest import PostgresServer, as_superuser, as_user
from tests.integration.cli.command import Command


def test_migrate_and_apply_take_the_owner_and_let_the_user_of_database_url_in(
    bare: Command, empty_database: str, postgres: PostgresServer
) -> None:
    postgres.migrated_template()  # so that the roles are there already, as for every other test
    owner, user = as_superuser(empty_database), "worker_of_its_own"
    worker = as_user(owner, f"{user}:pass%20w%C3%B6rd")
    bare.set(DATABASE_URL=worker, MAILMIRROR_OWNER_URL=owner)
    try:
        assert bare("migrate").out.startswith("Migrated from no schema to revision")
        said = bare("roles", "apply", "--login")
        assert said.code == 0
        assert f"{user}: logs in as the worker, as DATABASE_URL says." in said.out
        assert "mailmirror_analyst: reads schemas mail and analytics" in said.out
        assert "wörd" not in said.out + said.err
        assert bare("status").code == 0
    finally:
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(f"drop owned by {user}; drop role {user}".encode())


def test_one_who_may_not_make_roles_is_told_what_to_set(command: Command) -> None:
    said = command("roles", "apply")
    assert (said.code, said.out) == (2, "")
    assert "may not make roles" in said.err
    assert "MAILMIRROR_OWNER_URL" in said.err


def test_the_owner_is_not_let_in_as_the_worker(bare: Command, owner_database: str) -> None:
    bare.set(DATABASE_URL=owner_database, MAILMIRROR_OWNER_URL=owner_database)
    said = bare("roles", "apply", "--login")
    assert (said.code, said.out) == (2, "")
    assert "app, the user in DATABASE_URL, cannot be the worker's" in said.err


def test_a_wrong_owner_is_named_as_such(command: Command, owner_database: str) -> None:
    command.set(MAILMIRROR_OWNER_URL=as_user(owner_database, "nobody_here"))
    said = command("migrate")
    assert said.code == 2
    assert "Postgres does not know the user in MAILMIRROR_OWNER_URL" in said.err


def test_a_prefix_that_needs_quotes_is_refused(bare: Command, owner_database: str) -> None:
    bare.set(DATABASE_URL=owner_database)
    said = bare("roles", "apply", "--prefix", "Mail Mirror")
    assert (said.code, "small letters" in said.err) == (2, True)


def test_an_analyst_is_told_to_name_the_owner(command: Command, owner_database: str) -> None:
    user = "analyst_of_its_own"
    with psycopg.connect(owner_database, autocommit=True) as connection:
        connection.execute(f"create role {user} login in role mailmirror_analyst".encode())
        try:
            command.set(DATABASE_URL=as_user(owner_database, user))
            for arguments in (("migrate",), ("roles", "apply")):
                command(*arguments).refused(
                    2, "The user in DATABASE_URL may not do this. Name the owner in MAILMIRROR_OWNER_URL."
                )
        finally:
            connection.execute(f"drop role {user}".encode())
