"""`mailmirror sync` brings a mailbox to quiescence, says what it did, and tells by its exit code what is left."""

import psycopg
import pytest

from tests.integration.cli.command import Command
from worker.cli import sync
from worker.sandbox import Sandbox


def live(connection: psycopg.Connection) -> int:
    found = connection.execute("SELECT count(*) FROM mail.live_messages").fetchone()
    assert found is not None
    return int(found[0])


def add_second(command: Command, mailbox: Sandbox) -> None:
    assert command("accounts", "add", "kloudless", "--token-stdin", stdin=mailbox.token(1002)).code == 0


def test_the_summary_says_what_was_done(command: Command, mailbox: Sandbox, connection: psycopg.Connection) -> None:
    first = command("sync", "1")
    assert first.code == 0
    assert "60 added, 0 updated, 0 deleted" in first.out
    assert first.out.rstrip().endswith("Complete.")
    assert live(connection) == 60
    second = command("sync", "1", "--json")
    (result,) = second.json
    assert (second.code, second.err) == (0, "")
    assert (result["outcome"], result["complete"], result["added"], result["updated"]) == ("done", True, 0, 0)
    assert 0 < result["requests"] < 4


def test_quiet_says_nothing(command: Command, mailbox: Sandbox) -> None:
    ran = command("sync", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_without_accounts_there_is_nothing_to_do(command: Command) -> None:
    ran = command("sync")
    assert (ran.code, ran.out) == (0, "")
    assert "accounts add" in ran.err


def test_one_failing_account_does_not_stop_the_others(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    add_second(command, mailbox)
    mailbox.admin("/accounts/1001", {"token": "revoke"})
    ran = command("sync")
    assert ran.code == 1
    assert "Account 1 " in ran.err
    assert "accounts token 1" in ran.err
    assert "Account 2 " in ran.out
    assert live(connection) == 60
    # Next time only the good one is tried: the other waits for a person.
    again = command("sync", "--json")
    assert (again.code, [result["account"] for result in again.json]) == (0, [2])
    assert "left out (auth_required)" in again.err


def test_max_time_stops_it_and_the_next_run_goes_on(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    stopped = command("sync", "1", "--max-time", "0")
    assert stopped.code == 3
    assert "--max-time" in stopped.out
    assert live(connection) == 0
    assert command("sync", "1").code == 0
    assert live(connection) == 60


def test_a_problem_that_stays_open_is_told_by_the_exit_code(command: Command, mailbox: Sandbox) -> None:
    ids = [message["id"] for message in mailbox.truth(1001)[1]]
    mailbox.admin("/faults", {"kind": "nan", "message_id": ids[5], "count": None})
    ran = command("sync", "1")
    assert ran.code == 3
    assert "problems list 1" in ran.out
    assert "complete except 1" in command("status").out
    assert command("verify", "1").code in {1, 3}
    mailbox.admin("/faults/clear", {})
    assert command("problems", "retry", "--account", "1").code == 0
    assert command("sync", "1").code == 0
    assert command("verify", "1").code == 0


def test_what_has_no_id_to_ask_for_is_listed_again_on_retry(
    command: Command, mailbox: Sandbox, connection: psycopg.Connection
) -> None:
    ids = [message["id"] for message in mailbox.truth(1001)[1]]
    mailbox.admin("/faults", {"kind": "poison_object", "message_id": ids[5], "count": None})
    assert command("sync", "1").code == 3
    mailbox.admin("/faults/clear", {})
    assert command("problems", "retry").code == 0
    command("sync", "1")
    assert live(connection) == 60
    assert command("verify", "1").code == 0


def test_a_short_wait_that_the_upstream_asks_for_is_waited_out(command: Command, mailbox: Sandbox) -> None:
    mailbox.admin("/faults", {"kind": "rate_limit", "count": 2, "args": {"retry_after": 0}})
    ran = command("sync", "1")
    assert ran.code == 0
    assert "slow down" in ran.err


def test_a_long_wait_is_left_to_the_person(command: Command, mailbox: Sandbox) -> None:
    mailbox.admin("/faults", {"kind": "rate_limit", "count": None, "args": {"retry_after": 3000}})
    ran = command("sync", "1")
    assert ran.code == 3
    assert "50 min" in ran.out


def test_a_failure_that_passes_is_tried_again(
    command: Command, mailbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "PAUSES", (0.0, 0.0, 0.0))
    mailbox.admin("/faults", {"kind": "server_error", "count": 3})
    assert command("sync", "1").code == 0


def test_a_failure_that_stays_ends_it_however_lively_the_mailbox_is(
    command: Command, mailbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "PAUSES", (0.0, 0.0, 0.0))
    mailbox.admin("/faults", {"kind": "server_error", "path": "/email/messages/\\?", "count": None})
    assert command("sync", "1").code == 1
    monkeypatch.setattr(sync, "LONGEST_PAUSE", 1.0)
    mailbox.admin("/faults/clear", {})
    mailbox.admin("/faults", {"kind": "rate_limit", "count": None, "args": {"retry_after": 0}})
    (result,) = command("sync", "1", "--json").json
    assert (result["outcome"], result["requests"]) == ("partial", 2)


def test_it_catches_up_with_what_has_changed(command: Command, mailbox: Sandbox) -> None:
    command("sync", "1")
    mailbox.admin("/accounts/1001/deliver", {"count": 3})
    mailbox.admin("/accounts/1001/relabel", {"oldest": 2, "add": ["Later"]})
    mailbox.admin("/accounts/1001/delete", {"newest": 1})
    (result,) = command("sync", "1", "--json").json
    assert (result["added"], result["updated"]) == (2, 2)
    assert command("verify", "1").code == 0
