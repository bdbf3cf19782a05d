"""The PostgreSQL of a run: its own server, with lz4 where one on this machine has it, and databases with our schema."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import psycopg

from worker.local.postgres import PostgresBinaries, RunningPostgres, find_binaries, start
from worker.store import migrations

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "shared_buffers": "1GB",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "1h",
        "max_connections": "200",
        "jit": "off",
        # What runs by itself would be charged to whoever is measured at that moment.
        "autovacuum": "off",
    }
)
"""fsync and synchronous_commit stay on."""


def chosen() -> PostgresBinaries:
    """Return the server to measure on: the first with lz4, else the first."""
    every = find_binaries()
    if not every:
        raise SystemExit("No PostgreSQL 15 or newer on this machine. Install one, as in: apt install postgresql")
    return next((binaries for binaries in every if has_lz4(binaries)), every[0])


def has_lz4(binaries: PostgresBinaries) -> bool:
    """Tell whether this server was built with lz4."""
    asked = subprocess.run([binaries.bindir / "pg_config", "--configure"], capture_output=True, text=True, check=False)
    return "lz4" in asked.stdout


@contextmanager
def running(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[RunningPostgres]:
    """Run a server for the length of a with block."""
    with start(chosen(), settings={**SETTINGS, **settings}) as server:
        yield server


def database(server: RunningPostgres, name: str, *, migrated: bool = True) -> str:
    """Make a database and return its URL."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create database {name} template template0".encode())
    url = f"{server.url.rpartition('/')[0]}/{name}"
    if migrated:
        migrations.upgrade(url)
    return url
