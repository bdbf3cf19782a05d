"""How a migration runs: one connection, one transaction, one at a time.

The connection comes from `config.attributes["connection"]` (the `mailmirror` command), else the URL from
MAILMIRROR_OWNER_URL or DATABASE_URL (the `alembic` command).
"""

import os
from typing import Any

import sqlalchemy as sa
from alembic import context

import models

LOCK = 0x6D61696C6D6972
"""Key of the advisory lock under which migrations queue; any constant would do."""

OWN_SCHEMAS = {"mail", "sync"}


def own(name: str | None, kind: str, _parents: dict[str, str | None]) -> bool:
    """Leave what is not ours in the database alone."""
    if kind == "schema":
        return name in OWN_SCHEMAS
    return not (kind == "table" and name == "alembic_version")


def settings() -> dict[str, Any]:
    return {
        "target_metadata": models.metadata,
        "version_table_schema": "sync",
        "include_schemas": True,
        "include_name": own,
        "compare_type": True,
        "compare_server_default": True,
        "transaction_per_migration": False,
    }


def database_url() -> str:
    url = os.environ.get("MAILMIRROR_OWNER_URL", "") or os.environ.get("DATABASE_URL", "")
    if not url:
        raise SystemExit("DATABASE_URL is not set. Set it to your Postgres, as in postgresql://user@host/name.")
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in {"postgres", "postgresql"} else url


def become_owner(connection: sa.Connection) -> str:
    """The statement that lets what is made belong to the role that owns the rest, whoever of its members logs in."""
    owner = connection.scalar(
        sa.text(
            "SELECT quote_ident(rolname) FROM pg_namespace JOIN pg_roles AS r ON r.oid = nspowner"
            " WHERE nspname = 'sync' AND rolname <> current_user AND pg_has_role(r.oid, 'MEMBER')"
        )
    )
    return f"SET ROLE {owner}" if owner else "RESET ROLE"


def migrate(connection: sa.Connection) -> None:
    """Run what the command asked for; the lock ends with the connection, which the caller closes.

    The lock belongs to the session, not to a transaction, so that a later revision can leave the transaction
    (an index built CONCURRENTLY) and still be alone.
    """
    # Another migration may be at work: wait for it longer than for a table that is in use.
    connection.exec_driver_sql("SET lock_timeout = '60s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
    connection.exec_driver_sql("SET lock_timeout = '5s'")
    connection.exec_driver_sql("SET statement_timeout = '15min'")
    connection.exec_driver_sql("SET search_path = pg_catalog")
    connection.exec_driver_sql(become_owner(connection))
    connection.commit()
    context.configure(connection=connection, **settings())
    with context.begin_transaction():
        if connection.scalar(sa.text("SELECT to_regnamespace('sync') IS NULL")):
            connection.exec_driver_sql("CREATE SCHEMA sync")
        context.run_migrations()
        if not context.get_context().get_current_heads():
            connection.exec_driver_sql("DROP TABLE IF EXISTS sync.alembic_version")
            connection.exec_driver_sql("DROP SCHEMA sync")


def run() -> None:
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True, **settings())
        with context.begin_transaction():
            context.execute("CREATE SCHEMA IF NOT EXISTS sync")
            context.run_migrations()
        return
    given = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    engine = sa.create_engine(database_url(), poolclass=sa.NullPool, hide_parameters=True)
    with engine.connect() as connection:
        migrate(connection)


run()
