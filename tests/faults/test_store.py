"""Postgres and other workers at their worst: nothing half written, nothing by who was overtaken, and it goes on."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.conftest import PostgresServer
from tests.faults.proxy import proxied
from tests.faults.scenes import wait_until
from tests.integration.store.mail import DAY, fetched, gone, leased, listed, message, table
from worker.errors import LeaseLostError, StoreUnavailableError
from worker.records import Batch, Cursor, CursorMove, Problem
from worker.store import accounts, leases
from worker.store.engine import connect
from worker.store.postgres import PostgresStore

Sql = psycopg.Connection[Any]
MOVE = {"cursor": CursorMove(Cursor("7"))}


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = connect(database)
    yield opened
    opened.dispose()


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresStore]:
    with leased(engine) as opened:
        yield opened


def is_waiting(connection: Sql) -> bool:
    """Whether a session of ours waits for a lock."""
    return bool(table(connection, "select pid from pg_stat_activity where application_name = 'mailmirror'"
                                  " and wait_event_type = 'Lock'"))  # fmt: skip


class Committing(threading.Thread):
    """Commits a batch from a thread of its own, and keeps what came of it."""

    def __init__(self, store: PostgresStore, batch: Batch) -> None:
        super().__init__(daemon=True)
        self._store, self._batch = store, batch
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Commit."""
        try:
            self._store.commit(self._batch)
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            self.error = error

    def ended(self) -> BaseException | None:
        """Wait for its end."""
        self.join(30)
        assert not self.is_alive()
        return self.error


# --- the fence


@pytest.mark.fault("P9")
def test_a_worker_that_was_overtaken_changes_no_row(store: PostgresStore, engine: Engine, connection: Sql) -> None:
    store.commit(listed(message()))
    with leased(engine) as newer:
        newer.commit(fetched(message(subject="Newer"), **MOVE))
        for batch in (fetched(message(subject="Stale")), gone("m1"), Batch(stream="activity", cursor=MOVE["cursor"])):
            with pytest.raises(LeaseLostError):
                store.commit(batch)
        store._renewed -= 60
        with pytest.raises(LeaseLostError):
            store.renew()
    assert table(connection, "select subject, deleted_at from mail.messages") == [("Newer", None)]
    assert table(connection, "select cursor from sync.cursors") == [("7",)]


@pytest.mark.fault("P9")
def test_nobody_takes_a_lease_over_in_the_middle_of_a_commit(
    store: PostgresStore, engine: Engine, connection: Sql
) -> None:
    with connection.transaction():
        connection.execute("lock table mail.messages in access exclusive mode")
        slow = Committing(store, listed(message(), **MOVE))
        wait_until(lambda: is_waiting(connection), "the commit to be held up")
        taken: list[int] = []
        taking = threading.Thread(
            target=lambda: taken.append(leases.take_lease(engine, 1, "other", dead=lambda _: True).epoch), daemon=True
        )
        taking.start()
        taking.join(0.7)
        assert not taken, "the lease went over while a commit behind its fence was under way"
    assert slow.ended() is None
    taking.join(30)
    assert taken == [2]
    assert table(connection, "select cursor from sync.cursors") == [("7",)]


@pytest.mark.fault("U30", "U31")
def test_a_list_page_leaves_a_tombstone_alone(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message()))
    store.commit(gone("m1", "never seen"))
    held = store.commit(listed(message(), message("never seen"))).held
    assert sorted(held) == ["m1", "never seen"]
    assert table(connection, "select message_id from mail.live_messages") == []
    assert store.commit(fetched(message())).revived == 1


@pytest.mark.fault("U19")
def test_one_message_twice_on_a_page_is_one_row(store: PostgresStore, connection: Sql) -> None:
    store.commit(listed(message(), message("m2"), message()))
    store.commit(listed(message(), message("m2"), message()))
    assert table(connection, "select message_id, count(*) from mail.messages group by 1") == [("m1", 1), ("m2", 1)]
    assert table(connection, "select count(*) from mail.message_people") == [(8,)]


def test_what_could_not_be_done_stands_in_a_problem(store: PostgresStore, connection: Sql) -> None:
    store.commit(Batch(stream="activity", problems=(Problem(kind="pending", subject="m1", cause="later"),)))
    assert table(connection, "select kind, subject, state from sync.problems") == [("pending", "m1", "open")]


# --- what Postgres refuses


def fail_first(connection: Sql, times: int, sqlstate: str) -> None:
    """Let the first writes of a message fail in the server; a sequence counts, because it is never rolled back."""
    connection.execute("create sequence tries")
    connection.execute(
        "create function fail() returns trigger language plpgsql security definer as $$ begin"
        f" if nextval('public.tries') <= {times} then raise sqlstate '{sqlstate}'; end if; return new; end $$"
    )
    connection.execute("create trigger fail before insert on mail.messages for each statement execute function fail()")


@pytest.mark.fault("P17")
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_transaction_that_could_not_be_serialised_runs_again(
    store: PostgresStore, connection: Sql, sqlstate: str
) -> None:
    fail_first(connection, 3, sqlstate)
    assert store.commit(listed(message(), **MOVE)).added == 1
    assert table(connection, "select last_value from tries") == [(4,)]
    assert table(connection, "select cursor from sync.cursors") == [("7",)]


@pytest.mark.fault("P17")
def test_a_transaction_that_never_can_be_is_given_up_whole(store: PostgresStore, connection: Sql) -> None:
    fail_first(connection, 5, "40001")
    with pytest.raises(StoreUnavailableError) as given_up:
        store.commit(listed(message(), **MOVE))
    assert given_up.value.sqlstate == "40001"
    assert table(connection, "select last_value from tries") == [(5,)], "I8"
    assert table(connection, "select * from sync.cursors") == [], "I2"
    store.commit(listed(message(), **MOVE))
    assert len(table(connection, "select * from mail.people")) == 2


@pytest.mark.fault("P17")
def test_a_real_deadlock_costs_one_of_the_two_a_second_try(
    store: PostgresStore, connection: Sql, database: str
) -> None:
    connection.execute("set deadlock_timeout = '20s'")
    with connection.transaction():
        connection.execute("lock table mail.messages in access exclusive mode")
        slow = Committing(store, listed(message(), **MOVE))
        wait_until(lambda: is_waiting(connection), "the commit to be held up")
        connection.execute("update sync.accounts set failures = 17")
    assert slow.ended() is None
    assert table(connection, "select failures, (select cursor from sync.cursors) from sync.accounts") == [(17, "7")]


@pytest.mark.fault("P18")
@pytest.mark.parametrize(("end", "sqlstate"), [("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")])
def test_a_statement_that_is_cancelled_leaves_nothing_and_the_next_try_goes_through(
    store: PostgresStore, engine: Engine, connection: Sql, end: str, sqlstate: str
) -> None:
    with connection.transaction():
        connection.execute("lock table mail.messages in access exclusive mode")
        slow = Committing(store, listed(message(), **MOVE))
        wait_until(lambda: is_waiting(connection), "the commit to be held up")
        connection.execute(f"select {end}(pid) from pg_stat_activity where wait_event_type = 'Lock'")
        error = slow.ended()
    assert isinstance(error, StoreUnavailableError)
    assert error.sqlstate in {sqlstate, None if end == "pg_terminate_backend" else sqlstate}
    assert table(connection, "select * from mail.messages") == []
    assert table(connection, "select * from sync.cursors") == []
    if end == "pg_cancel_backend":
        store.commit(listed(message(), **MOVE))
    with leased(engine) as next_one:
        next_one.commit(listed(message("m2"), **MOVE))
    assert ("m2",) in table(connection, "select message_id from mail.messages")


@pytest.mark.fault("P18")
def test_a_lock_that_is_not_free_in_time_ends_the_wait(engine: Engine, store: PostgresStore, connection: Sql) -> None:
    with engine.connect() as other:
        limits = {name: other.scalar(sa.text(f"show {name}"))
                  for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")}  # fmt: skip
    assert limits == {"lock_timeout": "10s", "statement_timeout": "2min", "idle_in_transaction_session_timeout": "1min"}
    store._writer().exec_driver_sql("set lock_timeout = '100ms'")
    store._writer().commit()
    with connection.transaction():
        connection.execute("lock table mail.messages in access exclusive mode")
        with pytest.raises(StoreUnavailableError) as refused:
            store.commit(listed(message(), **MOVE))
    assert refused.value.sqlstate == "55P03"
    assert table(connection, "select * from sync.cursors") == []
    assert store.commit(listed(message(), **MOVE)).added == 1


@pytest.mark.fault("P3")
@pytest.mark.parametrize("number", [1, 2])
def test_a_commit_whose_answer_is_lost_is_there_once(
    database: str, engine: Engine, connection: Sql, number: int
) -> None:
    url = sa.make_url(database)
    assert url.port is not None
    with proxied(url.port) as proxy:
        far = connect(url.set(port=proxy.port).render_as_string(hide_password=False))
        try:
            with leased(engine) as near:
                store = PostgresStore(far, near.account_id, near._epoch, near._projection)
                proxy.swallow_answer_to(b"COMMIT", 10**9)
            store.close()
            far.dispose()
            proxy.swallow_answer_to(b"COMMIT", number)
            store = PostgresStore(far, near.account_id, near._epoch, near._projection)
            swallowed = 0
            for place in (1, 2, 3):
                try:
                    store.commit(listed(message(f"m{place}"), cursor=CursorMove(Cursor(str(place)))))
                except StoreUnavailableError:
                    swallowed += 1
                    break
            assert (swallowed, proxy.cuts) == (1, 1)
        finally:
            far.dispose()
    written = table(connection, "select message_id from mail.messages")
    assert [(str(len(written)),)] == table(connection, "select cursor from sync.cursors"), (
        "I2: rows and cursor together"
    )
    with leased(engine) as again:
        for place in (1, 2, 3):
            again.commit(listed(message(f"m{place}"), cursor=CursorMove(Cursor(str(place)))))
    assert table(connection, "select message_id, created from mail.messages") == [(f"m{n}", DAY) for n in (1, 2, 3)]


@pytest.mark.fault("P21")
def test_a_pool_without_a_free_connection_is_worth_another_try(database: str) -> None:
    engine = sa.create_engine(database, pool_size=2, max_overflow=0, pool_timeout=0.1)
    try:
        with leased(engine) as store:
            with engine.connect(), engine.connect(), pytest.raises(StoreUnavailableError, match="in use"):
                store.windows()
            assert store.windows() == ()
            assert store.commit(listed(message())).added == 1
    finally:
        engine.dispose()


@pytest.fixture
def limited(postgres: PostgresServer, database: str, connection: Sql) -> Iterator[str]:
    """The same database for a user who may have one connection."""
    connection.execute("create role limited login connection limit 1 in role mailmirror_worker")
    yield sa.make_url(database).set(username="limited").render_as_string(hide_password=False)
    connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'limited'")
    connection.execute("drop owned by limited")
    connection.execute("drop role limited")


@pytest.mark.fault("P21")
def test_a_server_without_a_free_slot_says_so_and_the_worker_lives_on(limited: str, connection: Sql) -> None:
    connection.execute("insert into sync.accounts (kind, upstream_id) values ('kloudless', '1')")
    engine = connect(limited)
    try:
        with engine.connect() as taken:
            with pytest.raises(StoreUnavailableError) as refused:
                leases.take_lease(engine, 1, "before")
            assert refused.value.sqlstate == "53300"
            taken.rollback()
        assert leases.take_lease(engine, accounts.list_all(engine)[0].id, "after").epoch == 1
    finally:
        engine.dispose()


@pytest.mark.fault("D10", "D11")
def test_names_and_labels_in_a_mess_are_written_once(store: PostgresStore, connection: Sql) -> None:
    from worker.records import Label, Person

    labels = tuple(Label(f"l{n}", f"Label {n}") for n in range(1000))
    named = [
        message(f"m{n}", sender=Person("Ann@example.com", name), labels=labels if n == 0 else ())
        for n, name in enumerate(["Ann", "", None, "Ann Other", "ANN"])
    ]
    store.commit(listed(*named))
    seen = table(connection, "select xmin::text, p::text from mail.people p") + table(
        connection, "select xmin::text, l::text from mail.labels l"
    )
    for order in (named, named[::-1]):
        assert store.commit(listed(*order)).unchanged == 5
        store.commit(fetched(*order))
    assert len(table(connection, "select * from mail.message_labels")) == 1000
    assert seen == table(connection, "select xmin::text, p::text from mail.people p") + table(
        connection, "select xmin::text, l::text from mail.labels l"
    ), "I5: a second look at the same mail writes no name"
