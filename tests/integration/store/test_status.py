"""Status and problems tell people the truth about every account in a few queries."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.engine import Engine

from worker.errors import UsageError
from worker.store import accounts, problems, status
from worker.store.engine import connect

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = connect(database)
    yield engine
    engine.dispose()


def add(engine: Engine, upstream_id: str = "1") -> int:
    return accounts.add(engine, kind="kloudless", upstream_id=upstream_id).id


def ledger(connection: psycopg.Connection, account_id: int, *windows: tuple[int, int | None, str]) -> None:
    """Lay out windows from year to year."""
    for after, before, state in windows:
        until = None if before is None else datetime(before, 1, 1, tzinfo=UTC)
        connection.execute(
            "INSERT INTO sync.windows (account_id, after, before, state) VALUES (%s, %s, %s, %s)",
            (account_id, datetime(after, 1, 1, tzinfo=UTC), until, state),
        )


def one(engine: Engine, account_id: int) -> status.AccountStatus:
    found = status.one(engine, account_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("windows", "complete_to", "complete"),
    [
        ([], None, False),
        ([(1, None, "open")], None, False),
        ([(1, 2020, "open"), (2020, None, "open")], None, False),
        ([(1, 2020, "open"), (2020, None, "done")], datetime(2020, 1, 1, tzinfo=UTC), False),
        (
            [(1, 2010, "done"), (2010, 2015, "open"), (2015, 2020, "problem"), (2020, None, "done")],
            datetime(2015, 1, 1, tzinfo=UTC),
            False,
        ),
        ([(1, 2010, "done"), (2015, None, "done")], datetime(2015, 1, 1, tzinfo=UTC), False),
        ([(2010, 2020, "done")], None, False),
        ([(1, 2020, "problem"), (2020, None, "done")], BEGINNING, True),
    ],
    ids=["no ledger", "only the head", "head open", "head done", "a hole", "a gap", "no head", "to the beginning"],
)
def test_complete_back_to_the_first_window_that_is_not_walked(
    engine: Engine,
    connection: psycopg.Connection,
    windows: list[tuple[int, int | None, str]],
    complete_to: datetime | None,
    complete: bool,
) -> None:
    account_id = add(engine)
    ledger(connection, account_id, *windows)
    found = one(engine, account_id)
    assert found.complete_to == complete_to
    assert found.complete == complete
    assert found.windows_open == sum(state == "open" for _, _, state in windows)
    assert found.windows_done == sum(state == "done" for _, _, state in windows)
    assert found.windows_problem == sum(state == "problem" for _, _, state in windows)


def test_messages_problems_and_polls_are_counted_per_account(engine: Engine, connection: psycopg.Connection) -> None:
    first, second, third = add(engine, "1"), add(engine, "2"), add(engine, "3")
    connection.execute(
        "INSERT INTO mail.messages (account_id, message_id, created, deleted_at) VALUES"
        " (%(a)s, 'gone', '1990-01-01+00', now()), (%(a)s, 'old', '2001-01-01+00', NULL),"
        " (%(a)s, 'new', '2020-01-01+00', NULL), (%(a)s, 'timeless', NULL, NULL), (%(b)s, 'm', NULL, NULL)",
        {"a": first, "b": second},
    )
    connection.execute(
        "INSERT INTO sync.problems (account_id, kind, subject, cause, state, closed_at) VALUES"
        " (%(a)s, 'pending', 'x', 'y', 'open', NULL), (%(a)s, 'held_delete', 'x', 'y', 'open', NULL),"
        " (%(a)s, 'page', 'x', 'y', 'closed', now())",
        {"a": first},
    )
    connection.execute("UPDATE sync.accounts SET polled_at = now() - interval '5 minutes' WHERE id = %s", [first])
    found = {line.id: line for line in status.fleet(engine)}
    assert list(found) == [first, second, third]
    line = found[first]
    assert (line.live, line.deleted, line.problems, line.held_deletes) == (3, 1, 2, 1)
    assert line.oldest == datetime(2001, 1, 1, tzinfo=UTC)
    assert line.poll_age is not None
    assert timedelta(minutes=5) <= line.poll_age < timedelta(minutes=10)
    assert (found[second].live, found[second].oldest, found[second].poll_age) == (1, None, None)
    assert (found[third].live, found[third].deleted, found[third].problems) == (0, 0, 0)
    assert status.one(engine, first) is not None
    assert status.fleet(engine, count_messages=False)[0].live is None
    assert status.one(engine, 999) is None


def test_the_share_is_of_the_time_since_the_oldest_known_mail() -> None:
    base = status.AccountStatus(
        id=1, tenant_id="t", kind="k", service=None, address=None, status="active", status_reason=None,
        at=datetime(2020, 1, 1, tzinfo=UTC), polled_at=None, lease_owner=None, windows_open=1,
        oldest=datetime(2010, 1, 1, tzinfo=UTC), complete_to=datetime(2015, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert base.share == pytest.approx(0.5, abs=0.01)


def problem(connection: psycopg.Connection, account_id: int, kind: str, raw: bytes | None = None) -> int:
    row = connection.execute(
        "INSERT INTO sync.problems (account_id, kind, subject, cause, bytes, not_before)"
        " VALUES (%s, %s, 'm1', 'It could not be read.', %s, now() + interval '1 day') RETURNING id",
        (account_id, kind, raw),
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_problems_are_listed_without_and_shown_with_their_bytes(engine: Engine, connection: psycopg.Connection) -> None:
    account_id = add(engine)
    raw = b"\x1b[31mred\x00 \xff caf\xc3\xa9\r\n" + b"z" * 5000
    number = problem(connection, account_id, "message", raw)
    (row,) = problems.listed(engine, account_id)
    assert (row.id, row.raw, row.raw_size, row.attempts) == (number, None, len(raw), 1)
    shown = problems.show(engine, number)
    assert shown.raw == raw
    assert shown.excerpt(2000).startswith("\\u001b[31mred\\u0000 \\xff café\\u000d\n")
    assert shown.excerpt(2000).endswith(f"z… ({len(raw)} bytes)")
    assert all(char.isprintable() or char == "\n" for char in shown.excerpt(2000))
    with pytest.raises(UsageError, match="no problem 999"):
        problems.show(engine, 999)


def test_held_deletions_are_told_by_message(engine: Engine, connection: psycopg.Connection) -> None:
    account_id, other = add(engine, "1"), add(engine, "2")
    problem(connection, account_id, "held_delete")
    problem(connection, account_id, "pending")
    assert problems.held_ids(engine, account_id) == ("m1",)
    assert problems.held_ids(engine, other) == ()


def test_closed_problems_are_listed_on_request(engine: Engine, connection: psycopg.Connection) -> None:
    account_id = add(engine)
    number = problem(connection, account_id, "event")
    connection.execute("UPDATE sync.problems SET state = 'closed', closed_at = now()")
    assert problems.listed(engine) == []
    assert [row.id for row in problems.listed(engine, closed=True)] == [number]
    assert problems.retry(engine) == 0


def test_retry_makes_problems_due_but_never_a_held_deletion(engine: Engine, connection: psycopg.Connection) -> None:
    first, second = add(engine, "1"), add(engine, "2")
    ledger(connection, first, (1, 2020, "problem"), (2020, None, "done"))
    problem(connection, first, "page")
    connection.execute("UPDATE sync.problems SET window_after = '0010-01-01Z', window_before = '0011-01-01Z'")
    held = problem(connection, first, "held_delete")
    other = problem(connection, second, "pending")
    connection.execute("UPDATE sync.accounts SET next_due_at = now() + interval '1 day', backfill_due_at = NULL")

    assert problems.retry(engine, account_id=first) == 1
    assert connection.execute("SELECT next_walk_at <= now() FROM sync.windows WHERE state = 'problem'").fetchall() == [
        (True,)
    ]
    assert connection.execute("SELECT id FROM sync.accounts WHERE next_due_at <= now()").fetchall() == [(first,)]

    assert problems.retry(engine, problem_id=held) == 0
    assert problems.retry(engine, problem_id=other) == 1
    with pytest.raises(UsageError, match="no problem 999"):
        problems.retry(engine, problem_id=999)


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("active", None, None),
        ("backing_off", "No answer.", "by itself"),
        ("degraded", "No change events.", "Nothing needs to be done"),
        ("backing_off", "The key k1 is missing. Add it to MAILMIRROR_KEYRING.", None),
        ("auth_required", "The token was refused.", "mailmirror accounts token 1 --token-stdin"),
        ("gone", "The upstream does not know the account.", "mailmirror accounts remove 1"),
        ("gone", accounts.REMOVED, "mailmirror accounts token 1 --token-stdin"),
        ("paused", "Paused by a person.", "mailmirror accounts resume 1"),
    ],
)
def test_every_state_says_why_and_what_a_person_must_do(
    engine: Engine, connection: psycopg.Connection, state: str, reason: str | None, said: str | None
) -> None:
    account_id = add(engine)
    connection.execute("UPDATE sync.accounts SET status = %s, status_reason = %s", (state, reason))
    for shown in (one(engine, account_id), accounts.get(engine, account_id)):
        assert (shown.status, shown.status_reason) == (state, reason)
        assert (said in shown.to_do) if said is not None and shown.to_do is not None else shown.to_do is said
