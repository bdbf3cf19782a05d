"""What is done to the database as its owner: migrations and roles."""

from collections.abc import Iterator
from contextlib import contextmanager

from worker.config import ROLES_PREFIX, Settings, variable_of
from worker.errors import StoreUnavailableError, UsageError
from worker.store import migrations, roles
from worker.store.engine import WRONG, parse

LACKS_RIGHTS = "42501"


def migrate(settings: Settings, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the database to `revision`; returns the revisions before and after.

    Raises UsageError for a database that cannot serve, StoreUnavailableError when it is away or a table is in use.
    """
    url = settings.require_owner()
    with _named(settings):
        before = migrations.current(url)
        migrations.upgrade(url, revision)
        return before, migrations.current(url)


def schema_revision(settings: Settings) -> str | None:
    """Read the revision of the database; None before the first migration."""
    return migrations.current(settings.require_database())


def apply_roles(settings: Settings, prefix: str = ROLES_PREFIX, *, login: bool = False) -> list[str]:
    """Make the database's roles and set their rights; with `login`, the user in DATABASE_URL becomes the worker's.

    Returns what was done, in sentences. Raises UsageError for a user who may not do it, a database without our
    tables, or a login that may do too much; StoreUnavailableError when Postgres is away.
    """
    worker = _login(settings) if login else None
    with _named(settings):
        return roles.apply(settings.require_owner(), roles.Roles.named(prefix), worker)


def _login(settings: Settings) -> roles.Login:
    url = parse(settings.require_database())
    if not url.username:
        raise UsageError("DATABASE_URL names no user. Name the one that is to log in as the worker.")
    return roles.Login(url.username, url.password)


@contextmanager
def _named(settings: Settings) -> Iterator[None]:
    """Name the variable that was meant in what is said of the connection."""
    owner = variable_of("owner_url")
    variable = owner if settings.owner_url else variable_of("database_url")
    try:
        yield
    except UsageError as error:
        if str(error) == WRONG[LACKS_RIGHTS]:
            raise UsageError(f"The user in {variable} may not do this. Name the owner in {owner}.") from error
        if not settings.owner_url or isinstance(error, roles.RefusedLoginError):
            raise
        raise UsageError(str(error).replace("DATABASE_URL", owner)) from error
    except StoreUnavailableError as error:
        message = str(error).replace("DATABASE_URL", variable)
        raise StoreUnavailableError(message, sqlstate=error.sqlstate) from error
