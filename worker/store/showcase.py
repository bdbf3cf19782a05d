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
        "With whom is there most to do?",
        """
select coalesce(name, address) as who, sum(received) as received, sum(sent) as sent,
       to_char(max(last_at), 'YYYY-MM-DD') as last
from analytics.correspondents
where kind = 'person'
group by 1 order by sum(strength) desc, who limit 5
""",
    ),
    Query(
        "How long until the first answer?",
        """
select to_char(width, 'FM990') || ' h' as within,
       count(*) filter (where direction = 'outgoing') as ours, count(*) filter (where direction = 'incoming') as theirs,
       repeat('█', (40 * count(*) / sum(count(*)) over ())::int) as share
from analytics.replies
join (values (-1, 1), (1, 4), (4, 24), (24, 72), (72, 720)) as w (above, width)
    on response_seconds > above * 3600 and response_seconds <= width * 3600
where is_first and confidence <> 'low'
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
