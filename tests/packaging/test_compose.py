"""docker-compose.yml keeps what it promises: closed containers, secrets as files, nothing published, an order.

It is read here, not run.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packaging.commands import QUEUES, check, hard_limit
from worker.config import FILE, Settings, variable_of

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "worker-live", "worker-backfill", "beat", "web")
WORKERS = ("worker-live", "worker-backfill")
LONG_RUNNING = sorted(SERVICES.keys() - {"migrate"})

every_service = pytest.mark.parametrize("name", SERVICES)


def commands(name: str) -> list[list[str]]:
    """The command of a service, or those that a shell runs one after another."""
    words = SERVICES[name]["command"]
    return [shlex.split(each) for each in words[2].split(" && ")] if words[:2] == ["sh", "-c"] else [words]


def seconds(text: str) -> float:
    parts = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    assert parts, text
    return int(parts[1] or 0) * 60 + int(parts[2] or 0)


def octets(text: str) -> int:
    return int(text[:-1]) * {"m": 2**20, "g": 2**30}[text[-1]]


def test_the_services_are_those_of_the_design() -> None:
    assert SERVICES.keys() == {"postgres", "redis", *OURS}


@every_service
def test_a_container_may_do_nothing_it_need_not(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "userns_mode"} & service.keys()


@every_service
def test_what_can_be_written_is_memory_or_a_volume_of_its_own(name: str) -> None:
    service = SERVICES[name]
    for mount in service["tmpfs"]:
        assert {"nosuid", "nodev", "noexec"} < set(mount.partition(":")[2].split(","))
        assert "size=" in mount
    for volume in service.get("volumes", []):
        assert volume.partition(":")[0] in COMPOSE["volumes"]
        assert "docker.sock" not in volume


@every_service
def test_a_container_has_limits(name: str) -> None:
    service = SERVICES[name]
    assert 0 < service["pids_limit"] <= 256
    assert 0 < octets(service["mem_limit"]) <= 2 * 2**30


@every_service
def test_nothing_is_published_but_the_page_to_this_machine(name: str) -> None:
    assert "expose" not in SERVICES[name]
    assert SERVICES[name].get("ports", []) == (["127.0.0.1:8025:8025"] if name == "web" else [])


def test_only_workers_reach_the_outside_and_servers_never_do() -> None:
    networks = {name: service["networks"] for name, service in SERVICES.items()}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {name for name, joined in networks.items() if "outside" in joined} == set(WORKERS)
    # A port of a network without a way out cannot be published; here nothing that leaves is given an address.
    assert {name for name, joined in networks.items() if "page" in joined} == {"web"}
    options = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert COMPOSE["networks"]["page"] == {"driver_opts": options}
    assert COMPOSE["networks"].keys() == {"inside", "outside", "page"}


@every_service
def test_an_image_is_named_by_its_full_version(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z]+)?(@sha256:[0-9a-f]{64})?", image), image


def test_no_secret_is_written_down() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|URL|KEY|SECRET|TOKEN", variable):
                assert variable.endswith(FILE), f"{name}: {variable}"
                assert value.startswith("/run/secrets/")
        mounted = set(service.get("secrets", []))
        named = set(re.findall(r"/run/secrets/(\w+)", str(service)))
        assert named == mounted, name
        assert mounted <= COMPOSE["secrets"].keys()
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("deploy/secrets/")
    text = (ROOT / "docker-compose.yml").read_text()
    assert re.findall(r"://[^/\s]*:[^/\s]*@", text) == []
    words = re.findall(r"[0-9A-Za-z+/]{20,}", text)
    assert [word for word in words if sum(map(str.isdigit, word)) >= 3] == []


def test_each_container_gets_only_the_secrets_it_needs() -> None:
    given = {name: set(service.get("secrets", [])) for name, service in SERVICES.items()}
    assert given["postgres"] == {"postgres_password"}
    assert given["redis"] == {"redis_conf"}
    assert given["migrate"] == {"database_url", "owner_url"}
    assert all(given[name].isdisjoint({"postgres_password", "redis_conf"}) for name in OURS)
    assert [name for name in SERVICES if "owner_url" in given[name]] == ["migrate"], "workers never see the owner"
    assert [name for name in SERVICES if "web_token" in given[name]] == ["web"]
    assert given["web"] == {"database_url", "redis_url", "web_token"}, "the page opens no account's token"


def test_what_the_environment_says_is_understood() -> None:
    known = {f"{variable_of(name)}{suffix}" for name in Settings.__struct_fields__ for suffix in ("", FILE)}
    for name in OURS:
        assert SERVICES[name]["environment"].keys() <= known
    example = (ROOT / "deploy" / "mailmirror.env.example").read_text()
    assert set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE)) <= known


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_exists(name: str) -> None:
    for words in commands(name):
        check(words)


def test_each_queue_has_a_worker_of_its_own() -> None:
    queues = []
    for name in WORKERS:
        command = SERVICES[name]["command"]
        queues.append(command[command.index("-Q") + 1])
    assert sorted(queues) == sorted(QUEUES)


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_what_runs_on_is_checked_and_restarted(name: str) -> None:
    service = SERVICES[name]
    health = service["healthcheck"]
    assert service["restart"] == "unless-stopped"
    assert health["test"][0] in {"CMD", "CMD-SHELL"}
    assert seconds(health["timeout"]) < seconds(health["interval"])
    assert health["retries"] >= 3
    # Its output is kept and shown by `docker inspect`.
    assert not re.search(r"secret|printenv|\benv\b|cat ", " ".join(health["test"]))


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_asked_by_the_name_it_has(name: str) -> None:
    command, asked = SERVICES[name]["command"], SERVICES[name]["healthcheck"]["test"][1]
    node = command[command.index("-n") + 1]
    assert node.endswith("@%h")
    assert node.replace("%h", "$$(hostname)") in asked
    check(asked.split()[:4])


def test_the_schema_comes_first_and_once() -> None:
    assert SERVICES["migrate"]["restart"] == "no"
    assert commands("migrate") == [["mailmirror", "migrate"], ["mailmirror", "roles", "apply", "--login"]]
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in (*WORKERS, "beat", "web"):
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }


def test_the_queue_is_kept_and_never_drops_anything() -> None:
    options = dict(zip(SERVICES["redis"]["command"][2::2], SERVICES["redis"]["command"][3::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    # Rewriting its file may need as much again.
    assert 2 * octets(options["--maxmemory"].removesuffix("b")) < octets(SERVICES["redis"]["mem_limit"])


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_may_finish_what_it_is_at(name: str) -> None:
    assert seconds(SERVICES[name]["stop_grace_period"]) > hard_limit()


def test_the_database_s_log_holds_no_rows() -> None:
    words = SERVICES["postgres"]["command"]
    assert {"log_error_verbosity=terse", "log_parameter_max_length_on_error=0"} <= set(words)
