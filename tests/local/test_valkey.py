"""A Valkey of our own starts wherever we run, asks for a password, keeps what it should keep, and ends with us."""

import os
import shutil
import socket
import stat
from pathlib import Path

import psutil
import pytest
import redis

from tests.local.processes import gone
from worker.local import valkey as module
from worker.local.errors import LocalError
from worker.local.process import free_port
from worker.local.valkey import RunningValkey, ValkeyProgram, find_programs, start_valkey, version_of

pytestmark = pytest.mark.server

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")


def test_every_server_found_answers_and_leaves_nothing() -> None:
    programs = find_programs()
    assert programs
    for program in programs:
        with start_valkey(program) as server, redis.Redis.from_url(server.url) as client:
            assert client.ping()
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "no"}
            assert client.config_get("save") == {"save": ""}
            assert psutil.Process(server.pid).uids().real != 0
        assert gone(server.pid)
        assert not server.log.exists()
        assert not server.running


def test_nothing_but_loopback_listens(valkey: RunningValkey) -> None:
    listening = [
        address.laddr[:2]
        for address in psutil.Process(valkey.pid).net_connections()
        if address.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", valkey.port)]


def test_nobody_gets_in_without_the_password(valkey: RunningValkey) -> None:
    for url in (f"redis://127.0.0.1:{valkey.port}/0", f"redis://:wrong@127.0.0.1:{valkey.port}/0"):
        with redis.Redis.from_url(url) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_the_password_is_in_no_command_line_no_file_and_no_repr(valkey: RunningValkey, tmp_path: Path) -> None:
    password = valkey.url.partition("//:")[2].partition("@")[0]
    family = [psutil.Process(valkey.pid), *psutil.Process(valkey.pid).parents()]
    assert len(password) >= 32
    assert not any(password in part for process in family for part in process.cmdline())
    assert password not in repr(valkey)
    with start_valkey(data_dir=tmp_path / "data", password="s3cret-s3cret") as kept:
        texts = [path.read_bytes() for path in kept.log.parent.rglob("*") if path.is_file()]
    assert texts
    assert not any(b"s3cret" in text for text in texts)


# pytest's own folders are closed to others: for root this is also "data below a closed folder".
def test_data_in_a_folder_is_kept_between_starts(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for visits in (1, 2):
        with start_valkey(data_dir=closed / "data") as server, redis.Redis.from_url(server.url) as client:
            assert client.incr("visits") == visits
            assert client.bgrewriteaof()
            assert server.log.stat().st_mode & 0o077 == 0
    assert stat.S_IMODE((closed / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_a_program_below_a_closed_folder_is_copied_within_reach(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    here = find_programs()[0]
    program = ValkeyProgram(Path(shutil.copy(here.path, closed)), here.version, here.origin)
    with start_valkey(program) as server:
        copy = Path(psutil.Process(server.pid).exe())
        assert copy != program.path
    assert not copy.exists()


def test_the_port_asked_for_is_taken_when_it_is_free() -> None:
    port = free_port()
    with start_valkey(port=port, password="one") as server:
        assert (server.port, server.url) == (port, f"redis://:one@127.0.0.1:{port}/0")
        with start_valkey(port=port) as other:
            assert other.port != port


def test_a_port_that_another_program_has_is_left_to_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start_valkey(port=port) as server:
            assert server.port != port


def test_without_any_server_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_programs", list)
    with pytest.raises(LocalError, match="apt install redis-server"):
        start_valkey()


def test_a_server_that_is_too_old_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("valkey-server", "Redis server v=6.0.16 sha=0"), ("redis-server", "Redis server v=6.2.0")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{version} bits=64'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(module, "_WHEEL", "no_such_wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert version_of(tmp_path / "valkey-server") == (6, 0)
    assert [program.path.name for program in find_programs()] == ["redis-server"]
    assert version_of(tmp_path / "none") == (0, 0)


def test_a_server_that_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    with start_valkey(data_dir=tmp_path / "data"):
        pass
    for manifest in (tmp_path / "data" / "appendonlydir").glob("*.manifest"):
        manifest.write_text("this is no manifest\n")
    with pytest.raises(LocalError, match=r"Valkey does not start: .*manifest"):
        start_valkey(data_dir=tmp_path / "data")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    if os.geteuid() == 0:
        with pytest.raises(LocalError, match="belongs to another user"):
            start_valkey(data_dir=tmp_path / "letters")
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="cannot be kept"):
        start_valkey(data_dir=tmp_path / "file" / "data")
