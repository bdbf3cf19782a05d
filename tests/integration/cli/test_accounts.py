"""Accounts come in only after the upstream has answered for them, and leave without leaving a secret behind."""

import psycopg

from tests.integration.cli.command import Command
from worker.sandbox import Sandbox


def count(connection: psycopg.Connection, query: str) -> int:
    found = connection.execute(query).fetchone()
    assert found is not None
    return int(found[0])


def test_adding_tells_the_number_and_where_the_key_file_was_made(command: Command, upstream: Sandbox) -> None:
    command.set(MAILMIRROR_KLOUDLESS_URL=upstream.url)
    first = command("accounts", "add", "kloudless", "--token-stdin", stdin=upstream.token(1001))
    assert first.code == 0
    assert "Added account 1 " in first.out
    assert str(command.data / "keyring") in first.err
    assert (command.data / "keyring").stat().st_mode & 0o777 == 0o600
    second = command(
        "accounts", "add", "kloudless", "--account-id", "1002", "--token-stdin", "--json", stdin=upstream.token(1002)
    )
    assert second.err == ""
    assert (second.json["id"], second.json["upstream_id"], second.json["service"]) == (2, "1002", "gmail")


def test_an_account_can_live_on_the_app_key(
    command: Command, upstream: Sandbox, connection: psycopg.Connection
) -> None:
    command.set(MAILMIRROR_KLOUDLESS_URL=upstream.url, MAILMIRROR_KLOUDLESS_API_KEY=upstream.api_key)
    command("accounts", "add", "kloudless").refused(2, "--account-id")
    assert command("accounts", "add", "kloudless", "--account-id", "1001").code == 0
    assert count(connection, "SELECT count(*) FROM sync.credentials") == 0
    assert not command.data.exists()
    assert command("sync", "1").code == 0


def test_a_token_is_never_shown(command: Command, mailbox: Sandbox) -> None:
    token = mailbox.token(1001)
    for arguments in (["accounts", "list"], ["accounts", "list", "--json"], ["status", "--json"], ["config"]):
        ran = command(*arguments)
        assert ran.code == 0
        assert token not in ran.out + ran.err


def test_listing_says_how_to_begin_and_then_what_there_is(command: Command, upstream: Sandbox) -> None:
    empty = command("accounts", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "accounts add" in empty.err
    assert command("accounts", "list", "--json").json == []
    command.set(MAILMIRROR_KLOUDLESS_URL=upstream.url)
    command("accounts", "add", "kloudless", "--token-stdin", stdin=upstream.token(1001))
    listed = command("accounts", "list")
    assert "user1001@sandbox.example" in listed.out
    assert [account["status"] for account in command("accounts", "list", "--json").json] == ["active"]


def test_a_paused_account_is_left_alone_until_it_is_resumed(command: Command, mailbox: Sandbox) -> None:
    assert command("accounts", "pause", "1").code == 0
    command("sync", "1").refused(2, "paused", "accounts resume 1")
    everything = command("sync")
    assert everything.code == 0
    assert "left out (paused)" in everything.err
    assert command("accounts", "resume", "user1001@sandbox.example").code == 0
    assert command("sync", "1").code == 0


def test_removing_asks_and_keeps_the_mail_unless_purged(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    command("sync", "1")
    command("accounts", "remove", "1").refused(2, "--yes")
    assert command("accounts", "remove", "1", "--yes").code == 0
    assert count(connection, "SELECT count(*) FROM sync.credentials") == 0
    assert count(connection, "SELECT count(*) FROM mail.messages") == 60
    command("sync", "1").refused(2, "Removed by a person.")
    assert command("accounts", "remove", "1", "--purge", "--yes").code == 0
    assert count(connection, "SELECT count(*) FROM mail.messages") == 0
    assert command("accounts", "list", "--json").json == []


def test_a_revoked_token_stops_the_account_and_a_new_one_starts_it_again(command: Command, mailbox: Sandbox) -> None:
    mailbox.admin("/accounts/1001", {"token": "renew"})
    command("sync", "1").refused(1, "token", "mailmirror accounts token 1 --token-stdin")
    assert command("status", "--json").json[0]["status"] == "auth_required"
    command("accounts", "token", "1", "--token-stdin", stdin="another-token").refused(1, "token")
    command("accounts", "token", "1", "--token-stdin", stdin=mailbox.token(1002)).refused(2, "1002")
    assert command("accounts", "token", "1", "--token-stdin", stdin=mailbox.token(1001)).code == 0
    assert command("sync", "1").code == 0


def test_held_deletions_wait_for_a_word_and_are_asked_for_again(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    mailbox.admin("/accounts/1001/deliver", {"count": 60})
    assert command("sync", "1").code == 0
    mailbox.admin("/accounts/1001/delete", {"oldest": 100})
    held = command("sync", "1")
    assert held.code == 3
    assert "problems list 1" in held.out
    live = "SELECT count(*) FROM mail.live_messages"
    assert count(connection, live) == 120
    assert "100 deletions held" in command("status").out
    assert command("verify", "1").code == 3
    confirmed = command("accounts", "confirm-deletes", "1", "--json")
    assert (confirmed.code, confirmed.json) == (0, {"deleted": 100, "still_there": 0, "undecided": 0})
    assert count(connection, live) == 20
    assert command("verify", "1").code == 0
    assert "No deletion" in command("accounts", "confirm-deletes", "1").out
    # What a person has confirmed does not count against the deletions of the day.
    mailbox.admin("/accounts/1001/delete", {"oldest": 2})
    assert command("sync", "1").code == 0
    assert count(connection, live) == 18


def test_a_held_deletion_that_was_none_is_lifted_and_an_unclear_one_stays(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    command("sync", "1")
    there, unclear = [message["id"] for message in mailbox.truth(1001)[1]][:2]
    for subject in (there, unclear):
        connection.execute(
            "INSERT INTO sync.problems (account_id, kind, subject, cause) VALUES (1, 'held_delete', %s, '')", (subject,)
        )
    mailbox.admin("/faults", {"kind": "server_error", "path": unclear, "count": None})
    told = command("accounts", "confirm-deletes", "1")
    assert (told.code, told.out) == (3, "0 deleted, 1 still there, 1 could not be asked for and stay held.\n")
    open_now = "SELECT count(*) FROM sync.problems WHERE state = 'open' AND kind = 'held_delete'"
    assert count(connection, open_now) == 1
    assert count(connection, "SELECT count(*) FROM mail.live_messages") == 60
