"""A data folder has one owner at a time, and what lies in it is closed to others."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.processes import OURS
from worker.local import folder as module
from worker.local.errors import LocalError
from worker.local.folder import DataFolder

OWNER = """
import os, sys
from pathlib import Path
from worker.local.folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
# Somebody who holds the same lock, and stays for a while after we are gone.
if os.fork() == 0:
    os.setsid()
    sys.stdin.read()
    os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_owner_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    with pytest.raises(LocalError) as refused:
        DataFolder(tmp_path / "data")
    assert str(refused.value) == (
        f"{tmp_path}/data is in use by another mailmirror (process {os.getpid()}): "
        "stop that one first, or set MAILMIRROR_DATA to another folder"
    )
    folder.give_back()
    folder.give_back()
    DataFolder(tmp_path / "data").give_back()


@pytest.mark.server
def test_the_processes_of_a_killed_owner_are_waited_for(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        env=OURS.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    owner.stdout.readline()
    with pytest.raises(LocalError, match=f"process {owner.pid}"):
        DataFolder(tmp_path)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with pytest.MonkeyPatch.context() as patience:
        patience.setattr(module, "_ENDING_SECONDS", 0.2)
        with pytest.raises(LocalError, match="in use"):
            DataFolder(tmp_path)
    owner.communicate()  # closes the pipe: now the other one ends, too
    DataFolder(tmp_path).give_back()


def test_what_lies_in_it_is_closed_to_others(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.note_database_url("postgresql://app:s3cret@127.0.0.1:4711/postgres")
    folder.open_log("beat").close()
    assert mode(folder.path) & 0o066 == 0
    assert mode(folder.subfolder("log")) == 0o700
    assert [mode(path) for path in (folder.database_url_file, folder.log_path("beat"))] == [0o600, 0o600]
    folder.give_back()


def test_the_port_of_the_last_database_is_remembered(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.noted_port() is None
    folder.note_database_url("postgresql://app:a:b%2F@127.0.0.1:4711/postgres")
    assert folder.noted_port() == 4711
    folder.note_database_url("postgresql://nonsense")
    assert folder.noted_port() is None
    folder.give_back()


def test_the_password_of_the_last_database_is_remembered_for_its_user(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.noted_password("app") is None
    folder.note_database_url("postgresql://app:a%3Ab%2F@127.0.0.1:4711/postgres", "postgresql://chief@127.0.0.1/x")
    assert (folder.noted_password("app"), folder.noted_password("chief")) == ("a:b/", None)
    assert mode(folder.owner_url_file) == 0o600
    folder.give_back()


def test_a_large_log_is_emptied_under_its_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_LOG", 10)
    folder = DataFolder(tmp_path)
    with folder.open_log("beat") as log:
        log.write(b"a long line\n")
        folder.trim_logs()
        log.write(b"next\n")
    folder.trim_logs()
    assert folder.log_path("beat").read_text() == "next\n"
    assert folder.log_path("beat").with_suffix(".log.1").read_text() == "a long line\n"
    assert mode(folder.log_path("beat").with_suffix(".log.1")) == 0o600
    folder.give_back()


def test_a_temporary_one_is_gone_afterwards() -> None:
    folder = DataFolder(None)
    assert folder.temporary
    folder.note_database_url("x")
    folder.give_back()
    assert not folder.path.exists()


def test_a_place_where_nothing_can_be_kept_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match=r"cannot be kept in .*file/data: Not a directory; set MAILMIRROR_DATA"):
        DataFolder(tmp_path / "file" / "data")
