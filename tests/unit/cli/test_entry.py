"""Errors become one line and an exit code; every command and option explains itself."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from worker.cli import entry, main, session
from worker.errors import MailmirrorError, StoreUnavailableError, UsageError


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def commands(command: Any, path: str = "mailmirror") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


ALL = dict(commands(get_command(entry.app)))


@pytest.mark.parametrize("path", ALL)
def test_each_command_and_option_explains_itself_in_one_sentence(path: str) -> None:
    command = ALL[path]
    texts = [command.help, *(parameter.help for parameter in command.params if parameter.name != "help")]
    for text in texts:
        assert text, path
        assert text.endswith("."), text
        assert "\n" not in text.strip()


@pytest.mark.parametrize("path", ALL)
def test_help_needs_no_settings(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*path.split()[1:], "--help") == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [("sync", "--bogus"), ("snyc",), ("verify",), ("problems", "show", "first"), ("sync", "--max-time", "-1")],
)
def test_misuse_is_one_line_and_code_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "See: mailmirror" in said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("problems", "show", "first"), "ID must be a whole number."),
        (("sync", "--max-time", "-1"), "--max-time must be at least 0."),
        (("sandbox", "--paging", "x"), "--paging must be one of keyset, offset."),
    ],
)
def test_a_wrong_value_is_told_in_our_words(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments) == 2
    assert capsys.readouterr().err.startswith(f"{sentence} See: mailmirror ")


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("Do this."), 2), (MailmirrorError("It is so."), 1), (StoreUnavailableError("It is away."), 1)],
)
def test_an_error_is_its_sentence(
    error: MailmirrorError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(session, "settings", refuse)
    assert ended("config") == code
    assert capsys.readouterr().err == f"{error}\n"


def test_the_unexpected_is_one_line_and_its_place_is_there_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumble() -> None:
        raise ZeroDivisionError("with a secret")

    monkeypatch.setattr(session, "settings", stumble)
    monkeypatch.delenv(entry.DEBUG, raising=False)
    assert ended("config") == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "ZeroDivisionError" in said
    assert f"{entry.DEBUG}=1" in said
    assert "secret" not in said
    monkeypatch.setenv(entry.DEBUG, "1")
    assert ended("config") == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_says_that_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "settings", interrupt)
    assert ended("config") == 130
    assert capsys.readouterr().err == "Interrupted. What was committed stays; run it again to go on.\n"
