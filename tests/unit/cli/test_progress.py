"""Progress is one living line on a terminal, seldom a plain line elsewhere, and never on stdout."""

import pytest

from worker.cli import progress


def work(*, quiet: bool = False, bar: bool = False) -> None:
    with progress.watching(quiet=quiet, bar=bar) as watch:
        watch.begin("Account 1", total=4)
        watch.show("2 of 4 [bold]\x1b[2J", 2)
        watch.remark("Going on in 3 s.")


def test_a_log_gets_plain_lines_and_not_too_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work()
    assert capsys.readouterr() == ("", "Going on in 3 s.\n")
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    work()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["Account 1: 50%, 2 of 4 [bold]\N{REPLACEMENT CHARACTER}[2J", "Going on in 3 s."]


@pytest.mark.parametrize("bar", [False, True])
def test_a_terminal_gets_a_line_that_is_drawn_again(
    bar: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    work(bar=bar)
    said = capsys.readouterr()
    assert said.out == ""
    assert "2 of 4 [bold]" in said.err
    assert "Going on in 3 s." in said.err
    assert "\x1b[2J" not in said.err


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    work(quiet=True)
    assert capsys.readouterr() == ("", "")
