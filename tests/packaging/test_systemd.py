"""The systemd units say what systemd understands, run commands that exist, and are as closed as they can be."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.commands import QUEUES, check, hard_limit

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNITS = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.service"))}
PREFIX = "/opt/mailmirror/bin/"
MIGRATE = "mailmirror-migrate.service"

CLOSED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
    "User": "mailmirror",
    "EnvironmentFile": "/etc/mailmirror/mailmirror.env",
}

every_unit = pytest.mark.parametrize("name", UNITS)


def settings(name: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", UNITS[name], re.MULTILINE))


def test_there_is_one_unit_for_each_process() -> None:
    assert UNITS.keys() == {
        MIGRATE,
        "mailmirror-worker-live.service",
        "mailmirror-worker-backfill.service",
        "mailmirror-beat.service",
        "mailmirror-web.service",
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_understands_them(tmp_path: Path) -> None:
    for name, text in UNITS.items():
        # The programs are not installed there on this machine.
        (tmp_path / name).write_text(re.sub(rf"{PREFIX}\w+", "/bin/true", text))
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(tmp_path.iterdir())], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "mailmirror" in line]
    assert (done.returncode, ours) == (0, [])


@every_unit
def test_a_unit_may_do_nothing_it_need_not(name: str) -> None:
    found = settings(name)
    assert {key: found.get(key) for key in CLOSED} == CLOSED
    assert {"MemoryMax", "TasksMax"} <= found.keys()


@every_unit
def test_every_command_exists(name: str) -> None:
    for command in re.findall(r"^ExecStart=(.*)$", UNITS[name], re.MULTILINE):
        assert command.startswith(PREFIX)
        check(shlex.split(command.removeprefix(PREFIX).replace("%%", "%")))


@every_unit
def test_no_secret_is_written_down(name: str) -> None:
    assert not re.search(r"://|PASSWORD|TOKEN|_URL|KEY=", UNITS[name])


def test_each_queue_has_a_worker_of_its_own() -> None:
    queues = [found[1] for text in UNITS.values() if (found := re.search(r"-Q (\w+)", text))]
    assert sorted(queues) == sorted(QUEUES)


@pytest.mark.parametrize("name", sorted(UNITS.keys() - {MIGRATE}))
def test_the_schema_comes_first(name: str) -> None:
    found = settings(name)
    assert found["Requires"] == MIGRATE
    assert MIGRATE in found["After"].split()
    assert found["Restart"] == "always"


def test_only_the_migration_knows_the_owner_and_it_sets_the_roles() -> None:
    assert [name for name, text in UNITS.items() if "owner.env" in text] == [MIGRATE]
    done = re.findall(rf"^ExecStart={PREFIX}(.*)$", UNITS[MIGRATE], re.MULTILINE)
    assert done == ["mailmirror migrate", "mailmirror roles apply --login"]


def test_the_schema_is_brought_up_once() -> None:
    found = settings(MIGRATE)
    assert (found["Type"], found["RemainAfterExit"]) == ("oneshot", "yes")
    assert "Restart" not in found


@pytest.mark.parametrize("name", [name for name in UNITS if "worker" in name])
def test_a_worker_may_finish_what_it_is_at(name: str) -> None:
    assert settings(name)["KillMode"] == "mixed"
    assert float(settings(name)["TimeoutStopSec"]) > hard_limit()
