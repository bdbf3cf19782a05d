"""A child process ends with us, takes its own children along, and cannot refuse."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.local.processes import gone, wait_until
from worker.local.errors import LocalError
from worker.local.process import Child, spawn

pytestmark = pytest.mark.server


def shell(script: str, tmp_path: Path, *signals: tuple[int, float]) -> Child:
    with (tmp_path / "log").open("ab") as output:
        return spawn(
            ["/bin/sh", "-c", script],
            output=output,
            env=dict(os.environ),
            signals=signals or ((signal.SIGTERM, 20), (signal.SIGKILL, 20)),
        )


def said(tmp_path: Path) -> str:
    wait_until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    return (tmp_path / "log").read_text().strip()


def test_stop_ends_the_command_and_what_it_left_behind(tmp_path: Path) -> None:
    child = shell("sleep 1000 & echo $!; wait", tmp_path)
    grandchild = int(said(tmp_path))
    assert not gone(grandchild)
    child.stop()
    assert not child.running
    assert gone(child.pid)
    wait_until(lambda: gone(grandchild))


def test_what_ignores_the_first_signal_gets_the_next(tmp_path: Path) -> None:
    child = shell("trap '' INT; echo deaf; sleep 1000", tmp_path, (signal.SIGINT, 0.2), (signal.SIGKILL, 20))
    assert said(tmp_path) == "deaf"
    child.stop()
    assert gone(child.pid)


def test_a_command_that_ends_by_itself_is_seen(tmp_path: Path) -> None:
    child = shell("exit 3", tmp_path)
    wait_until(lambda: not child.running)
    child.stop()


def test_folders_named_for_removal_are_gone_afterwards(tmp_path: Path) -> None:
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    with (tmp_path / "log").open("ab") as output:
        child = spawn(["/bin/sleep", "1000"], output=output, env={}, remove=[doomed])
    assert doomed.exists()
    child.stop()
    assert not doomed.exists()


def test_folders_named_for_clearing_stay_when_the_command_ends_by_itself(tmp_path: Path) -> None:
    for script, cleared in (("exit 1", False), ("sleep 1000", True)):
        folder = tmp_path / script.replace(" ", "_")
        folder.mkdir()
        with (tmp_path / "log").open("ab") as output:
            child = spawn(
                ["/bin/sh", "-c", script],
                output=output,
                env=dict(os.environ),
                signals=((signal.SIGTERM, 20), (signal.SIGKILL, 20)),
                clear=[folder],
            )
        if not cleared:
            wait_until(lambda child=child: not child.running)  # type: ignore[misc]  # bound at once
        child.stop()
        assert folder.exists() is not cleared


def test_a_command_reads_what_it_is_fed(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as output, spawn(["/bin/cat"], output=output, env={}, feed="port 1\n") as child:
        wait_until(lambda: not child.running)
    assert (tmp_path / "log").read_text() == "port 1\n"


def test_several_can_be_asked_to_stop_before_one_is_waited_for(tmp_path: Path) -> None:
    children = [shell("sleep 1000", tmp_path) for _ in range(2)]
    for child in children:
        child.ask_to_stop()
    for child in children:
        wait_until(lambda child=child: not child.running)  # type: ignore[misc]  # bound at once
        child.stop()


def test_a_file_is_held_open_for_as_long_as_the_command_runs(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with (tmp_path / "log").open("ab") as output:
        child = spawn(["/bin/sleep", "1000"], output=output, env={}, holding=[writer])
    os.close(writer)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):  # somebody could still write
        os.read(reader, 1)
    child.stop()
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_the_environment_is_in_no_command_line(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as output:
        child = spawn(["/bin/sleep", "1000"], output=output, env={"TOKEN": "s3cret"})
    with child:
        family = [psutil.Process(child.pid), *psutil.Process(child.pid).parents()]
        assert not any("s3cret" in part for process in family for part in process.cmdline())
        assert psutil.Process(child.pid).environ()["TOKEN"] == "s3cret"


def test_a_fork_of_the_starter_does_not_end_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = shell("sleep 1000", tmp_path)
    with monkeypatch.context() as forked:
        forked.setattr(child, "_owner", os.getpid() + 1)
        child.stop()
    assert child.running
    child.stop()


def test_a_missing_command_is_one_clear_error(tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("ab") as output,
        pytest.raises(LocalError, match=r"/no/such/program cannot be started: .*No such file"),
    ):
        spawn(["/no/such/program"], output=output, env={})
