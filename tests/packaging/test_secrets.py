"""The secrets that the compose file mounts are made in one go, fit each other, and are closed to others."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import redis
import yaml

from tests.local.processes import wait_until
from worker.config import FILE, from_environment
from worker.local import cluster
from worker.local.binaries import find_binaries
from worker.local.process import free_port, server_account, spawn
from worker.local.valkey import find_programs
from worker.store.credentials import load_keys

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The folder with freshly made secrets."""
    shutil.copy(ROOT / "deploy" / "make-secrets", tmp_path)
    subprocess.run(["sh", tmp_path / "make-secrets"], check=True, capture_output=True)
    return tmp_path / "secrets"


def test_all_that_is_mounted_is_made(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == COMPOSE["secrets"].keys()
    assert {f"deploy/secrets/{name}" for name in COMPOSE["secrets"]} == {
        secret["file"] for secret in COMPOSE["secrets"].values()
    }


def test_the_folder_is_closed_and_containers_can_read_the_files(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o444}


def test_they_stay_when_they_are_made_again(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    again = subprocess.run(["sh", made.parent / "make-secrets"], check=True, capture_output=True, text=True)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before
    assert not any(secret.decode().strip() in again.stdout for secret in before.values() if secret)


def test_the_program_reads_them_and_they_fit(made: Path) -> None:
    environment = COMPOSE["services"]["worker-live"]["environment"]
    mounted = {variable: value.replace("/run/secrets", str(made)) for variable, value in environment.items()}
    assert all(variable.endswith(FILE) for variable in mounted)
    settings = from_environment(mounted)
    assert settings.database_url is not None
    assert re.fullmatch("postgresql://mailmirror_worker:[0-9a-f]{64}@postgres:5432/mailmirror", settings.database_url)
    migrating = COMPOSE["services"]["migrate"]["environment"]
    owner = from_environment(
        {variable: value.replace("/run/secrets", str(made)) for variable, value in migrating.items()}
    )
    password = (made / "postgres_password").read_text()
    assert owner.owner_url == f"postgresql://mailmirror:{password}@postgres:5432/mailmirror"
    assert owner.database_url == settings.database_url
    assert password not in settings.database_url
    assert settings.redis_url is not None
    assert settings.redis_url.split("@")[1] == "redis:6379/0"
    assert load_keys(settings).names == ("k1",)
    assert settings.kloudless_api_key is None


def test_the_file_is_ignored_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deploy/secrets/", "/deploy/mailmirror.env"} <= set(ignored)


@pytest.mark.server
def test_the_broker_starts_with_its_command_and_asks_for_the_password(made: Path, tmp_path: Path) -> None:
    command = COMPOSE["services"]["redis"]["command"]
    port = free_port()
    words = [word.replace("/run/secrets", str(made)) for word in command[1:]]
    arguments = [str(find_programs()[0].path), *words, "--bind", "127.0.0.1", "--port", str(port)]
    url = (made / "redis_url").read_text().strip().replace("redis:6379", f"127.0.0.1:{port}")
    with (tmp_path / "log").open("ab") as log, spawn(arguments, output=log, env={}, cwd=tmp_path):
        with redis.Redis.from_url(f"redis://127.0.0.1:{port}/0") as stranger:
            wait_until(lambda: b"Ready to accept" in (tmp_path / "log").read_bytes())
            with pytest.raises(redis.AuthenticationError):
                stranger.ping()
        with redis.Redis.from_url(url) as client:
            assert client.ping()
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.server
def test_the_database_can_be_made_with_its_arguments() -> None:
    words = COMPOSE["services"]["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split()
    fitting = [binaries for binaries in find_binaries() if binaries.major >= 17]
    if not fitting:
        pytest.skip("no PostgreSQL 17 or newer here")
    account = server_account()
    reachable, copied = cluster.within_reach(fitting[0], account)
    folder = cluster.temporary_folder(account)
    try:
        done = subprocess.run(
            [reachable.bindir / "initdb", "-D", folder / "data", "-U", "mailmirror", "--no-sync", *words],
            env={**cluster.environment(), "LANG": "en_US.utf8"},
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rules = (folder / "data" / "pg_hba.conf").read_text()
        assert "scram-sha-256" in rules
        assert os.path.lexists(folder / "data" / "PG_VERSION")
    finally:
        cluster.discard([folder, *([copied] if copied else [])])
