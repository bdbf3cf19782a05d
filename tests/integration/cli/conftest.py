"""The command line over a fresh database, and an upstream to mirror."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.command import Command
from worker.sandbox import Sandbox, SandboxOptions, running


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command without any setting."""
    return Command(monkeypatch, capsys, tmp_path)


@pytest.fixture
def command(bare: Command, database: str) -> Command:
    """The command over a migrated database without accounts."""
    bare.set(DATABASE_URL=database.replace("+psycopg", ""))
    return bare


@pytest.fixture
def upstream() -> Iterator[Sandbox]:
    """Two mailboxes with little mail."""
    with running(SandboxOptions(messages=60, accounts=2)) as sandbox:
        yield sandbox


@pytest.fixture
def mailbox(command: Command, upstream: Sandbox) -> Sandbox:
    """The upstream, whose first mailbox is account 1."""
    command.set(MAILMIRROR_KLOUDLESS_URL=upstream.url)
    added = command("accounts", "add", "kloudless", "--token-stdin", stdin=upstream.token(1001) + "\n")
    assert added.code == 0, added.err
    return upstream
