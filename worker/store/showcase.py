"""Queries to begin with: what a mirror of mail answers at once; shown by the demo and in the README."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from worker.store.engine import Engine, connect, translated


class Query(Struct, frozen=True):
    """A question and the SQL that answers it."""

    question: str
    sql: str


class Answer(Struct, frozen=True):
    """What a query returned."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


QUERIES: tuple[Query, ...] = (
    Query(
        "Who writes most, and how long do their threads get?",
        """
select coalesce(p.name, f.address) as who, count(*) as messages, count(distinct m.thread_id) as threads,
       round(avg(t.size), 1) as messages_per_thread
from mail.live_messages m
join mail.message_people f using (account_id, message_id)
join mail.people p using (account_id, address)
join (select account_id, thread_id, count(*) as size from mail.live_messages group by 1, 2) t
    using (account_id, thread_id)
where f.role = 'from'
group by 1 order by messages desc, who limit 5
""",
    ),
    Query(
        "How long until the first answer of somebody else?",
        """
with first as (
    select m.account_id, m.thread_id, m.created, f.address,
           min(m.created) over thread as began,
           first_value(f.address) over (thread order by m.created) as asker
    from mail.live_messages m join mail.message_people f using (account_id, message_id)
    where f.role = 'from' and m.created is not null
    window thread as (partition by m.account_id, m.thread_id)
), answered as (
    select account_id, thread_id, min(created - began) as after
    from first where address <> asker group by 1, 2
)
select to_char(width, 'FM990') || ' h' as within, count(*) as threads,
       repeat('█', (40 * count(*) / sum(count(*)) over ())::int) as share
from answered join (values (-1, 1), (1, 4), (4, 24), (24, 72), (72, 720)) as w (above, width)
    on after > make_interval(hours => above) and after <= make_interval(hours => width)
group by width order by width
""",
    ),
    Query(
        "What changed in the last minute?",
        """
select to_char(m.changed_at, 'HH24:MI:SS') as at,
       case when m.deleted_at is not null then 'deleted'
            when m.first_seen_at = m.changed_at then 'new' else 'changed' end as what,
       left(coalesce(m.subject, '(no subject)'), 48) as subject
from mail.messages m
where m.changed_at > now() - interval '1 minute' and m.digest is not null
order by m.changed_at desc, m.message_id limit 6
""",
    ),
)


def gather_statistics(url: str) -> None:
    """Let the planner know what was just loaded, as its owner; Postgres does so by itself within a minute or so."""
    with translated(), connect(url, pooled=False).begin() as connection:
        connection.execute(sa.text("analyze mail.messages, mail.message_people, mail.people"))


def answer(engine: Engine, query: Query) -> Answer:
    """Run one of the queries."""
    with translated(), engine.connect() as connection:
        result = connection.execute(sa.text(query.sql))
        columns = tuple(result.keys())
        rows: Sequence[Any] = result.fetchall()
    return Answer(columns, tuple(tuple(row) for row in rows))


SEEN = sa.text(
    "select account_id, message_id, extract(epoch from first_seen_at)::float8 from mail.messages"
    " where (account_id, message_id) in (select * from unnest(cast(:accounts as bigint[]), cast(:ids as text[])))"
)


def first_seen(engine: Engine, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], float]:
    """When these messages were first mirrored, in seconds of the epoch; those that were not are left out."""
    if not keys:
        return {}
    values = {"accounts": [account for account, _ in keys], "ids": [message for _, message in keys]}
    with translated(), engine.connect() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(SEEN, values)}
