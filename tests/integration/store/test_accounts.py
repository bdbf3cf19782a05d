"""Accounts are added whole or not at all, found as people name them, and stop when a person says so."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import Engine

from worker.errors import UsageError
from worker.store import accounts
from worker.store.credentials import KeyRing, load_token
from worker.store.engine import connect
from worker.store.leases import Ending, release, take_lease

KEYS = KeyRing({"k1": b"1" * 32})


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = connect(database)
    yield engine
    engine.dispose()


def add(engine: Engine, upstream_id: str = "1001", address: str | None = "ann@example.org") -> accounts.AccountRow:
    return accounts.add(engine, kind="kloudless", upstream_id=upstream_id, service="gmail", address=address)


def test_a_new_account_is_active_and_due(engine: Engine) -> None:
    account = add(engine)
    assert account == accounts.get(engine, account.id)
    assert (account.status, account.failures, account.lease_epoch, account.tenant_id) == ("active", 0, 0, "default")
    assert account.next_due_at <= account.created_at
    assert account.created_at.tzinfo is not None
    assert accounts.list_all(engine) == [account]


def test_the_same_mailbox_twice_names_the_account_it_is(engine: Engine) -> None:
    first = add(engine)
    with pytest.raises(UsageError, match=f"is account {first.id} already"):
        add(engine)
    other = accounts.add(engine, kind="kloudless", upstream_id="1001", tenant_id="other")
    assert [account.id for account in accounts.list_all(engine)] == [first.id, other.id]


def test_an_account_whose_token_cannot_be_sealed_is_not_added(engine: Engine) -> None:
    for token, keys in [("good", KeyRing()), ("two\nlines", KEYS), ("", KEYS)]:
        with pytest.raises(UsageError):
            accounts.add(engine, kind="kloudless", upstream_id="1", token=token, keys=keys)
    assert accounts.list_all(engine) == []


def test_an_account_is_found_by_number_and_by_address(engine: Engine) -> None:
    account = add(engine)
    assert accounts.find(engine, f" {account.id} ") == account
    assert accounts.find(engine, "Ann@Example.org") == account


@pytest.mark.parametrize(
    "wanted", ["999", "nobody@example.org", "", "0", "-1", "9" * 400, "²", "a\0b", "%", "' or 1=1 --"]
)
def test_an_unknown_account_is_one_sentence(engine: Engine, wanted: str) -> None:
    add(engine)
    with pytest.raises(UsageError, match="There is no account"):
        accounts.find(engine, wanted)


def test_an_address_of_two_accounts_asks_for_the_number(engine: Engine) -> None:
    ids = [add(engine, "1").id, add(engine, "2").id]
    with pytest.raises(UsageError, match=f"{ids[0]}, {ids[1]}"):
        accounts.find(engine, "ann@example.org")


def test_pausing_fences_off_the_run_at_work(engine: Engine) -> None:
    account = add(engine)
    lease = take_lease(engine, account.id, "worker 1")
    accounts.pause(engine, account.id)
    assert not release(engine, lease, Ending(clean=True, due_in=60, status="active"))
    paused = accounts.get(engine, account.id)
    assert (paused.status, paused.lease_owner, paused.lease_epoch) == ("paused", None, lease.epoch + 1)

    accounts.resume(engine, account.id)
    resumed = accounts.get(engine, account.id)
    assert (resumed.status, resumed.status_reason) == ("active", None)


def test_a_new_token_brings_an_account_back_but_not_a_paused_one(engine: Engine) -> None:
    waiting, paused = add(engine, "1"), add(engine, "2")
    refused = Ending(clean=False, due_in=60, status="auth_required", reason="The token is no longer good.")
    release(engine, take_lease(engine, waiting.id, "worker 1"), refused)
    accounts.pause(engine, paused.id)
    for account in (waiting, paused):
        accounts.set_token(engine, account.id, "new-token", KEYS)
        assert load_token(engine, KEYS, account.id) == "new-token"
    assert accounts.get(engine, waiting.id).status == "active"
    assert accounts.get(engine, waiting.id).status_reason is None
    assert accounts.get(engine, paused.id).status == "paused"


@pytest.mark.parametrize("change", [accounts.pause, accounts.resume, accounts.remove])
def test_changing_an_unknown_account_says_so(engine: Engine, change: object) -> None:
    with pytest.raises(UsageError, match="There is no account 7"):
        change(engine, 7)  # type: ignore[operator]  # one of three functions
    with pytest.raises(UsageError, match="There is no account 7"):
        accounts.set_token(engine, 7, "token", KEYS)


MAIL = """
    INSERT INTO sync.credentials (account_id, key_id, nonce, ciphertext) SELECT id, 'k1', '', '' FROM sync.accounts;
    INSERT INTO sync.cursors (account_id, stream) SELECT id, 'activity' FROM sync.accounts;
    INSERT INTO sync.windows (account_id, after) SELECT id, '0001-01-01+00' FROM sync.accounts;
    INSERT INTO sync.problems (account_id, kind, subject, cause) SELECT id, 'pending', 'm', 'x' FROM sync.accounts;
    INSERT INTO sync.runs (account_id, epoch, began_at, ended_at, outcome)
        SELECT id, 1, now(), now(), 'done' FROM sync.accounts;
    INSERT INTO sync.audits (account_id, began_at, equal) SELECT id, now(), true FROM sync.accounts;
    INSERT INTO mail.messages (account_id, message_id)
        SELECT id, n::text FROM sync.accounts, generate_series(1, 25) AS n;
    INSERT INTO mail.people (account_id, address) SELECT id, 'a' FROM sync.accounts;
    INSERT INTO mail.message_people (account_id, message_id, role, position) SELECT id, 'm', 'to', 0 FROM sync.accounts;
    INSERT INTO mail.labels (account_id, label_id) SELECT id, 'l' FROM sync.accounts;
    INSERT INTO mail.message_labels SELECT id, 'm', 'l' FROM sync.accounts;
    INSERT INTO mail.message_labels_past SELECT id, 'm', 'l', now(), now() FROM sync.accounts;
    INSERT INTO mail.message_folders_past SELECT id, 'm', 'f', now(), now() FROM sync.accounts;
    INSERT INTO mail.folders (account_id, folder_id) SELECT id, 'f' FROM sync.accounts;
    INSERT INTO mail.attachments (account_id, message_id, position) SELECT id, 'm', 0 FROM sync.accounts;
"""


def rows_of(connection: psycopg.Connection, schema: str, account_id: int) -> dict[str, int]:
    """Rows of the account in every table of a schema that has the column account_id."""
    tables = connection.execute(
        "SELECT table_name FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = %s AND column_name = 'account_id' AND table_type = 'BASE TABLE'",
        [schema],
    ).fetchall()
    counts = {}
    for (table,) in tables:
        found = connection.execute(f"SELECT count(*) FROM {schema}.{table} WHERE account_id = {account_id}").fetchone()
        counts[str(table)] = found[0] if found else 0
    return counts


def test_removing_keeps_the_mail_and_forgets_token_and_positions(
    engine: Engine, connection: psycopg.Connection
) -> None:
    account = add(engine)
    connection.execute(MAIL)
    accounts.remove(engine, account.id)
    assert accounts.get(engine, account.id).status == "gone"
    assert set(rows_of(connection, "mail", account.id).values()) == {1, 25}
    left = rows_of(connection, "sync", account.id)
    assert {name for name, count in left.items() if count} == {"runs", "audits"}


def test_purging_leaves_nothing_of_the_account_and_all_of_the_others(
    engine: Engine, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "PURGE_STEP", 10)
    account, other = add(engine, "1"), add(engine, "2")
    connection.execute(MAIL)
    before = {schema: rows_of(connection, schema, other.id) for schema in ("mail", "sync")}
    accounts.remove(engine, account.id, purge=True)
    for schema in ("mail", "sync"):
        left = rows_of(connection, schema, account.id)
        assert left.pop("erasures", 1) == 1, "that it was erased, for consumers of the feed"
        assert set(left.values()) == {0}
        assert rows_of(connection, schema, other.id) == before[schema]
    assert accounts.list_all(engine) == [other]


def test_changes_people_see_move_the_place_in_the_feed(engine: Engine, connection: psycopg.Connection) -> None:
    account = add(engine)

    def place() -> int:
        row = connection.execute("SELECT changed_in::text::bigint FROM mail.accounts").fetchone()
        assert row is not None
        return int(row[0])

    first = place()
    lease = take_lease(engine, account.id, "worker 1")
    release(engine, lease, Ending(clean=True, due_in=60))
    assert place() == first
    lease = take_lease(engine, account.id, "worker 1")
    release(engine, lease, Ending(clean=True, due_in=60, status="degraded", reason="No change events."))
    second = place()
    assert second > first
    lease = take_lease(engine, account.id, "worker 1")
    release(engine, lease, Ending(clean=True, due_in=60, status="degraded", reason="No change events."))
    assert place() == second
