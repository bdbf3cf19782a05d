"""Bringing the tables of a database to what this program needs, from a checkout or from an installed wheel.

Alembic is imported where it migrates and nowhere else: a worker asks whether the tables are current and no more, and
would carry 10 MB of it in every process.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.errors import MailmirrorError, StoreUnavailableError, UsageError
from worker.store.engine import MIGRATE, connect, translated

if TYPE_CHECKING:
    from alembic.config import Config

OLDEST_SERVER = 150000
NAMED = re.compile(r"^(down_revision|revision)\b[^=\n]*= *(?:None|[\"'](\w+)[\"'])", re.MULTILINE)
"""How a file of a revision says its own name and that of the one before it."""


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate to `revision` in one transaction; waits for a migration that is already at work.

    Raises UsageError for a database that cannot serve, StoreUnavailableError when a table is in use.
    """
    from alembic import command

    with _migrating(url) as connection:
        _check_server(connection)
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Go back to `revision`; "base" drops everything mailmirror made."""
    from alembic import command

    with _migrating(url) as connection:
        command.downgrade(_config(connection), revision)


def current(where: str | Connection) -> str | None:
    """Revision of the database; None when mailmirror never migrated it."""
    if isinstance(where, str):
        with _connected(where) as connection:
            return current(connection)
    with translated():
        if where.scalar(sa.text("SELECT to_regclass('sync.alembic_version')")) is None:
            return None
        revision: str | None = where.scalar(sa.text("SELECT version_num FROM sync.alembic_version"))
        return revision


def head() -> str:
    """Revision this program needs."""
    before = revisions()
    newest = before.keys() - before.values()
    if len(newest) != 1:
        raise MailmirrorError("This installation carries no migrations. Install mailmirror again.")
    return newest.pop()


def revisions() -> dict[str, str | None]:
    """Every revision with the one before it, read from the files' own lines."""
    said = (dict(NAMED.findall(file.read_text("utf-8"))) for file in (_scripts() / "versions").glob("*.py"))
    return {names["revision"]: names["down_revision"] or None for names in said}


def require_current(where: str | Connection) -> None:
    """Raise UsageError, saying what to do, unless the database has exactly the tables this program needs."""
    found = current(where)
    if found is None:
        raise UsageError(MIGRATE)
    if found == head():
        return
    if found in revisions():
        raise UsageError("The database's mailmirror schema is older than this program. Run: mailmirror migrate")
    raise _newer(found)


def _newer(found: str) -> UsageError:
    return UsageError(f"The database was migrated by a newer mailmirror (revision {found}). Use that release or later.")


def _scripts() -> Path:
    """The folder of revisions: inside the package of an installed wheel, beside it in a checkout."""
    package = Path(str(files("models")))
    shipped = package / "migrations"
    return shipped if (shipped / "env.py").is_file() else package.parent / "alembic"


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = connect(url, pooled=False)
    with translated(), engine.connect() as connection:
        yield connection


@contextmanager
def _migrating(url: str) -> Iterator[Connection]:
    """Connect, and say in our own words why nothing was migrated."""
    from alembic.util import CommandError

    try:
        with _connected(url) as connection:
            yield connection
    except StoreUnavailableError as error:
        if error.sqlstate != "55P03":
            raise
        message = "A table is in use, so nothing was migrated. Try again: mailmirror migrate"
        raise StoreUnavailableError(message, sqlstate=error.sqlstate) from error
    except CommandError as error:
        found = current(url)
        if found is not None and found not in revisions():
            raise _newer(found) from error
        raise UsageError(f"The migration cannot be done: {error}.") from error


def _check_server(connection: Connection) -> None:
    version, encoding = connection.execute(
        sa.text("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
    ).one()
    connection.rollback()
    if version < OLDEST_SERVER:
        raise UsageError(f"mailmirror needs PostgreSQL 15 or newer; this server is {version // 10000}.")
    if encoding != "UTF8":
        raise UsageError(f"The database must be in UTF8, not {encoding}. Make one with: createdb -E UTF8 -T template0")
