"""A token at rest opens only with its key, for its account and for its purpose."""

import base64
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import Engine

from worker.config import Settings
from worker.errors import UsageError
from worker.store import accounts
from worker.store.credentials import KeyRing, load_keys, load_token, store_token
from worker.store.engine import connect

CANARY = "canary-token-4711"


def encoded(byte: bytes) -> str:
    return base64.b64encode(byte * 32).decode()


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = connect(database)
    yield engine
    engine.dispose()


@pytest.fixture
def account_id(engine: Engine) -> int:
    return accounts.add(engine, kind="kloudless", upstream_id="1").id


OLD = KeyRing({"k0": b"0" * 32})
NEW = KeyRing({"k1": b"1" * 32, "k0": b"0" * 32})


def test_a_token_comes_back_and_its_place_is_overwritten(engine: Engine, account_id: int) -> None:
    assert load_token(engine, OLD, account_id) is None
    store_token(engine, OLD, account_id, CANARY)
    assert load_token(engine, OLD, account_id) == CANARY
    store_token(engine, OLD, account_id, "second")
    assert load_token(engine, OLD, account_id) == "second"


def test_the_first_key_writes_and_every_key_reads(
    engine: Engine, account_id: int, connection: psycopg.Connection
) -> None:
    store_token(engine, OLD, account_id, CANARY)
    assert load_token(engine, NEW, account_id) == CANARY
    store_token(engine, NEW, account_id, CANARY)
    assert connection.execute("SELECT key_id FROM sync.credentials").fetchall() == [("k1",)]


def test_a_missing_key_is_named_with_what_to_do(engine: Engine, account_id: int) -> None:
    store_token(engine, NEW, account_id, CANARY)
    with pytest.raises(UsageError, match=rf"key k1, which is not in.*mailmirror accounts token {account_id}"):
        load_token(engine, OLD, account_id)
    with pytest.raises(UsageError, match="MAILMIRROR_KEYRING"):
        load_token(engine, KeyRing({"k1": b"x" * 32}), account_id)


def test_a_ciphertext_in_another_row_does_not_open(
    engine: Engine, account_id: int, connection: psycopg.Connection
) -> None:
    other = accounts.add(engine, kind="kloudless", upstream_id="2").id
    store_token(engine, NEW, account_id, CANARY)
    store_token(engine, NEW, account_id, "another", purpose="app")
    connection.execute(
        "INSERT INTO sync.credentials SELECT %s, purpose, key_id, nonce, ciphertext FROM sync.credentials", [other]
    )
    with pytest.raises(UsageError, match="cannot be opened"):
        load_token(engine, NEW, other)
    connection.execute(
        "UPDATE sync.credentials AS mine SET nonce = app.nonce, ciphertext = app.ciphertext"
        " FROM sync.credentials AS app"
        " WHERE mine.purpose = 'token' AND app.purpose = 'app' AND mine.account_id = %s AND app.account_id = %s",
        [account_id, account_id],
    )
    with pytest.raises(UsageError, match="cannot be opened"):
        load_token(engine, NEW, account_id)


@pytest.mark.parametrize("column", ["nonce", "ciphertext"])
def test_a_flipped_bit_does_not_open(
    engine: Engine, account_id: int, connection: psycopg.Connection, column: str
) -> None:
    store_token(engine, NEW, account_id, CANARY)
    connection.execute(f"UPDATE sync.credentials SET {column} = set_bit({column}, 3, 1 - get_bit({column}, 3))")
    with pytest.raises(UsageError, match="cannot be opened"):
        load_token(engine, NEW, account_id)


def test_no_table_holds_the_token_in_the_clear(engine: Engine, account_id: int, connection: psycopg.Connection) -> None:
    store_token(engine, NEW, account_id, CANARY)
    tables = connection.execute(
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('mail', 'sync')"
    ).fetchall()
    assert len(tables) > 10
    for (table,) in tables:
        for row in connection.execute(f"SELECT t::text FROM {table} AS t"):
            assert CANARY not in row[0]
            assert CANARY.encode().hex() not in row[0]


def test_nothing_shows_a_key_or_a_token(engine: Engine, account_id: int) -> None:
    ring = KeyRing({"k1": b"secret-key-of-thirty-two-bytes!!"})
    for shown in (repr(ring), str(ring), f"{ring}", repr(ring.seal(account_id, "token", CANARY))):
        assert "secret-key" not in shown
        assert CANARY not in shown
    assert repr(ring) == "KeyRing(k1=***)"
    with pytest.raises(UsageError) as refused:
        store_token(engine, ring, account_id, f"{CANARY} with a space")
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("token", ["", "a b", "line\n", "tab\t", "nul\0", "ünïcode", "\ud800"])
def test_what_no_header_can_carry_is_refused(engine: Engine, account_id: int, token: str) -> None:
    with pytest.raises(UsageError, match="token"):
        store_token(engine, NEW, account_id, token)
    assert load_token(engine, NEW, account_id) is None


def test_keys_are_read_from_the_setting_or_from_a_file(tmp_path: Path) -> None:
    text = f"k1:{encoded(b'1')},k0:{encoded(b'0')}"
    assert load_keys(Settings(keyring=text)).names == ("k1", "k0")
    file = tmp_path / "ring"
    file.write_text(text.replace(",", "\n") + "\n")
    assert load_keys(Settings(keyring=str(file))).names == ("k1", "k0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("k1:AAAA", "32 bytes"),
        ("k1:???", "cannot be read"),
        (f"k1:{encoded(b'1')},k1:{encoded(b'2')}", "two keys named k1"),
        ("no-such-file", "MAILMIRROR_KEYRING cannot be read: No such file or directory"),
        (f":{encoded(b'1')}", "cannot be read"),
        (encoded(b"1"), "name:base64"),
        ("x" * 5000, "cannot be read"),
        ("a\0b", "cannot be read"),
    ],
)
def test_keys_that_cannot_be_used_are_one_sentence_without_the_key(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        load_keys(Settings(keyring=text))
    assert encoded(b"1") not in str(refused.value)


def test_a_key_file_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    assert load_keys(settings).names == ()
    assert not settings.data.exists()
    made = load_keys(settings, make=True)
    path = settings.data / "keyring"
    assert made.created_at_path == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load_keys(settings, make=True)
    assert (again.names, again.created_at_path) == (made.names, None)
    assert again.open(1, "token", made.seal(1, "token", CANARY)) == CANARY
    assert list(settings.data.iterdir()) == [path]
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        load_keys(settings)


def test_makers_at_the_same_time_end_up_with_one_key(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    rings: list[KeyRing] = []

    def make() -> None:
        together.wait()
        rings.append(load_keys(Settings(data=tmp_path), make=True))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ring.names for ring in rings}) == 1
    assert len([ring for ring in rings if ring.created_at_path]) == 1


def test_a_key_file_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Set MAILMIRROR_KEYRING"):
        load_keys(Settings(data=tmp_path / "file" / "data"), make=True)


def test_an_empty_ring_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match=re.escape("Set MAILMIRROR_KEYRING")):
        KeyRing().seal(1, "token", CANARY)


def test_a_key_that_came_into_the_file_later_is_found_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "ring"
    file.write_text(f"k0:{encoded(b'0')}\n")
    ring = load_keys(Settings(keyring=str(file)))
    sealed = NEW.seal(1, "token", CANARY)
    with pytest.raises(UsageError, match="k1"):
        ring.open(1, "token", sealed)
    file.write_text("not a key\n")
    with pytest.raises(UsageError, match="k1"):
        ring.open(1, "token", sealed)
    assert set(ring.names) == {"k0"}
    file.write_text(f"k1:{encoded(b'1')}\nk0:{encoded(b'0')}\n")
    assert ring.open(1, "token", sealed) == CANARY
    assert list(ring.names) == ["k1", "k0"]
