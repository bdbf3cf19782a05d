"""Many accounts: claimed in order, nobody twice, nobody late, no more at once than fit; one refusal for all of them."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Engine

from tests.acceptance.stage import Upstream, settings_for
from worker.bootstrap import Mirror
from worker.errors import CredentialRefusedError, LeaseError
from worker.store import accounts, dispatch
from worker.store.engine import connect

Sql = psycopg.Connection[Any]
ACCOUNTS = 10_000
INTERVAL = 300
TICK = 10
MOST = 400
NOW = "create or replace function sync.now() returns timestamptz language sql stable parallel safe return {}"


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = connect(database, pool_size=8)
    yield opened
    opened.dispose()


def add(connection: Sql, count: int, due: str) -> None:
    """Add accounts that are due at a time of their own."""
    connection.execute(
        "insert into sync.accounts (kind, tenant_id, upstream_id, next_due_at)"
        f" select 'kloudless', 'tenant ' || mod(n, 7), n::text, {due} from generate_series(1, {count}) as n"
    )
    connection.execute("analyze sync.accounts")


def poll(connection: Sql, ids: list[int]) -> None:
    """End the turns of these accounts as a worker does."""
    connection.execute(
        "update sync.accounts set queued_until = null, polled_at = sync.now(),"
        " next_due_at = sync.now() + make_interval(secs => %s) where id = any(%s)", [INTERVAL, ids]
    )  # fmt: skip


@pytest.mark.fault("S1", "P11")
def test_ten_thousand_accounts_are_claimed_once_each_by_four_dispatchers(engine: Engine, connection: Sql) -> None:
    add(connection, ACCOUNTS, "sync.now() - n * interval '1 ms'")
    with ThreadPoolExecutor(4) as pool:
        rounds = [pool.submit(dispatch.pick, engine, "live", ACCOUNTS) for _ in range(8)]
        picked = [account_id for done in rounds for account_id in done.result()]
    picked += dispatch.pick(engine, "live", ACCOUNTS)
    assert sorted(picked) == list(range(1, ACCOUNTS + 1)), "I5: nobody twice"


@pytest.mark.fault("S1")
def test_ten_thousand_accounts_are_never_later_than_twice_their_interval(engine: Engine, connection: Sql) -> None:
    spread = f"sync.now() + mod(n, {INTERVAL}) * interval '1 s'"
    add(connection, ACCOUNTS, spread)
    start, lags = connection.execute("select pg_catalog.now()").fetchone(), []
    assert start is not None
    for tick in range(2 * INTERVAL // TICK):
        connection.execute(NOW.format(f"'{start[0].isoformat()}'::timestamptz + interval '{tick * TICK} s'"))
        ids = list(dispatch.pick(engine, "live", MOST))
        assert len(ids) <= MOST
        lags += connection.execute(
            "select extract(epoch from sync.now() - next_due_at)::float8 from sync.accounts where id = any(%s)", [ids]
        ).fetchall()
        poll(connection, ids)
    seconds = sorted(lag for (lag,) in lags)
    assert len(seconds) > 1.5 * ACCOUNTS
    assert seconds[int(0.95 * len(seconds))] <= INTERVAL, "p95 of the lag: twice the interval in all"


@pytest.mark.fault("S4")
def test_after_an_outage_of_two_hours_the_longest_waiting_come_first_and_no_more_at_once_than_fit(
    engine: Engine, connection: Sql
) -> None:
    add(connection, 4000, "sync.now() - interval '2 hours' + n * interval '1 ms'")
    rounds = []
    while ids := list(dispatch.pick(engine, "live", MOST)):
        assert len(ids) <= MOST
        assert list(dispatch.pick(engine, "live", MOST)) == [], "I8: as many as fit are queued already"
        rounds.append(ids)
        poll(connection, ids)
    assert len(rounds) == 4000 // MOST, "all recovered in as many rounds as it takes"
    assert all(max(earlier) < min(later) + 8 for earlier, later in itertools.pairwise(rounds))


@pytest.mark.fault("U41")
def test_a_refused_key_of_the_app_is_one_problem_and_marks_no_account(
    calm_upstream: Upstream, database: str, tmp_path: Path, connection: Sql
) -> None:
    boxes = [calm_upstream.mailbox(20) for _ in range(5)]
    mirror = Mirror.open(settings_for(database, calm_upstream.url, tmp_path, kloudless_api_key="no-longer-good"))
    try:
        ids = [accounts.add(mirror.engine, kind="kloudless", upstream_id=str(box.id)).id for box in boxes]
        asked = boxes[0].last_request()
        first, second, *_ = mirror.pick("live")
        with pytest.raises(CredentialRefusedError) as refused:
            mirror.take_turn(first, "live")
        assert refused.value.scope == "app"
        mirror.throttle(first, refused.value)
        with pytest.raises((CredentialRefusedError, LeaseError)):
            mirror.take_turn(second, "live")  # it was rung for already
        assert boxes[0].last_request() - asked <= 4, "I8"
        connection.execute("update sync.accounts set queued_until = null, next_due_at = sync.now() - interval '1 h'")
        assert list(mirror.pick("live")) == [], "all of the app wait"
        assert connection.execute("select scope, reason is not null from sync.throttles").fetchall() == [
            ("kloudless", True)
        ]
        assert connection.execute("select count(*) from sync.problems").fetchall() == [(0,)]
        states = connection.execute("select id, status from sync.accounts order by 1").fetchall()
        assert {status for _, status in states} <= {"active", "backing_off"}
        assert [account_id for account_id, _ in states] == ids
    finally:
        mirror.close()
