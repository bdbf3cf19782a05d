"""One revision after another leads any supported server to the tables that models/ describes, and back."""

import subprocess
import sys
from pathlib import Path

import alembic.command
import alembic.config
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import models
from tests.migration import catalog
from worker.errors import StoreUnavailableError, UsageError
from worker.store import migrations
from worker.store.engine import connect

ROOT = Path(__file__).resolve().parents[2]


def plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def schemas(url: str) -> set[str]:
    with psycopg.connect(plain(url)) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")} & {
            "analytics",
            "mail",
            "sync",
        }


def test_what_the_revisions_say_is_read_as_alembic_reads_it() -> None:
    folder = ScriptDirectory(str(ROOT / "alembic"))
    assert migrations.revisions() == {each.revision: each.down_revision for each in folder.walk_revisions()}
    assert migrations.head() == folder.get_current_head()


def test_up_down_and_up_again_on_every_server(any_empty_database: str) -> None:
    assert migrations.current(any_empty_database) is None
    migrations.upgrade(any_empty_database)
    assert migrations.current(any_empty_database) == migrations.head()
    with psycopg.connect(plain(any_empty_database)) as connection:
        first = catalog.shape(connection), catalog.views(connection), catalog.functions(connection)
        connection.execute("INSERT INTO sync.accounts (kind, upstream_id) VALUES ('kloudless', '1')")

    migrations.downgrade(any_empty_database, "base")
    assert migrations.current(any_empty_database) is None
    assert schemas(any_empty_database) == set()

    migrations.upgrade(any_empty_database)
    with psycopg.connect(plain(any_empty_database)) as connection:
        assert (catalog.shape(connection), catalog.views(connection), catalog.functions(connection)) == first


def test_the_migrated_database_is_what_the_models_say_on_every_server(any_empty_database: str) -> None:
    migrations.upgrade(any_empty_database)
    with psycopg.connect(plain(any_empty_database), autocommit=True) as connection:
        migrated = catalog.shape(connection)
        connection.execute("DROP SCHEMA mail CASCADE; DROP SCHEMA sync CASCADE; CREATE SCHEMA mail; CREATE SCHEMA sync")
        connection.execute(
            "CREATE FUNCTION sync.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE RETURN pg_catalog.now()"
        )
    engine = connect(any_empty_database, pooled=False)
    models.metadata.create_all(engine)
    with psycopg.connect(plain(any_empty_database)) as connection:
        assert catalog.shape(connection) == migrated
    assert {f"table {name}" for name in models.metadata.tables} <= set(migrated)


def test_autogenerate_finds_nothing_to_do(database: str) -> None:
    engine = connect(database, pooled=False)
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: (
                name in {"mail", "sync"} if kind == "schema" else name != "alembic_version"
            ),
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, models.metadata) == []


def test_every_table_view_and_column_has_a_comment(connection: psycopg.Connection) -> None:
    found = catalog.columns(connection)
    assert len({(column.schema, column.table) for column in found}) >= len(models.metadata.tables) + 5
    bare = [f"{c.schema}.{c.table}.{c.name}" for c in found if not c.comment or not c.table_comment]
    assert bare == []
    assert [call for _, call, comment in catalog.functions(connection) if not comment] == []


def test_schema_mail_has_no_foreign_key(connection: psycopg.Connection) -> None:
    keys = connection.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'mail'::regnamespace"
    ).fetchall()
    assert keys == []


def test_account_comes_first_in_every_key_of_schema_mail(connection: psycopg.Connection) -> None:
    first = connection.execute(
        "SELECT indrelid::regclass::text, attname FROM pg_index"
        " JOIN pg_class AS c ON c.oid = indrelid AND relnamespace = 'mail'::regnamespace"
        " JOIN pg_attribute AS a ON a.attrelid = indrelid AND a.attnum = indkey[0] WHERE indisunique"
    ).fetchall()
    assert len(first) == 9
    assert {column for _, column in first} == {"account_id"}


def test_bodies_use_lz4_exactly_where_the_server_has_it(any_empty_database: str) -> None:
    migrations.upgrade(any_empty_database)
    with psycopg.connect(plain(any_empty_database), autocommit=True) as connection:
        try:
            connection.execute("SET default_toast_compression = 'lz4'")
            wanted = {"l"}
        except psycopg.errors.InvalidParameterValue:
            wanted = {""}
        found = connection.execute(
            "SELECT attcompression FROM pg_attribute WHERE attrelid = 'mail.messages'::regclass"
            " AND attname IN ('body', 'text_body', 'raw')"
        ).fetchall()
    assert len(found) == 3
    assert {value for (value,) in found} == wanted


@pytest.mark.server
def test_two_migrations_at_the_same_time_queue(empty_database: str) -> None:
    program = "import sys; from worker.store import migrations; migrations.upgrade(sys.argv[1])"
    both = [
        subprocess.Popen([sys.executable, "-c", program, empty_database], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in both] == [("", 0), ("", 0)]
    assert migrations.current(empty_database) == migrations.head()


def test_a_migration_waits_for_the_one_at_work(empty_database: str) -> None:
    """Two processes may miss each other by chance; here the first is held inside its work."""
    program = "import sys; from worker.store import migrations; migrations.upgrade(sys.argv[1])"
    with psycopg.connect(plain(empty_database), autocommit=True) as first:
        first.execute("SELECT pg_advisory_lock(%s)", [0x6D61696C6D6972])
        second = subprocess.Popen([sys.executable, "-c", program, empty_database], cwd=ROOT)
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while first.execute(waits).fetchone() != (1,):
            assert second.poll() is None
        assert schemas(empty_database) == set()
        first.execute("SELECT pg_advisory_unlock_all()")
        assert second.wait() == 0
    assert migrations.current(empty_database) == migrations.head()


def test_a_table_in_use_ends_the_migration_with_one_sentence_and_no_change(database: str, owner_database: str) -> None:
    with psycopg.connect(plain(database)) as reader:
        reader.execute("SELECT count(*) FROM mail.messages")
        with pytest.raises(StoreUnavailableError, match=r"in use.*mailmirror migrate"):
            migrations.downgrade(owner_database, "base")
    assert schemas(database) == {"analytics", "mail", "sync"}
    assert migrations.current(database) == migrations.head()


def test_a_migration_that_fails_leaves_nothing_behind(empty_database: str) -> None:
    with psycopg.connect(plain(empty_database), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA mail")
    with pytest.raises(UsageError, match="a database of its own"):
        migrations.upgrade(empty_database)
    assert schemas(empty_database) == {"mail"}


def test_a_database_that_is_not_ours_says_what_to_run(empty_database: str) -> None:
    with pytest.raises(UsageError, match=r"no mailmirror schema yet\. Run: mailmirror migrate"):
        migrations.require_current(empty_database)


def test_a_migrated_database_passes(database: str) -> None:
    migrations.require_current(database)
    engine = connect(database, pooled=False)
    with engine.connect() as connection:
        migrations.require_current(connection)


def test_a_newer_database_is_told_apart(database: str, connection: psycopg.Connection) -> None:
    connection.execute("UPDATE sync.alembic_version SET version_num = '9999'")
    with pytest.raises(UsageError, match=r"newer mailmirror \(revision 9999"):
        migrations.require_current(database)
    with pytest.raises(UsageError, match=r"newer mailmirror \(revision 9999"):
        migrations.upgrade(database)


def test_a_database_in_another_encoding_is_refused(postgres: object, empty_database: str) -> None:
    with psycopg.connect(plain(empty_database), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            with pytest.raises(UsageError, match="UTF8, not LATIN1"):
                migrations.upgrade(empty_database.rpartition("/")[0] + "/latin")
        finally:
            connection.execute("DROP DATABASE latin WITH (FORCE)")


def test_the_alembic_command_writes_the_same_as_sql(capsys: pytest.CaptureFixture[str]) -> None:
    config = alembic.config.Config(toml_file=ROOT / "pyproject.toml")
    alembic.command.upgrade(config, "head", sql=True)
    assert "CREATE TABLE mail.messages" in capsys.readouterr().out


def test_the_worker_may_ask_for_a_migration_that_is_done_but_do_none(database: str) -> None:
    migrations.upgrade(database)
    with pytest.raises(UsageError, match="name the owner in MAILMIRROR_OWNER_URL"):
        migrations.downgrade(database, "base")
    assert migrations.current(database) == migrations.head()


def test_an_analyst_reads_accounts_but_not_the_machinery(database: str, connection: psycopg.Connection) -> None:
    role = "analyst_" + database.rpartition("_")[2]
    connection.execute(f"CREATE ROLE {role}")
    try:
        connection.execute(f"GRANT USAGE ON SCHEMA mail TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA mail TO {role}")
        connection.execute(f"SET ROLE {role}")
        connection.execute("SELECT * FROM mail.accounts, mail.live_messages, mail.live_message_people")
        for forbidden in ("sync.accounts", "sync.credentials", "sync.problems"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {forbidden}")
        connection.execute("RESET ROLE")
        connection.execute(f"REVOKE SELECT ON mail.messages FROM {role}; SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM mail.live_messages")
    finally:
        connection.execute("RESET ROLE")
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_live_views_hide_tombstones_and_their_children(connection: psycopg.Connection) -> None:
    connection.execute(
        """
        INSERT INTO mail.messages (account_id, message_id, deleted_at) VALUES (1, 'live', NULL), (1, 'gone', now());
        INSERT INTO mail.message_people (account_id, message_id, role, position)
            SELECT 1, id, 'from', 0 FROM unnest(ARRAY['live', 'gone']) AS id;
        INSERT INTO mail.message_labels SELECT 1, id, 'inbox' FROM unnest(ARRAY['live', 'gone']) AS id;
        INSERT INTO mail.attachments (account_id, message_id, position)
            SELECT 1, id, 0 FROM unnest(ARRAY['live', 'gone']) AS id;
        """
    )
    for view in ("live_messages", "live_message_people", "live_message_labels", "live_attachments"):
        assert connection.execute(f"SELECT message_id FROM mail.{view}").fetchall() == [("live",)], view


def test_time_can_be_shifted_by_tests_in_sessions_that_are_already_open(
    database: str, connection: psycopg.Connection
) -> None:
    engine = connect(database)
    with engine.connect() as before:
        drift = sa.text("SELECT extract(epoch FROM sync.now() - now())")
        assert before.scalar(drift) == 0
        before.commit()
        connection.execute(
            "CREATE OR REPLACE FUNCTION sync.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE"
            " RETURN pg_catalog.now() + interval '1 hour'"
        )
        assert before.scalar(drift) == 3600
    engine.dispose()
