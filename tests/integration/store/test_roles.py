"""Each role may do what it is for, and nothing else: what the server says, and what real connections are refused."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from tests.conftest import PostgresServer, as_superuser, as_user
from tests.integration.store.mail import leased, listed, message
from tests.integration.store.rights import matrix
from worker.config import Settings
from worker.errors import UsageError
from worker.local.cluster import WORKER
from worker.store import accounts, migrations, roles
from worker.store.engine import connect

PAGE = Path(__file__).with_name("roles.txt")
NAMES = roles.Roles.named()
OWN_CLOCK = "create or replace function sync.now() returns timestamptz language sql return '2030-01-01'::timestamptz"


@pytest.fixture
def applied(any_postgres: PostgresServer) -> Iterator[str]:
    """A superuser's URL of a database whose roles were set in itself: rights on a database are not copied with it."""
    any_postgres.migrated_template()
    name = any_postgres.create()
    url = any_postgres.plain_url(name)
    migrations.upgrade(url)
    roles.apply(url, NAMES)
    yield url
    any_postgres.drop(name)


@pytest.fixture(scope="module")
def closed(postgres: PostgresServer) -> Iterator[str]:
    """The same on one server and for all tests that are refused: nothing they try changes anything."""
    postgres.migrated_template()
    name = postgres.create()
    url = postgres.plain_url(name)
    migrations.upgrade(url)
    roles.apply(url, NAMES)
    yield url
    postgres.drop(name)


def as_role(url: str, role: str) -> psycopg.Connection:
    """Log in as a role; the analyst's has none of its own here."""
    if role == NAMES.worker:
        return psycopg.connect(as_user(as_superuser(url), role), autocommit=True)
    connection = psycopg.connect(as_superuser(url), autocommit=True)
    connection.execute(f"set session authorization {role}".encode())
    return connection


def test_the_matrix_of_rights_is_the_checked_in_one(applied: str) -> None:
    with psycopg.connect(applied, autocommit=True) as connection:
        found = matrix(connection)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(found, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == found, "run this test once with WRITE_DOCS=1"


def test_applied_twice_it_changes_nothing(applied: str) -> None:
    with psycopg.connect(applied, autocommit=True) as connection:
        acls = "select oid::regclass::text, relowner::regrole::text, relacl::text from pg_class where relnamespace in"
        acls += " ('mail'::regnamespace, 'analytics'::regnamespace, 'sync'::regnamespace) order by 1"
        before = connection.execute(acls.encode()).fetchall(), matrix(connection)
        said = roles.apply(applied, NAMES)
        assert (connection.execute(acls.encode()).fetchall(), matrix(connection)) == before
    assert f"Role {NAMES.worker} is there already." in said
    assert any("nothing had to be given" in sentence for sentence in said)


def test_a_right_that_was_given_by_hand_is_taken_back(applied: str) -> None:
    with psycopg.connect(applied, autocommit=True) as connection:
        connection.execute(f"grant usage on schema sync to {NAMES.analyst}".encode())
        connection.execute(f"grant select (account_id) on sync.credentials to {NAMES.analyst}".encode())
        connection.execute(f"grant truncate on mail.messages to {NAMES.worker}".encode())
        connection.execute("grant select on sync.credentials to public")
        assert matrix(connection) != PAGE.read_text(encoding="utf-8")
        roles.apply(applied, NAMES)
        assert matrix(connection) == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "statement",
    [
        "select * from sync.credentials",
        "select token_ct from sync.credentials",
        "select * from sync.accounts",
        "select sync.now()",
        "insert into mail.messages (account_id, message_id) values (1, 'x')",
        "update mail.messages set subject = ''",
        "delete from mail.messages",
        "select * from mail.messages for update",
        "truncate mail.messages",
        "drop table mail.messages",
        "drop view mail.live_messages",
        "alter table mail.messages add column x int",
        "create table mail.x ()",
        "create table public.x ()",
        "create temp table x ()",
        "create schema x",
        "create view mail.x as select 1",
        "create view analytics.x as select 1",
        "create function mail.x() returns int language sql return 1",
        "copy mail.messages to program 'true'",
        "copy mail.messages to '/tmp/x'",
        "select pg_read_file('postgresql.conf')",
        OWN_CLOCK,
        f"set role {NAMES.worker}",
        f"set role {NAMES.owner}",
        "set session_replication_role = replica",
    ],
)
def test_an_analyst_is_refused(closed: str, statement: str) -> None:
    with as_role(closed, NAMES.analyst) as connection:
        connection.execute("set default_transaction_read_only = off")  # a guard rail, which anybody may take down
        connection.execute("select * from mail.accounts, mail.live_messages, mail.live_message_people, mail.people")
        with pytest.raises(errors.InsufficientPrivilege) as refused:
            connection.execute(statement.encode())
    assert refused.value.sqlstate == "42501"


@pytest.mark.parametrize(
    "statement",
    [
        "truncate mail.messages",
        "truncate sync.accounts cascade",
        "drop table mail.messages",
        "drop function sync.now()",
        "drop schema mail cascade",
        "alter table sync.accounts add column x int",
        "alter table mail.messages disable trigger all",
        "create table sync.x ()",
        "create table public.x ()",
        "create temp table x ()",
        "create schema x",
        "create index on mail.messages (subject)",
        "create trigger x before insert on mail.messages execute function suppress_redundant_updates_trigger()",
        "create policy x on mail.messages",
        "update sync.alembic_version set version_num = 'x'",
        "insert into mail.live_messages (account_id, message_id) values (1, 'x')",
        "copy mail.messages to program 'true'",
        "copy mail.messages from '/tmp/x'",
        "select pg_read_file('postgresql.conf')",
        OWN_CLOCK,
        f"set role {NAMES.owner}",
        "alter role mailmirror_worker superuser",
        "create role x",
        "set session_replication_role = replica",
    ],
)
def test_the_worker_is_refused(closed: str, statement: str) -> None:
    with as_role(closed, NAMES.worker) as connection, pytest.raises(errors.InsufficientPrivilege) as refused:
        connection.execute(statement.encode())
    assert refused.value.sqlstate == "42501"


def test_the_tests_and_the_program_connect_as_the_worker(database: str) -> None:
    engine = connect(database)
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "select current_user, session_user, rolsuper, rolbypassrls, pg_has_role('mailmirror_owner', 'member')"
            " from pg_roles where rolname = current_user"
        ).one()
    assert tuple(found) == (WORKER, NAMES.worker, False, True, False)
    assert roles.superuser_of(engine) is None
    engine.dispose()


def test_a_superuser_is_recognised(owner_database: str) -> None:
    engine = connect(owner_database)
    assert roles.superuser_of(engine) == "app"
    engine.dispose()


def test_the_worker_writes_under_row_level_security(database: str, connection: psycopg.Connection) -> None:
    """COPY refuses such tables to all who do not bypass it; analysts without a policy see nothing."""
    connection.execute("alter table mail.messages enable row level security")
    engine = connect(database)
    with leased(engine) as store:
        assert store.commit(listed(message())).added == 1
    engine.dispose()
    with as_role(database, NAMES.analyst) as analyst:
        assert analyst.execute("select count(*) from mail.live_messages").fetchone() == (0,)


def test_what_later_migrations_make_is_covered(applied: str) -> None:
    with psycopg.connect(applied, autocommit=True) as connection:
        connection.execute(
            f"set role {NAMES.owner}; create table mail.later (id bigint generated always as identity);"
            " create table sync.later (id serial); create function mail.later() returns int language sql return 1;"
            " create table analytics.later (); reset role".encode()
        )
        asked = (
            "select has_table_privilege(%s, 'mail.later', 'insert'), has_table_privilege(%s, 'sync.later', 'insert'),"
            " has_sequence_privilege(%s, 'sync.later_id_seq', 'usage'), has_function_privilege(%s, 'mail.later()',"
            " 'execute'), has_table_privilege(%s, 'mail.later', 'select'), has_table_privilege(%s, 'sync.later',"
            " 'select'), has_table_privilege(%s, 'analytics.later', 'select')"
        )

        def rights(role: str) -> tuple[bool, ...] | None:
            return connection.execute(asked, [role] * 7).fetchone()

        assert rights(NAMES.worker) == (True, True, True, True, True, True, True)
        assert rights(NAMES.analyst) == (False, False, False, True, True, False, True)
        assert rights("public") == (False,) * 7


def test_migrations_after_the_first_make_things_the_owners(applied: str) -> None:
    migrations.downgrade(applied, "base")
    with psycopg.connect(applied, autocommit=True) as connection:
        connection.execute(f"create schema sync authorization {NAMES.owner}".encode())
        migrations.upgrade(applied)
        owners = connection.execute(
            "select distinct relowner::regrole::text from pg_class where relnamespace = 'mail'::regnamespace"
        ).fetchall()
    assert owners == [(NAMES.owner,)]


def test_a_login_of_its_own_is_made_with_what_is_not_inherited(applied: str, any_postgres: PostgresServer) -> None:
    user, reader = "hands", "ann"
    with psycopg.connect(applied, autocommit=True) as connection:
        try:
            connection.execute(f"create role {reader} login in role {NAMES.analyst}".encode())
            said = roles.apply(applied, NAMES, roles.Login(user, "s3cr3t wörd"))
            stored = connection.execute("select rolpassword from pg_authid where rolname = %s", [user]).fetchone()
            assert stored is not None
            assert stored[0].startswith("SCRAM-SHA-256$")
            assert not any("s3cr3t" in sentence for sentence in said)
            assert f"{reader}: a login of the analyst; has its settings in this database." in said
            with psycopg.connect(as_user(applied, user)) as hands:
                found = "select rolbypassrls, current_setting('search_path') from pg_roles where rolname = current_user"
                assert hands.execute(found.encode()).fetchone() == (True, "pg_catalog, pg_temp")
                hands.execute("select * from sync.credentials")
            with psycopg.connect(as_user(applied, reader)) as ann:
                shown = "select current_setting('statement_timeout'), current_setting('default_transaction_read_only')"
                assert ann.execute(shown.encode()).fetchone() == ("5min", "on")
                assert ann.execute("select count(*) from accounts").fetchone() == (0,)
        finally:
            connection.execute(f"drop owned by {user}, {reader}; drop role {user}, {reader}".encode())


@pytest.mark.parametrize("user", ["app", NAMES.owner, NAMES.analyst])
def test_one_who_may_do_too_much_is_not_let_in_as_the_worker(owner_database: str, user: str) -> None:
    with pytest.raises(UsageError, match=f"{user}, the user in DATABASE_URL, cannot be the worker's"):
        roles.apply(owner_database, NAMES, roles.Login(user, "x"))


def test_an_owner_with_createrole_is_enough_but_may_not_give_bypassrls(any_postgres: PostgresServer) -> None:
    """As on many managed servers: no superuser anywhere."""
    chief, prefix = "chief", roles.Roles.named("managed")
    name = any_postgres.create()
    superuser = any_postgres.plain_url(name)
    try:
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute(f"create role {chief} login createrole".encode())
            connection.execute(f"alter database {name} owner to {chief}".encode())
        url = as_user(superuser, chief)
        migrations.upgrade(url)
        for _ in range(2):
            said = roles.apply(url, prefix, roles.Login(prefix.worker))
            assert [s for s in said if "may not give BYPASSRLS" in s and "row-level security" in s], said
            assert "Schema public is closed to everybody but its owner." in said
        migrations.upgrade(url)  # now as the owner it is a member of
        engine = connect(as_user(superuser, prefix.worker))
        assert accounts.list_all(engine) == []
        with leased(engine) as store:
            assert store.commit(listed(message())).added == 1
        engine.dispose()
    finally:
        any_postgres.drop(name)
        with psycopg.connect(any_postgres.plain_url(), autocommit=True) as connection:
            for role in (prefix.analyst, prefix.worker, prefix.owner, chief):
                connection.execute(f"drop role if exists {role}".encode())


@pytest.mark.parametrize("prefix", ["", "Mail", "a b", "x" * 51, "pg_x", 'a"b', "ä"])
def test_a_prefix_that_would_need_quotes_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="prefix"):
        roles.Roles.named(prefix)


def test_another_prefix_makes_roles_beside_the_first(owner_database: str, connection: psycopg.Connection) -> None:
    other = roles.Roles.named("second")
    try:
        roles.apply(owner_database, other)
        owner = connection.execute("select relowner::regrole::text from pg_class where oid = 'mail.messages'::regclass")
        assert owner.fetchone() == (other.owner,)
    finally:
        connection.execute(f"reassign owned by {other.owner} to app".encode())
        for role in (other.worker, other.analyst, other.owner):
            connection.execute(f"drop owned by {role}; drop role {role}".encode())


def test_who_may_not_make_roles_is_told_whom_to_name(database: str) -> None:
    with pytest.raises(UsageError, match=r"mailmirror_worker may not make roles.*MAILMIRROR_OWNER_URL"):
        roles.apply(database, NAMES)


def test_without_tables_it_says_what_to_run_first(empty_database: str) -> None:
    with pytest.raises(UsageError, match="Run: mailmirror migrate"):
        roles.apply(empty_database, NAMES)


def test_the_worker_of_the_embedded_server_is_the_one_that_is_made() -> None:
    assert NAMES.worker == WORKER


def test_the_owners_url_is_a_secret_and_falls_back() -> None:
    both = Settings(database_url="postgresql://w@h/d", owner_url="postgresql://o:secret@h/d")
    assert both.require_owner() == "postgresql+psycopg://o:secret@h/d"
    assert "secret" not in repr(both)
    assert Settings(database_url="postgresql://w@h/d").require_owner() == "postgresql+psycopg://w@h/d"
    with pytest.raises(UsageError, match="MAILMIRROR_OWNER_URL must begin"):
        Settings(database_url="postgresql://w@h/d", owner_url="mysql://x").require_owner()
