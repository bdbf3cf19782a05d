"""`mailmirror keys`: a new key, everything sealed with it, the old one taken out."""

from pathlib import Path

import pytest

from tests.integration.cli.command import Command
from worker.sandbox import Sandbox

RING = "MAILMIRROR_KEYRING"


def test_keys_are_changed_in_three_steps(command: Command, mailbox: Sandbox) -> None:
    file = command.data / "keyring"
    old = file.read_text()
    made = command("keys", "make")
    assert made.code == 0
    assert file.read_text() == old, "it changes nothing by itself"
    assert str(file) in made.err
    new = made.out
    file.write_text(new + old)
    listed = command("keys", "list", "--json").json
    assert [(key["seals"], key["tokens"], key["needed"]) for key in listed] == [(True, 0, True), (False, 1, True)]
    tried = command("keys", "rotate", "--dry-run")
    assert tried.code == 0
    assert tried.out.startswith("1 token would be sealed with key-")
    done = command("keys", "rotate")
    assert done.code == 0, done.err
    assert done.out == f"1 token sealed with {new.partition(':')[0]} anew, 0 already right.\n"
    assert command("keys", "rotate").out.startswith("0 tokens sealed")
    assert "may be taken out" in command("keys", "list").out
    file.write_text(new)
    assert command("keys", "list").code == 0
    assert command("sync", "1").code == 0


def test_no_command_shows_a_key(command: Command, mailbox: Sandbox) -> None:
    key = (command.data / "keyring").read_text().strip().partition(":")[2]
    for arguments in (["keys", "list"], ["keys", "list", "--json"], ["keys", "rotate"], ["keys", "rotate", "--json"],
                      ["status"], ["config"]):  # fmt: skip
        ran = command(*arguments)
        assert ran.code == 0, ran.err
        assert key not in ran.out + ran.err
        assert mailbox.token(1001) not in ran.out + ran.err


def test_a_key_that_is_missing_is_said_wherever_people_look(command: Command, mailbox: Sandbox) -> None:
    file = command.data / "keyring"
    name = file.read_text().partition(":")[0]
    file.write_text(command("keys", "make").out)
    listed = command("keys", "list")
    assert listed.code == 3
    assert "not in the key ring" in listed.out
    for ran in (listed, command("status")):
        assert f"The key {name} is not in the key ring: 1 account cannot be mirrored." in ran.err
    rotated = command("keys", "rotate")
    assert rotated.code == 3
    assert "0 tokens sealed" in rotated.out
    assert f"No key opens the token of account 1 (sealed with {name})" in rotated.err
    assert "mailmirror accounts token" in rotated.err
    assert command("keys", "rotate", "--json").json["unopened"] == [
        {"account_id": 1, "purpose": "token", "key_id": name}
    ]


def test_without_any_key_it_says_how_to_come_by_one(command: Command, tmp_path: Path) -> None:
    listed = command("keys", "list")
    assert (listed.code, listed.out) == (0, "")
    assert "mailmirror keys make" in listed.err
    command("keys", "rotate").refused(2, RING)


def test_a_new_key_needs_no_database(bare: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bare("keys", "make")
    assert made.code == 0
    bare.set(MAILMIRROR_KEYRING=made.out.strip())
    again = bare("keys", "make")
    assert again.code == 0
    assert again.out != made.out
    assert made.out.strip() not in again.err
