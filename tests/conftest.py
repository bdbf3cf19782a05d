"""Fixtures every test may ask for: real PostgreSQL servers, fresh databases on them, a real Valkey, real mail."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import psycopg
import pytest
from psycopg import sql

from worker.local.cluster import SUPERUSER, WORKER
from worker.local.postgres import THROW_AWAY, PostgresBinaries, RunningPostgres, find_binaries, start
from worker.local.valkey import RunningValkey, start_valkey

ROOT = Path(__file__).resolve().parent.parent

# A shared machine pauses now and then: time is no verdict.
hypothesis.settings.register_profile("mailmirror", deadline=None, print_blob=True)
hypothesis.settings.load_profile("mailmirror")


class PostgresServer:
    """One running server that makes and drops databases; the migrated template is made at first use."""

    def __init__(self, running: RunningPostgres) -> None:
        self.running = running
        self.major = running.binaries.major
        self.origin = running.binaries.origin
        self._template: str | None = None

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a migrated database on this server, for the worker."""
        return as_user(self.plain_url(name), WORKER).replace("postgresql://", "postgresql+psycopg://", 1)

    def plain_url(self, name: str = "postgres") -> str:
        """Return the URL of a database on this server as libpq takes it, for the superuser: for the test's own acts."""
        return f"{self.running.url.rpartition('/')[0]}/{name}"

    def create(self, template: str = "template0") -> str:
        """Create a database and return its name."""
        name = f"test_{uuid4().hex[:16]}"
        self._run("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def migrated_template(self) -> str:
        """Return the name of a database with the newest schema and no rows, to copy from."""
        if self._template is None:
            name = self.create()
            prepare(self.plain_url(name))
            self._run("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
            self._template = name
        return self._template

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.plain_url(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def as_user(url: str, user: str) -> str:
    """Name another user in the URL of a test's server, which asks nobody for a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}@{rest.rpartition('@')[2]}"


def as_superuser(url: str) -> str:
    """Name the superuser there, and leave the driver out: for what a test does behind the worker's back."""
    return as_user(url, SUPERUSER).replace("postgresql+psycopg://", "postgresql://", 1)


def prepare(url: str) -> str:
    """Bring a test's database to the newest schema and set its roles; returns its URL for the worker."""
    from worker.store import migrations, roles  # the servers' own tests run without the store

    migrations.upgrade(url)
    roles.apply(url, roles.Roles.named(), roles.Login(WORKER))
    return as_user(url, WORKER)


def _every_server() -> list[PostgresBinaries | None]:
    return [*find_binaries()] or [None]


def _name_server(binaries: PostgresBinaries | None) -> str:
    return f"{binaries.origin}{binaries.major}" if binaries else "none"


def _preferred_server() -> PostgresBinaries | None:
    """Return what MAILMIRROR_TEST_POSTGRES asks for ("wheel" or "system"); None leaves it to `start`."""
    wanted = os.environ.get("MAILMIRROR_TEST_POSTGRES")
    if not wanted:
        return None
    fitting = [binaries for binaries in find_binaries() if binaries.origin == wanted]
    if not fitting:
        pytest.fail(f"MAILMIRROR_TEST_POSTGRES={wanted}, but there is no such server here")
    return fitting[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL or Valkey, so that `make check` can leave it out."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"postgres", "any_postgres"} & fixtures:
            item.add_marker(pytest.mark.postgres)
        if "valkey" in fixtures:
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One throw-away server for the whole run."""
    with start(_preferred_server(), settings=THROW_AWAY) as running:
        yield PostgresServer(running)


@pytest.fixture(scope="session", params=_every_server(), ids=_name_server)
def any_postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Every PostgreSQL on this machine in turn: 18 and 16 from the wheel, and the system's."""
    with start(request.param, settings=THROW_AWAY) as running:
        yield PostgresServer(running)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh database with the newest schema, for the worker: what the program connects with."""
    name = postgres.create(postgres.migrated_template())
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def owner_database(database: str) -> str:
    """The URL of that database for the superuser who made its tables."""
    return as_superuser(database)


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh database without any schema of ours, for the superuser."""
    name = postgres.create()
    yield postgres.plain_url(name).replace("postgresql://", "postgresql+psycopg://", 1)
    postgres.drop(name)


@pytest.fixture
def any_database(any_postgres: PostgresServer) -> Iterator[str]:
    """The same as `database`, on every PostgreSQL of this machine in turn."""
    name = any_postgres.create(any_postgres.migrated_template())
    yield any_postgres.url(name)
    any_postgres.drop(name)


@pytest.fixture
def any_empty_database(any_postgres: PostgresServer) -> Iterator[str]:
    """The same as `empty_database`, on every PostgreSQL of this machine in turn."""
    name = any_postgres.create()
    yield any_postgres.plain_url(name).replace("postgresql://", "postgresql+psycopg://", 1)
    any_postgres.drop(name)


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection of the test's own to `database`, in autocommit."""
    with psycopg.connect(as_superuser(database), autocommit=True) as opened:
        yield opened


@pytest.fixture
def valkey() -> Iterator[RunningValkey]:
    """An empty Valkey of the test's own, with nothing kept."""
    with start_valkey() as running:
        yield running


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real mail beside the checkout (or in MAILMIRROR_CORPUS); skips where there is none."""
    folder = Path(os.environ.get("MAILMIRROR_CORPUS") or ROOT.parent / "shared" / "corpus")
    if not folder.is_dir():
        pytest.skip(f"no real mail in {folder}")
    return folder
