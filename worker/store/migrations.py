"""Bringing the tables of a database to what this program needs, from a checkout or from an installed wheel."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection

from worker.errors import MailmirrorError, StoreUnavailableError, UsageError
from worker.store.engine import MIGRATE, connect, translated

OLDEST_SERVER = 150000


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate to `revision` in one transaction; waits for a migration that is already at work.

    Raises UsageError for a database that cannot serve, StoreUnavailableError when a table is in use.
    """
    with _connected(url) as connection:
        _check_server(connection)
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Go back to `revision`; "base" drops everything mailmirror made."""
    with _connected(url) as connection:
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
    newest = ScriptDirectory(str(_scripts())).get_current_head()
    if newest is None:
        raise MailmirrorError("This installation carries no migrations. Install mailmirror again.")
    return newest


def require_current(where: str | Connection) -> None:
    """Raise UsageError, saying what to do, unless the database has exactly the tables this program needs."""
    found = current(where)
    if found is None:
        raise UsageError(MIGRATE)
    if found == head():
        return
    if found in _known():
        raise UsageError("The database's mailmirror schema is older than this program. Run: mailmirror migrate")
    raise _newer(found)


def _newer(found: str) -> UsageError:
    return UsageError(f"The database was migrated by a newer mailmirror (revision {found}). Use that release or later.")


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory(str(_scripts())).walk_revisions()}


def _scripts() -> Path:
    """The folder of revisions: inside the package of an installed wheel, beside it in a checkout."""
    package = Path(str(files("models")))
    shipped = package / "migrations"
    return shipped if (shipped / "env.py").is_file() else package.parent / "alembic"


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = connect(url, pooled=False)
    try:
        with translated(), engine.connect() as connection:
            yield connection
    except StoreUnavailableError as error:
        if error.sqlstate != "55P03":
            raise
        message = "A table is in use, so nothing was migrated. Try again: mailmirror migrate"
        raise StoreUnavailableError(message, sqlstate=error.sqlstate) from error
    except CommandError as error:
        found = current(url)
        if found is not None and found not in _known():
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
