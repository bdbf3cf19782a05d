"""What the mirror says of itself: status, verify, problems, config, version."""

import json
import re
from pathlib import Path

import psycopg

from tests.integration.cli.command import Command
from worker.sandbox import Sandbox


def test_status_tells_how_far_each_account_is(command: Command, mailbox: Sandbox) -> None:
    assert "begins" in command("status").out
    command("sync", "1")
    told = command("status")
    assert (told.code, told.err) == (0, "")
    assert "complete" in told.out
    (account,) = command("status", "user1001@sandbox.example", "--json").json
    assert (account["live"], account["windows_open"], account["problems"], account["complete"]) == (60, 0, 0, True)


def test_verify_proves_equality(command: Command, mailbox: Sandbox) -> None:
    command("sync", "1")
    told = command("verify", "1")
    assert (told.code, told.err) == (0, "")
    assert "equal. 60 messages compared" in told.out
    assert command("verify", "1", "--json").json["equal"] is True


def test_verify_names_what_is_missing_stale_or_extra(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    command("sync", "1")
    ids = [row[0] for row in connection.execute("SELECT message_id FROM mail.messages ORDER BY created").fetchall()]
    lost, altered, extra = ids[10], ids[20], "no-such-message"
    connection.execute("DELETE FROM mail.messages WHERE message_id = %s", (lost,))
    connection.execute("UPDATE mail.messages SET subject = 'otherwise' WHERE message_id = %s", (altered,))
    connection.execute(
        "INSERT INTO mail.messages (account_id, message_id, created) SELECT 1, %s, created FROM mail.messages"
        " WHERE message_id = %s",
        (extra, altered),
    )
    told = command("verify", "1")
    assert told.code == 1
    for line in (f"  {lost}", f"  {altered}  subject", f"  {extra}"):
        assert line in told.out.splitlines()
    found = command("verify", "1", "--json")
    assert (found.code, found.json["missing"], found.json["extra"]) == (1, [lost], [extra])
    assert found.json["stale"] == [{"message_id": altered, "fields": ["subject"]}]
    assert "To repair the mirror: mailmirror verify 1 --repair\n" in told.out
    assert "mailmirror sync" not in told.out
    mended = command("verify", "1", "--repair", "--json")
    assert (mended.code, mended.json["equal"]) == (0, True)
    assert mended.json["repaired"] == {"written": 2, "deleted": 1, "held": 0, "undecided": 0}


def test_a_problem_of_the_account_is_not_about_mail(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    command("sync", "1")
    connection.execute(
        "INSERT INTO sync.problems (account_id, kind, subject, cause) VALUES (1, 'account', '', 'A run failed.')"
    )
    connection.execute("UPDATE sync.accounts SET status = 'backing_off', status_reason = 'A run failed'")
    told = command("status")
    assert "complete except" not in told.out
    assert "A run failed. It is tried again by itself.\n" in told.out


def test_problems_are_listed_shown_and_retried(command: Command, mailbox: Sandbox) -> None:
    assert "no open problems" in command("problems", "list").err
    assert command("problems", "list", "--json").json == []
    ids = [message["id"] for message in mailbox.truth(1001)[1]]
    value = "\x1b[31m\x00 no object"
    fault = {"kind": "poison_object", "message_id": ids[5], "count": None, "args": {"value": value}}
    mailbox.admin("/faults", fault)
    command("sync", "1")
    (problem,) = command("problems", "list", "1", "--json").json
    assert command("problems", "list").out.count("\n") == 2
    shown = command("problems", "show", str(problem["id"]))
    assert problem["subject"] in shown.out
    assert "no object" in shown.out
    assert "\x1b" not in shown.out
    assert "\x00" not in shown.out
    assert "no object" in command("problems", "show", str(problem["id"]), "--json").json["excerpt"]
    assert "due now" in command("problems", "retry", str(problem["id"])).out
    command("problems", "retry", str(problem["id"]), "--account", "1").refused(2, "not both")
    command("problems", "show", "4711").refused(2, "no problem 4711")


def test_config_masks_secrets_and_names_the_variables(command: Command) -> None:
    command.set(MAILMIRROR_KLOUDLESS_API_KEY="very-secret", MAILMIRROR_PAGE_SIZE="7")
    told = command("config")
    assert "very-secret" not in told.out
    assert "MAILMIRROR_PAGE_SIZE" in told.out
    shown = command("config", "--json").json
    assert shown["MAILMIRROR_PAGE_SIZE"] == {"value": "7", "from": "environment"}
    assert shown["MAILMIRROR_KLOUDLESS_API_KEY"] == {"value": "***", "from": "environment"}
    assert shown["DATABASE_URL"]["value"] == "***"
    assert re.search(r"MAILMIRROR_OWNER_URL +as DATABASE_URL +default\n", told.out)


def test_config_names_the_key_file_in_force(command: Command, mailbox: Sandbox, tmp_path: Path) -> None:
    file = command.data / "keyring"
    assert command("config", "--json").json["MAILMIRROR_KEYRING"] == {"value": str(file), "from": "MAILMIRROR_DATA"}
    key = file.read_text().strip()
    command.set(MAILMIRROR_KEYRING=key)
    assert command("config", "--json").json["MAILMIRROR_KEYRING"] == {"value": "***", "from": "environment"}
    moved = file.rename(tmp_path / "ring")
    command.set(MAILMIRROR_KEYRING=str(moved))
    assert command("config", "--json").json["MAILMIRROR_KEYRING"] == {"value": str(moved), "from": "environment"}


def test_config_tells_where_each_value_comes_from(bare: Command, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("very-secret\n")
    file = str(tmp_path / "key")
    bare.set(MAILMIRROR_BODIES="full", MAILMIRROR_MAX_BODY="64MB", MAILMIRROR_KLOUDLESS_API_KEY_FILE=file)
    lines = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in bare("config").out.splitlines()}
    assert lines["MAILMIRROR_KLOUDLESS_API_KEY"].split(maxsplit=1) == [
        "***",
        f"MAILMIRROR_KLOUDLESS_API_KEY_FILE: {file}",
    ]
    # What is set to its default is set all the same.
    assert lines["MAILMIRROR_BODIES"].split() == ["full", "environment"]
    assert lines["MAILMIRROR_MAX_BODY"].split() == ["64", "MB", "environment"]
    assert lines["MAILMIRROR_POLL_SECONDS"].split() == ["1", "m", "default"]


def test_migrate_says_from_where_to_where(bare: Command, empty_database: str) -> None:
    bare.set(DATABASE_URL=empty_database.replace("+psycopg", ""))
    assert bare("version", "--json").json["schema"] is None
    first = bare("migrate")
    assert first.code == 0
    revision = bare("version", "--json").json["schema"]
    assert first.out == f"Migrated from no schema to revision {revision}.\n"
    assert bare("migrate").out == f"The schema is at revision {revision} already.\n"


def test_version_needs_no_database(bare: Command) -> None:
    told = bare("version")
    assert (told.code, told.err) == (0, "")
    assert "DATABASE_URL is not set" in told.out


def test_json_is_one_document_on_stdout(command: Command, mailbox: Sandbox) -> None:
    for line in (
        "accounts list",
        "status",
        "sync --quiet",
        "problems list",
        "problems list --all",
        "verify 1",
        "accounts confirm-deletes 1",
        "config",
        "version",
    ):
        ran = command(*line.split(), "--json")
        json.loads(ran.out)
        assert ran.err == ""
