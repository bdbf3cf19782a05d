"""The folder is there when it is whole, and not before."""

import os
import stat
from pathlib import Path

import pytest

from worker.errors import MailmirrorError, UsageError
from worker.export.folder import File, whole, within


def break_off(to: Path, error: BaseException) -> None:
    with whole(to, print) as folder:
        (within(folder, "a") / "b").touch()
        raise error


def test_a_folder_that_was_finished_is_there_and_nobody_else_s(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with whole(tmp_path / "out", print) as folder:
            with File(within(folder, "a/b") / "c") as file:
                file.write(b"mail")
            assert not (tmp_path / "out").exists()
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"out": 0o700, "a": 0o700, "b": 0o700, "c": 0o600}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError(), UsageError("no")])
def test_nothing_is_left_of_one_that_was_not(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        break_off(tmp_path / "out", error)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MailmirrorError, match=r"No space left on device\. Nothing of it is left\."):
        break_off(tmp_path / "out", OSError(28, os.strerror(28)))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("shutil.rmtree", refuse)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "out", told.append):
        raise KeyboardInterrupt
    (left,) = tmp_path.iterdir()
    assert told == [f"What was written lies in {left} (Permission denied). Remove it."]
    with whole(tmp_path / "out", told.append):
        pass
    assert told[1:] == [f"An export that was killed, or one that still runs, has left {left}. Remove it if none runs."]


def test_an_empty_folder_gives_way(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with whole(tmp_path / "link", print) as folder:
        (folder / "a").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("full", "is not empty"),
        ("file", "is no folder"),
        ("missing/out", "There is no folder"),
        ("file/out", "There is no folder"),
        ("x" * 250, "File name too long"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused(tmp_path: Path, place: str, sentence: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=sentence), whole(tmp_path / place, print):
        pytest.fail("it was begun")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_somebody_filled_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    def fill() -> None:
        with whole(tmp_path / "out", print):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "a").touch()

    with pytest.raises(UsageError, match="filled by somebody else"):
        fill()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "out"]
