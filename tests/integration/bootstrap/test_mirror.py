"""What a process owes Postgres is given back, what is past its time goes, and what all accounts share is told once."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.unit.sync.ends import StillClock
from worker.bootstrap import Mirror
from worker.bootstrap.mirror import PRUNE_EVERY
from worker.config import Settings
from worker.errors import CredentialRefusedError, StoreUnavailableError, UnreachableError
from worker.records import Queue
from worker.sandbox import SandboxOptions, running
from worker.store import accounts, breaker
from worker.store.credentials import KeyRing
from worker.store.engine import connect

Sql = psycopg.Connection[Any]
NOBODY = "postgresql://nobody@127.0.0.1:1/none"
"""A server that is away."""


@pytest.fixture
def mirror(database: str) -> Iterator[Mirror]:
    """A mirror with one account that is due."""
    opened = Mirror(Settings(), connect(database), KeyRing())
    accounts.add(opened.engine, kind="kloudless", upstream_id="1")
    yield opened
    opened.close()


@pytest.mark.parametrize("queue", ["live", "backfill"])
def test_a_task_that_found_postgres_away_lets_its_account_be_picked_again(mirror: Mirror, queue: Queue) -> None:
    assert list(mirror.pick(queue)) == [1]
    there, mirror.engine = mirror.engine, connect(NOBODY)
    with pytest.raises(StoreUnavailableError):
        mirror.take_turn(1, queue)
    with pytest.raises(StoreUnavailableError):
        mirror.tidy()
    mirror.engine = there
    assert list(mirror.pick(queue)) == []
    mirror.tidy()
    assert list(mirror.pick(queue)) == [1]


def test_old_rows_are_looked_for_once_an_hour(mirror: Mirror, connection: Sql) -> None:
    mirror.clock = clock = StillClock()

    def leave_old_run() -> None:
        connection.execute(
            "insert into sync.runs (account_id, epoch, began_at, ended_at, outcome)"
            " values (1, 1, now() - interval '31 days', now() - interval '31 days', 'done')"
        )

    def runs() -> int:
        return len(connection.execute("select from sync.runs").fetchall())

    leave_old_run()
    mirror.tidy()
    assert runs() == 0
    leave_old_run()
    mirror.tidy()
    assert runs() == 1
    clock.sleep(PRUNE_EVERY)
    mirror.tidy()
    assert runs() == 0


def add_more(mirror: Mirror, token: str | None = None) -> list[int]:
    """Add as many accounts of one service as the breaker looks at, and two more."""
    return [
        accounts.add(
            mirror.engine, kind="kloudless", service="gmail", upstream_id=str(n), token=token, keys=mirror.keys
        ).id
        for n in range(2, 4 + breaker.OTHERS)
    ]


@pytest.mark.fault("S5")
def test_an_outage_of_a_service_is_one_wait_of_its_accounts(mirror: Mirror, connection: Sql) -> None:
    mirror.settings = Settings(kloudless_url="http://127.0.0.1:1/v1", kloudless_api_key="key")
    *first, last, untried = add_more(mirror)
    for account_id in (*first, last):
        with pytest.raises(UnreachableError):
            mirror.take_turn(account_id, "live")
    assert connection.execute("select scope from sync.throttles").fetchall() == [("kloudless/gmail",)]
    assert list(mirror.pick("live")) == [1], f"{untried} waits with the others, and another service does not"


@pytest.mark.fault("U41")
def test_tokens_that_are_all_refused_are_one_problem_and_leave_the_accounts_as_they_are(
    mirror: Mirror, connection: Sql
) -> None:
    mirror.keys = KeyRing({"k1": bytes(32)})
    with running(SandboxOptions(messages=1, accounts=1)) as upstream:
        mirror.settings = Settings(kloudless_url=upstream.url)
        *first, last, untried = add_more(mirror, token="refused")
        for account_id in (*first, last):
            with pytest.raises(CredentialRefusedError):
                mirror.take_turn(account_id, "live")
    found = connection.execute("select scope, reason from sync.throttles").fetchall()
    assert [(scope, reason[:20]) for scope, reason in found] == [("kloudless/gmail", "All of them fail: Th")]
    refused = connection.execute("select id from sync.accounts where status = 'auth_required' order by id").fetchall()
    assert [row[0] for row in refused] == first, "only those that failed before it was known"
    assert connection.execute("select count(*) from sync.problems where account_id = %s", (last,)).fetchone() == (0,)
    assert untried not in mirror.pick("live")
