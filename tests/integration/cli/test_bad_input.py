"""Bad input ends in one sentence that says what to do, with the right exit code and nothing half-written."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import psycopg
import pytest

from tests.integration.cli.command import Command
from worker.cli import sync
from worker.sandbox import Sandbox
from worker.store import leases
from worker.store.engine import connect

ADD = ("accounts", "add", "kloudless", "--token-stdin")


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of an upstream that is not there: the port is taken, but nobody listens."""
    with socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def nothing_was_written(connection: psycopg.Connection, command: Command) -> bool:
    found = connection.execute(
        "SELECT (SELECT count(*) FROM sync.accounts) + (SELECT count(*) FROM sync.credentials)"
    ).fetchone()
    return found == (0,) and not command.data.exists()


def test_a_wrong_token(command: Command, upstream: Sandbox, connection: psycopg.Connection) -> None:
    command.set(MAILMIRROR_KLOUDLESS_URL=upstream.url)
    command(*ADD, stdin="no-such-token\n").refused(2, "does not accept this token", "MAILMIRROR_KLOUDLESS_URL")
    command(*ADD, "--account-id", "1002", stdin=upstream.token(1001)).refused(2, "1001", "1002")
    assert nothing_was_written(connection, command)


def test_a_wrong_app_key(command: Command, upstream: Sandbox, connection: psycopg.Connection) -> None:
    command.set(MAILMIRROR_KLOUDLESS_URL=upstream.url, MAILMIRROR_KLOUDLESS_API_KEY="wrong")
    command("accounts", "add", "kloudless", "--account-id", "1001").refused(2, "MAILMIRROR_KLOUDLESS_API_KEY")
    command.set(MAILMIRROR_KLOUDLESS_API_KEY=upstream.api_key)
    command("accounts", "add", "kloudless", "--account-id", "4711").refused(1, "account's id")
    assert nothing_was_written(connection, command)


@pytest.mark.parametrize("given", ["", "\n", "   \n"])
def test_no_token_on_standard_input(
    command: Command, upstream: Sandbox, connection: psycopg.Connection, given: str
) -> None:
    command.set(MAILMIRROR_KLOUDLESS_URL=upstream.url)
    command(*ADD, stdin=given).refused(2, "standard input")
    assert nothing_was_written(connection, command)


def test_neither_token_nor_key(command: Command, connection: psycopg.Connection) -> None:
    command("accounts", "add", "kloudless", "--account-id", "1001").refused(2, "--token-stdin", "API_KEY")
    assert nothing_was_written(connection, command)


def test_an_unknown_kind_of_source(command: Command, connection: psycopg.Connection) -> None:
    command("accounts", "add", "pigeon", "--token-stdin", stdin="x").refused(2, "pigeon", "kloudless")
    assert nothing_was_written(connection, command)


def test_an_upstream_that_cannot_be_reached(command: Command, nobody: str, connection: psycopg.Connection) -> None:
    command.set(MAILMIRROR_KLOUDLESS_URL=nobody)
    command(*ADD, stdin="x").refused(1, "cannot be reached", "MAILMIRROR_KLOUDLESS_URL")
    assert nothing_was_written(connection, command)


def test_an_upstream_that_is_away_is_tried_again_before_giving_up(
    command: Command, mailbox: Sandbox, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "PAUSES", (0.0, 0.0, 0.0))
    command.set(MAILMIRROR_KLOUDLESS_URL=nobody)
    ran = command("sync", "1")
    assert (ran.code, ran.out) == (1, "")
    lines = ran.err.splitlines()
    assert len(lines) == 4
    assert "MAILMIRROR_KLOUDLESS_URL" in lines[-1]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://mail.example/v1", "https://"),
        ("ftp://mail.example/v1", "https"),
        ("https://user:secret@mail.example/v1", "user name"),
    ],
)
def test_an_upstream_address_that_cannot_be_used(
    command: Command, connection: psycopg.Connection, url: str, words: str
) -> None:
    command.set(MAILMIRROR_KLOUDLESS_URL=url)
    ran = command(*ADD, stdin="x")
    ran.refused(2, "MAILMIRROR_KLOUDLESS_URL", words)
    assert "secret" not in ran.err
    assert nothing_was_written(connection, command)


def test_an_unknown_account(command: Command) -> None:
    for wanted in ("7", "0", "99999999999999999999999", "nobody@mail.example", "\x1b[2J"):
        for arguments in (("sync",), ("status",), ("verify",), ("problems", "list"), ("accounts", "pause")):
            ran = command(*arguments, wanted)
            ran.refused(2, "no account", "accounts list")
            assert "\x1b[2J" not in ran.err


def test_a_mailbox_that_is_an_account_already(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    command(*ADD, stdin=mailbox.token(1001)).refused(2, "account 1", "mailmirror accounts token 1")
    assert connection.execute("SELECT count(*) FROM sync.accounts").fetchone() == (1,)


@pytest.mark.parametrize("arguments", [("migrate",), ("status",), ("sync",)])
def test_no_database_url(bare: Command, arguments: tuple[str, ...]) -> None:
    bare(*arguments).refused(2, "DATABASE_URL is not set")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://app:wrong-password@{place}/{name}", "postgresql://"),
        ("{place}/{name}", "postgresql://"),
        ("postgresql://app:wrong-password@{place}x/{name}", "cannot be read"),
        ("postgresql://app:wrong-password@no-such-host.invalid/{name}", "no such host"),
        ("postgresql://nobody:wrong-password@{place}/{name}", "DATABASE_URL"),
        ("{login}@{place}/no_such_database", "does not know the database"),
        ("{login}@{place}/{name}?sslmode=perhaps", "DATABASE_URL"),
    ],
)
def test_a_wrong_database_url(bare: Command, empty_database: str, url: str, words: str) -> None:
    login, _, rest = empty_database.replace("+psycopg", "").rpartition("@")
    place, _, name = rest.partition("/")
    bare.set(DATABASE_URL=url.format(login=login, place=place, name=name))
    for arguments in (("migrate",), ("status",), ("accounts", "list")):
        ran = bare(*arguments)
        ran.refused(2, words)
        assert "wrong-password" not in ran.err


def test_a_database_that_is_away(bare: Command) -> None:
    with socket() as held:
        held.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{held.getsockname()[1]}"
        bare.set(DATABASE_URL=f"postgresql://app:wrong-password@{place}/mail")
        for arguments in (("status",), ("migrate",), ("accounts", "list")):
            ran = bare(*arguments)
            ran.refused(1, f"Postgres at {place} (database mail) does not answer. Is it running")
            assert "wrong-password" not in ran.err


def test_a_schema_that_is_not_migrated(bare: Command, empty_database: str) -> None:
    bare.set(DATABASE_URL=empty_database.replace("+psycopg", ""))
    for arguments in (("status",), ("sync",), ("accounts", "list"), ADD):
        bare(*arguments, stdin="x").refused(2, "Run: mailmirror migrate")
    assert not bare.data.exists()


def test_an_unknown_revision(command: Command) -> None:
    command("migrate", "--revision", "nowhere").refused(2, "nowhere")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAILMIRROR_PAGE_SIZE", "many", "a whole number"),
        ("MAILMIRROR_PAGE_SIZE", "0", "between 1 and 1000"),
        ("MAILMIRROR_BODIES", "some", "full, text, none"),
        ("MAILMIRROR_KEEP_RAW", "perhaps", "true or false"),
        ("MAILMIRROR_KLOUDLESS_URL", "https://a:secret@mail.example/v1", "user name"),
        ("REDIS_URL", "http://queue", "redis://"),
        ("MAILMIRROR_POLL_SLOWEST", "30s", "MAILMIRROR_POLL_SECONDS"),
    ],
)
def test_a_setting_that_cannot_be_used(bare: Command, name: str, value: str, words: str) -> None:
    bare.set(**{name: value})
    for arguments in (("status",), ("config",), ("migrate",)):
        bare(*arguments).refused(2, name, words)


def test_a_value_from_a_file_is_told_by_the_name_of_that_variable(bare: Command, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("mysql://app@db/mail")
    bare.set(DATABASE_URL_FILE=str(tmp_path / "url"))
    bare("status").refused(2, "DATABASE_URL_FILE must begin with postgresql://")


def test_an_unknown_setting_is_a_word_beside_the_answer(bare: Command) -> None:
    bare.set(MAILMIRROR_PAGESIZE="9")
    ran = bare("config")
    assert (ran.code, "MAILMIRROR_PAGESIZE" in ran.out) == (0, False)
    assert ran.err == "MAILMIRROR_PAGESIZE is no setting and changes nothing. Did you mean MAILMIRROR_PAGE_SIZE?\n"


def test_a_key_ring_that_is_none(command: Command) -> None:
    command.set(MAILMIRROR_KEYRING="k:short")
    command("status").refused(2, "MAILMIRROR_KEYRING", "mailmirror keys make")
    command("config").refused(2, "MAILMIRROR_KEYRING", "mailmirror keys make")
    command.set(MAILMIRROR_KEYRING="=abc")
    command("config").refused(2, "MAILMIRROR_KEYRING cannot be read: No such file")


def test_a_key_that_is_missing_from_the_ring(command: Command, mailbox: Sandbox) -> None:
    key = "other:" + "A" * 43 + "="
    command.set(MAILMIRROR_KEYRING=key)
    for arguments in (("sync", "1"), ("verify", "1")):
        command(*arguments).refused(2, "MAILMIRROR_KEYRING", "accounts token 1")


def test_a_key_file_that_is_not_where_it_is_looked_for(command: Command, mailbox: Sandbox) -> None:
    file = command.data / "keyring"
    file.rename(command.data / "elsewhere")
    words = f"There is no key file at {file}. Put it back, or set MAILMIRROR_DATA or MAILMIRROR_KEYRING."
    command("sync", "1").refused(2, words)
    command("verify", "1").refused(2, words)
    assert command("status").err == f"{words}\n"


def test_a_key_file_that_others_can_read(command: Command, mailbox: Sandbox) -> None:
    (command.data / "keyring").chmod(0o644)
    command("sync", "1").refused(2, "chmod 600")


def test_another_worker_on_the_account(command: Command, mailbox: Sandbox, database: str) -> None:
    engine = connect(database)
    leases.take_lease(engine, 1, "elsewhere/4026531836:17:22334455")
    engine.dispose()
    whose = "Account 1 is being worked on by elsewhere:17 until "
    command("sync", "1").refused(1, whose, "Try again in", "mailmirror sync 1 --wait")
    command("accounts", "confirm-deletes", "1").refused(1, whose, "Try again in")
    assert "being worked on by elsewhere:17\n" in command("status").out


def test_a_worker_that_finishes_in_time_is_waited_for(command: Command, mailbox: Sandbox, database: str) -> None:
    engine = connect(database)
    leases.take_lease(engine, 1, "elsewhere:1", seconds=1)
    engine.dispose()
    ran = command("sync", "1", "--wait", "30")
    assert (ran.code, "elsewhere:1" in ran.err) == (0, True)


@pytest.mark.parametrize("command", ["sandbox", "demo"])
@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"", mtime=0)])
def test_an_mbox_without_mail(bare: Command, tmp_path: Path, command: str, content: bytes) -> None:
    file = tmp_path / "mail.mbox"
    file.write_bytes(content)
    ran = bare(command, "--mbox", str(file))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1].startswith(f"{file} is empty: it holds no mail.")


@pytest.mark.parametrize("content", [b"%PDF-1.7\n\x00\x01", b"Dear diary\n\nToday\n", b"\x1f\x8bbroken"])
def test_an_mbox_that_is_not_one(bare: Command, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mail.mbox"
    file.write_bytes(content)
    bare("sandbox", "--mbox", str(file), "--json").refused(2, str(file))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mbox", "/no/such/file"), "does not exist"),
        (("--service", "pigeon"), "pigeon"),
        (("--switch", "speed=9"), "no switch speed. The switches are: activity_lag, "),
        (("--switch", "paging"), "NAME=VALUE"),
        (("--switch", "retained_events=many"), "The switch retained_events cannot be many."),
        (("--switch", "cursor_expiry=500"), "The switch cursor_expiry cannot be 500."),
        (("--port", "99999"), "port"),
        (("--messages", "-1"), "--messages"),
    ],
)
def test_sandbox_options_that_make_no_sense(bare: Command, arguments: tuple[str, ...], words: str) -> None:
    bare("sandbox", "--json", *arguments).refused(2, words)


def test_a_port_that_is_taken(bare: Command) -> None:
    with socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        bare("sandbox", "--json", "--port", str(held.getsockname()[1])).refused(2, "is taken")
