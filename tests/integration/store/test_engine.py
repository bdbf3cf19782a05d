"""Errors of the database reach people as one sentence, without contents of rows and without passwords."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tests.conftest import PostgresServer
from worker.errors import MailmirrorError, StoreUnavailableError, UsageError
from worker.store.engine import connect, retry_transaction, translated

SECRET = "pass-word-4711"


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = connect(database)
    yield engine
    engine.dispose()


def reach(url: str) -> None:
    engine = connect(url, pooled=False)
    with translated(), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1 FROM sync.accounts"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.set(username="nobody_here"), "does not know the user"),
        (lambda url: url.set(database="nothing_here"), "does not know the database"),
        (lambda url: url.set(host="no-such-host.invalid"), "no such host"),
        (lambda url: url.update_query_dict({"no_such_option": "1"}), "unknown option"),
        (lambda url: url.update_query_dict({"sslmode": "nonsense"}), "wrong value"),
    ],
    ids=["user", "database", "host", "option", "value"],
)
def test_a_wrong_url_says_which_part_is_wrong(database: str, change: object, words: str) -> None:
    changed = change(sa.make_url(database).set(password=SECRET))  # type: ignore[operator]  # one of the lambdas
    with pytest.raises(UsageError, match=words) as refused:
        reach(changed.render_as_string(hide_password=False))
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://x/y", f"postgresql://u:{SECRET}@host:port/name"])
def test_what_is_no_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="postgresql://") as refused:
        connect(url)
    assert SECRET not in str(refused.value)


def test_a_server_that_does_not_answer_is_worth_another_try(unused_port: int) -> None:
    with pytest.raises(StoreUnavailableError, match="Is it running"):
        reach(f"postgresql://u:{SECRET}@127.0.0.1:{unused_port}/x")


def test_a_database_without_our_tables_says_what_to_run(empty_database: str) -> None:
    with pytest.raises(UsageError, match="mailmirror migrate"):
        reach(empty_database)


def test_no_row_and_no_parameter_reaches_a_message(engine: Engine) -> None:
    broken = [
        "INSERT INTO sync.problems (account_id, kind, subject, cause) VALUES (1, 'pending', :secret, 'x')",
        "INSERT INTO sync.throttles VALUES (:secret, NULL, NULL)",
        "SELECT CAST(:secret AS integer)",
        "SELECT no_such_column FROM sync.accounts WHERE address = :secret",
    ]
    for statement in broken:
        with pytest.raises(MailmirrorError) as refused, translated(), engine.begin() as connection:
            connection.execute(sa.text(statement), {"secret": SECRET})
        assert SECRET not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__


def test_neither_the_layer_below_nor_the_server_s_log_tells_what_a_row_held(
    engine: Engine, postgres: PostgresServer
) -> None:
    begin = postgres.running.log.stat().st_size
    statement = sa.text("INSERT INTO sync.credentials (account_id, key_id, nonce, ciphertext) VALUES (0, :c, '', '')")
    with pytest.raises(sa.exc.IntegrityError) as raised, engine.begin() as connection:
        connection.execute(statement, {"c": SECRET})
    assert SECRET not in str(raised.value), "hide_parameters"
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO sync.credentials VALUES (NULL, :c, :c, '', '')"), {"c": SECRET})
    log = postgres.running.log.read_bytes()[begin:].decode()
    assert "violates" in log, "the server's log is another one"
    assert "DETAIL" not in log
    assert SECRET not in log


def test_errors_of_the_driver_itself_are_translated_too(engine: Engine) -> None:
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with pytest.raises(StoreUnavailableError) as refused, translated():
            driver.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        connection.invalidate()
    assert refused.value.sqlstate == "57P01"


def test_every_session_is_in_utc_with_limits(engine: Engine) -> None:
    names = ("TimeZone", "jit", "lock_timeout", "statement_timeout", "application_name", "transaction_isolation")
    with engine.connect() as connection:
        found = [connection.scalar(sa.text("SELECT current_setting(:name)"), {"name": name}) for name in names]
    assert found == ["UTC", "off", "10s", "2min", "mailmirror", "read committed"]


@pytest.mark.fault("P17")
def test_a_deadlock_is_run_again_whole(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO sync.throttles VALUES ('a', now()), ('b', now())"))
    together = threading.Barrier(2)
    runs: list[str] = []

    def lock(first: str, second: str) -> None:
        def work(connection: Connection) -> None:
            runs.append(first)
            take = sa.text("UPDATE sync.throttles SET reason = coalesce(reason, '') || 'x' WHERE scope = :scope")
            connection.execute(take, {"scope": first})
            if len(runs) <= 2:
                together.wait()
            connection.execute(take, {"scope": second})

        retry_transaction(engine, work)

    threads = [threading.Thread(target=lock, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 3
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT DISTINCT reason FROM sync.throttles")).scalars().all() == ["xx"]


@pytest.mark.fault("P17")
def test_a_transaction_is_given_up_after_five_deadlocks(engine: Engine) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    waits: list[float] = []
    with pytest.raises(StoreUnavailableError) as refused:
        retry_transaction(engine, work, sleep=waits.append)
    assert (refused.value.sqlstate, len(tries), len(waits)) == ("40001", 5, 4)


def test_other_failures_are_not_tried_again(engine: Engine) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(sa.text("SELECT 1 / 0"))

    with pytest.raises(MailmirrorError, match="DivisionByZero"):
        retry_transaction(engine, work)
    assert len(tries) == 1


@pytest.fixture
def unused_port() -> Iterator[int]:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]
