"""Connections to Postgres, and what its errors mean to the rest.

No message made here holds a parameter, a DETAIL line or a value: Postgres puts contents of rows there.
"""

import random
import re
import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.pool import NullPool

from worker.config import sqlalchemy_url
from worker.errors import MailmirrorError, StoreUnavailableError, UsageError

__all__ = [
    "MIGRATE",
    "NOW",
    "XACT",
    "Connection",
    "Engine",
    "connect",
    "driver",
    "once",
    "parse",
    "retry_transaction",
    "translated",
]

T = TypeVar("T")

NOW = sa.literal_column("sync.now()", sa.DateTime(timezone=True))
"""The time that is written: the server's, which tests can shift."""

XACT: sa.ColumnElement[Any] = sa.literal_column("pg_current_xact_id()")
"""The value of `changed_in` in every UPDATE that changes what people see."""

MIGRATE = "The database has no mailmirror schema yet. Run: mailmirror migrate"

SESSION = """
    SET TimeZone = 'UTC';
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '120s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '60s';
    SET jit = off;
"""
"""What every session sets, in one round trip; not as start-up options, which poolers refuse."""

CONNECTION: dict[str, Any] = {
    "application_name": "mailmirror",
    "connect_timeout": 10,
    # A peer that vanished is noticed within a minute, well inside a lease.
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""Connection parameters, unless the URL says otherwise."""

RETRYABLE = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same transaction may succeed at once."""


def connect(url: str, *, pool_size: int = 5, pooled: bool = True) -> Engine:
    """Make an engine; nothing is connected yet, and one engine must not cross a fork.

    `pooled=False` closes every connection after use. Raises UsageError for a URL that is none.
    """
    parsed = parse(url)
    pool: dict[str, Any] = {"poolclass": NullPool}
    if pooled:
        pool = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": 30}
    parameters = {name: value for name, value in CONNECTION.items() if name not in parsed.query}
    engine = sa.create_engine(parsed, hide_parameters=True, connect_args=parameters, **pool)
    sa.event.listen(engine, "connect", _prepare_session)
    sa.event.listen(engine, "checkout", _require_silence)
    place = _place_of(parsed)

    def locate(_dialect: object, _record: object, arguments: list[Any], given: dict[str, Any]) -> Any:
        try:
            return psycopg.connect(*arguments, **given)
        except psycopg.OperationalError as error:
            error.add_note(place)  # read by _connecting: libpq's own words do not name the database
            raise

    sa.event.listen(engine, "do_connect", locate)
    return engine


def _place_of(url: URL) -> str:
    """Where a URL leads, without who goes there."""
    host = url.host or url.query.get("host") or "the local socket"
    return f" at {host}{f':{url.port}' if url.port else ''}" + (f" (database {url.database})" if url.database else "")


def parse(url: str) -> URL:
    """Read a Postgres URL; raises UsageError without repeating it."""
    try:
        return make_url(sqlalchemy_url(url))
    except (exc.ArgumentError, ValueError):
        message = "DATABASE_URL cannot be read. It must look like postgresql://user:password@host:5432/name."
        raise UsageError(message) from None


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of SQLAlchemy and psycopg into the project's own; what they say of rows is left out."""
    try:
        yield
    except exc.TimeoutError:
        raise StoreUnavailableError("All connections to Postgres are in use.") from None
    except exc.DBAPIError as error:
        raise _meaning(error.orig) from None
    except exc.SQLAlchemyError as error:
        raise MailmirrorError(f"The database layer failed: {type(error).__name__}.") from None
    except psycopg.Error as error:
        raise _meaning(error) from None


def retry_transaction(
    engine: Engine,
    work: Callable[[Connection], T],
    *,
    attempts: int = 5,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Run `work` in one transaction and commit it; again, whole, after a deadlock or serialization failure.

    `work` must do nothing but SQL on the connection it is given.
    """
    return _again(engine.begin, work, attempts=attempts, sleep=sleep)


def _again(
    opened: Callable[[], AbstractContextManager[Connection]],
    work: Callable[[Connection], T],
    *,
    attempts: int = 5,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    for attempt in range(1, attempts + 1):
        try:
            with translated(), opened() as connection:
                return work(connection)
        except StoreUnavailableError as error:
            if error.sqlstate not in RETRYABLE or attempt == attempts:
                raise
            sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")  # the last attempt returned or raised


def once(engine: Engine, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run one statement of the driver's that is a transaction by itself, and read its rows; again after a deadlock.

    Nothing is sent beside it, where a transaction takes two statements more.
    """

    def work(connection: Connection) -> list[dict[str, Any]]:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        cursor = driver(connection).cursor(row_factory=dict_row)
        cursor.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    return _again(engine.connect, work)


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection under SQLAlchemy's, in the same transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101  # the URL names this driver
    return driver


def _prepare_session(connection: psycopg.Connection[Any], _record: object) -> None:
    connection.autocommit = True
    connection.execute(SESSION)
    connection.autocommit = False


def _require_silence(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """Replace a connection on which the server has said something, which an idle one never hears but for its end.

    It costs no round trip, unlike asking; a peer that vanished without a word is noticed by the keepalives.
    """
    if connection.closed:
        raise exc.DisconnectionError
    asked = select.poll()
    asked.register(connection.fileno(), select.POLLIN)
    if asked.poll(0):
        raise exc.DisconnectionError


UNAVAILABLE = {
    "25006": "Postgres is read-only at the moment (a failover, or default_transaction_read_only).",
    "40001": "Postgres could not serialise the transaction.",
    "40P01": "Postgres ended the transaction to resolve a deadlock.",
    "53100": "Postgres has no disk space left.",
    "53200": "Postgres has no memory left.",
    "53300": "Postgres has no free connection slot.",
    "55P03": "Another worker or session held a row in Postgres too long; that ends within a minute.",
    "57014": "A statement took too long and was cancelled.",
    "57P01": "Postgres is shutting down.",
    "57P03": "Postgres is not ready yet.",
}
"""By sqlstate; others of the classes below are told by their name."""

UNAVAILABLE_CLASSES = frozenset({"08", "40", "53", "55", "57", "58", "XX"})

WRONG = {
    "42P01": MIGRATE,
    "3F000": MIGRATE,
    "42P06": "The database has a schema mail or sync that is not mailmirror's. Give mailmirror a database of its own.",
    "42501": "The user in DATABASE_URL lacks rights on mailmirror's schemas. Give a worker's with: mailmirror roles "
    "apply --login. Analysts use SQL. For migrations, name the owner in MAILMIRROR_OWNER_URL.",
}
"""What a person must put right, by sqlstate."""

REFUSED = (
    (r"password authentication failed|no password supplied", "Postgres refuses the password"),
    (r"role \"[^\"]*\" does not exist", "Postgres does not know the user"),
    (r"database \"[^\"]*\" does not exist", "Postgres does not know the database"),
    (r"Name or service not known|nodename nor servname|No address associated", "There is no such host as the one"),
    (r"no pg_hba\.conf entry", "Postgres lets nobody in from here as the user"),
    (r"permission denied for database", "Postgres does not let the user into the database"),
    (r"invalid (connection|URI)|invalid .* value|missing \"=\"", "There is an unknown option or a wrong value"),
)
"""What libpq or the server says when no connection can be made before DATABASE_URL is changed."""

BUSY = (
    (r"starting up|shutting down|in recovery mode|not yet accepting", "57P03"),
    (r"too many|connection slots", "53300"),
)
"""What the server says when it lets nobody in for the moment."""


def _meaning(error: BaseException | None) -> MailmirrorError:
    if not isinstance(error, psycopg.Error):
        return MailmirrorError(f"The database driver failed: {type(error).__name__}.")
    state = error.sqlstate
    if state is None or state[:2] in {"28", "3D"}:
        return _connecting(error)
    if state in WRONG:
        return UsageError(WRONG[state])
    if state in UNAVAILABLE or state[:2] in UNAVAILABLE_CLASSES:
        other = f"Postgres cannot do it now ({type(error).__name__}, {state})."
        return StoreUnavailableError(UNAVAILABLE.get(state, other), sqlstate=state)
    return MailmirrorError(f"Postgres refused a statement: {_place(error)} ({state}).")


def _connecting(error: psycopg.Error) -> MailmirrorError:
    """Read libpq's words: it gives no sqlstate for a connection that was never made."""
    words = str(error)
    for pattern, sentence in REFUSED:
        if re.search(pattern, words):
            return UsageError(f"{sentence} in DATABASE_URL. Correct it there.")
    if error.sqlstate is not None:
        return UsageError("Postgres does not let the user in DATABASE_URL in. Correct it there.")
    if not isinstance(error, psycopg.OperationalError):
        return MailmirrorError(f"The database driver failed: {type(error).__name__}.")
    for pattern, state in BUSY:
        if re.search(pattern, words):
            return StoreUnavailableError(UNAVAILABLE[state], sqlstate=state)
    place = "".join(getattr(error, "__notes__", ()))
    return StoreUnavailableError(f"Postgres{place} does not answer. Is it running, and is DATABASE_URL right?")


def _place(error: psycopg.Error) -> str:
    """Name the kind of error and where it struck; names of tables and constraints hold no contents."""
    parts = (
        error.diag.schema_name,
        error.diag.table_name,
        error.diag.column_name,
        error.diag.constraint_name,
    )
    names = ".".join(part for part in parts if part)
    return f"{type(error).__name__} on {names}" if names else type(error).__name__
