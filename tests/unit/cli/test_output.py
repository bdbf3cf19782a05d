"""Numbers, times and names look alike everywhere, and nothing from outside reaches the terminal as a command."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from worker.cli import output
from worker.errors import AccountGoneError, CredentialRefusedError, MailmirrorError, UnreachableError


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3725, "1 h 02 min")]
)
def test_a_duration(seconds: float, shown: str) -> None:
    assert output.duration(seconds) == shown


@pytest.mark.parametrize(
    ("age", "shown"), [(None, "never"), (-3, "0 s ago"), (59, "59 s ago"), (3600, "1 h ago"), (200_000, "2 d ago")]
)
def test_an_age(age: float | None, shown: str) -> None:
    assert output.ago(None if age is None else timedelta(seconds=age)) == shown


def test_a_day() -> None:
    assert output.day(None) == "-"
    assert output.day(datetime(1, 1, 1, tzinfo=UTC)) == "the beginning"
    assert output.day(datetime(2024, 2, 29, 23, 59, tzinfo=UTC)) == "2024-02-29"


def test_a_rate_without_time_is_no_division() -> None:
    assert [output.rate(5, 0.0), output.rate(5, 2.0), output.rate(5000, 2.0)] == ["0.0/s", "2.5/s", "2,500/s"]


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("a\x1b[2Jb\x07\x9b31m")
    output.table(["name"], [["[red]x[/red]\x1b]0;title\x07"]])
    said = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b"} & set(said)
    assert "[red]x[/red]" in said


def test_a_table_in_a_pipe_is_neither_cut_nor_folded(capsys: pytest.CaptureFixture[str]) -> None:
    cause = "It is so. " * 200
    output.table(["id", "cause"], [["1", cause.strip()]], right=["id"])
    assert cause.strip() in capsys.readouterr().out


def test_a_table_in_a_pipe_has_no_blanks_at_the_ends_of_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["n", "name", ""], [["1", "Ann", ""], ["12", "B", "said"]], right=["n"])
    assert capsys.readouterr().out == " n  name\n 1  Ann\n12  B     said\n"


def test_sentences_end_before_the_next_one_begins() -> None:
    assert output.sentences("It is so", None, "Do this.", "Run: x") == "It is so. Do this. Run: x"
    assert output.sentences(None, "") == ""


def on_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setattr(output, "console", lambda: Console(width=columns, force_terminal=True, color_system=None))
    rows = [["1", "ann@mail.example", "active", "It is so. It was so."], ["12", "bob@mail.example", "paused", ""]]
    output.table(["account", "address", "status", ""], rows, right=["account"])
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_table_that_fits_is_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert on_a_terminal(80, monkeypatch, capsys)[1:] == [
        "      1  ann@mail.example  active  It is so. It was so.",
        "     12  bob@mail.example  paused",
    ]


def test_on_a_narrow_terminal_rows_stand_one_below_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on_a_terminal(40, monkeypatch, capsys) == [
        "account  1",
        "address  ann@mail.example",
        "status   active",
        "remarks  It is so. It was so.",
        "",
        "account  12",
        "address  bob@mail.example",
        "status   paused",
    ]


@pytest.mark.parametrize(
    ("error", "account_id", "words"),
    [
        (CredentialRefusedError("No.", scope="token"), 3, "mailmirror accounts token 3"),
        (CredentialRefusedError("No.", scope="token"), None, "Check the token"),
        (CredentialRefusedError("No.", scope="app"), 3, "MAILMIRROR_KLOUDLESS_API_KEY"),
        (UnreachableError("No.", kind="connect"), None, "MAILMIRROR_KLOUDLESS_URL"),
        (AccountGoneError("No."), 3, "mailmirror accounts remove 3"),
        (MailmirrorError("No."), 3, "No."),
    ],
)
def test_an_error_comes_with_what_to_do(error: MailmirrorError, account_id: int | None, words: str) -> None:
    assert words in output.advised(error, account_id)
