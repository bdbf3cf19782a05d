"""Rotating keys: every token ends up under the first key, whatever happens meanwhile, and nothing else changes."""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import Engine

from worker.errors import UsageError
from worker.store import accounts, rotation
from worker.store.credentials import KeyRing, load_token, store_token
from worker.store.engine import connect
from worker.store.rotation import KeyUse, Rotated, Unopened, key_uses, missing_keys, rotate

OLD = KeyRing({"k0": b"0" * 32})
BOTH = KeyRing({"k1": b"1" * 32, "k0": b"0" * 32})
NEW = KeyRing({"k1": b"1" * 32})
STRANGER = KeyRing({"kx": b"x" * 32})
RING = ",".join(f"{name}:{base64.b64encode(byte * 32).decode()}" for name, byte in (("k1", b"1"), ("k0", b"0")))


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = connect(database)
    yield engine
    engine.dispose()


def add(engine: Engine, count: int, keys: KeyRing = OLD) -> list[int]:
    """Accounts whose tokens are t-<id>."""
    ids: list[int] = []
    for _ in range(count):
        ids.append(accounts.add(engine, kind="kloudless", upstream_id=f"u{len(ids)}{keys.names}").id)
        store_token(engine, keys, ids[-1], f"t-{ids[-1]}")
    return ids


def sealed(connection: psycopg.Connection) -> dict[int, str]:
    return dict(connection.execute("SELECT account_id, key_id FROM sync.credentials").fetchall())


def versions(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT account_id, xmin::text, ctid::text FROM sync.credentials ORDER BY 1").fetchall()


def test_all_tokens_end_up_under_the_first_key_and_stay_what_they_were(
    engine: Engine, connection: psycopg.Connection
) -> None:
    ids = add(engine, 7) + add(engine, 2, NEW)
    store_token(engine, OLD, ids[0], "of-another-purpose", purpose="app")
    assert rotate(engine, BOTH, batch=3) == Rotated(resealed=8, right=2, unopened=(), overtaken=0)
    assert set(sealed(connection).values()) == {"k1"}
    assert [load_token(engine, NEW, number) for number in ids] == [f"t-{number}" for number in ids]
    assert load_token(engine, NEW, ids[0], purpose="app") == "of-another-purpose"


def test_a_second_rotation_writes_nothing(engine: Engine, connection: psycopg.Connection) -> None:
    add(engine, 5)
    rotate(engine, BOTH)
    before = versions(connection)
    assert rotate(engine, BOTH) == Rotated(resealed=0, right=5, unopened=(), overtaken=0)
    assert versions(connection) == before


def test_a_dry_run_counts_and_writes_nothing(engine: Engine, connection: psycopg.Connection) -> None:
    lost = add(engine, 1, STRANGER)[0]
    add(engine, 5)
    before = versions(connection)
    found = rotate(engine, BOTH, dry_run=True, batch=2)
    assert found == Rotated(resealed=5, right=0, unopened=(Unopened(lost, "token", "kx"),), overtaken=0)
    assert versions(connection) == before


def test_a_token_that_is_set_meanwhile_wins(
    engine: Engine, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = add(engine, 3)
    real = rotation._write

    def late(engine: Engine, stale: object) -> int:
        # Between reading and writing, one token is set with the old key, one with the new, and one account goes.
        monkeypatch.setattr(rotation, "_write", real)
        store_token(engine, OLD, first, "set-with-old")
        store_token(engine, BOTH, second, "set-with-new")
        accounts.remove(engine, third, purge=True)
        return real(engine, stale)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(rotation, "_write", late)
    assert rotate(engine, BOTH).resealed == 1
    assert load_token(engine, NEW, first) == "set-with-old"
    assert load_token(engine, NEW, second) == "set-with-new"
    assert sealed(connection) == {first: "k1", second: "k1"}


def test_somebody_who_goes_on_with_the_old_key_is_told_of_and_not_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = add(engine, 1)[0]
    real = rotation._write

    def contested(engine: Engine, stale: object) -> int:
        store_token(engine, OLD, number, "again")
        return real(engine, stale)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(rotation, "_write", contested)
    assert rotate(engine, BOTH) == Rotated(resealed=0, right=0, unopened=(), overtaken=1)
    assert load_token(engine, OLD, number) == "again"


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_killed_in_the_middle_it_goes_on_where_it_was(
    engine: Engine, connection: psycopg.Connection, database: str, batches: int
) -> None:
    ids = add(engine, 8)
    program = f"""
import os, signal, sys
from pathlib import Path
from worker.config import Settings
from worker.store.credentials import load_keys
from worker.store.engine import connect
from worker.store.rotation import rotate
die = lambda count: os.kill(os.getpid(), signal.SIGKILL) if count >= {2 * batches} else None
rotate(connect({database!r}), load_keys(Settings(keyring={RING!r})), batch=2, observe=die)
"""
    died = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert sorted(sealed(connection).values()) == ["k0"] * (8 - 2 * batches) + ["k1"] * 2 * batches
    assert [load_token(engine, BOTH, number) for number in ids] == [f"t-{number}" for number in ids]
    assert rotate(engine, BOTH) == Rotated(resealed=8 - 2 * batches, right=2 * batches, unopened=(), overtaken=0)


def test_what_no_key_opens_is_named_and_left_alone(engine: Engine, connection: psycopg.Connection) -> None:
    missing, altered, swapped, other = add(engine, 1, STRANGER)[0], *add(engine, 3)
    connection.execute(
        "UPDATE sync.credentials SET ciphertext = set_bit(ciphertext, 3, 1 - get_bit(ciphertext, 3))"
        " WHERE account_id = %s",
        [altered],
    )
    connection.execute(
        "UPDATE sync.credentials AS mine SET nonce = t.nonce, ciphertext = t.ciphertext FROM sync.credentials AS t"
        " WHERE mine.account_id = %s AND t.account_id = %s",
        [swapped, other],
    )
    done = rotate(engine, BOTH)
    # A ciphertext in another account's row is refused, and not sealed anew for the wrong account.
    assert {(token.account_id, token.key_id) for token in done.unopened} == {
        (missing, "kx"), (altered, "k0"), (swapped, "k0")}  # fmt: skip
    assert done.resealed == 1
    assert sealed(connection) == {missing: "kx", altered: "k0", swapped: "k0", other: "k1"}


def test_an_empty_ring_rotates_nothing(engine: Engine) -> None:
    with pytest.raises(UsageError, match="Set MAILMIRROR_KEYRING"):
        rotate(engine, KeyRing())


def test_the_use_of_every_key_is_known(engine: Engine) -> None:
    add(engine, 3)
    add(engine, 2, STRANGER)
    assert key_uses(engine, BOTH) == [
        KeyUse("k1", in_ring=True, seals=True, tokens=0, accounts=0),
        KeyUse("k0", in_ring=True, seals=False, tokens=3, accounts=3),
        KeyUse("kx", in_ring=False, seals=False, tokens=2, accounts=2),
    ]
    (sentence,) = missing_keys(engine, BOTH)
    assert sentence.startswith("The key kx is not in the key ring: 2 accounts cannot be mirrored.")
    assert missing_keys(engine, KeyRing({"k0": b"0" * 32, "kx": b"x" * 32})) == []
