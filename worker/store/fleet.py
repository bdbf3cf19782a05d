"""The figures of all accounts together, in one statement; what the web page and its metrics begin with."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from worker.store.engine import translated

RECENT = timedelta(hours=1)
"""What "recent" means in runs."""


class Fleet(Struct, frozen=True, kw_only=True):
    """All accounts together."""

    at: datetime
    """The store's time of this answer."""
    statuses: dict[str, int]
    """Accounts by status; a status that no account has is missing."""
    due: dict[str, int]
    """Accounts by queue that are due, and neither queued nor leased."""
    queued: dict[str, int]
    """Accounts by queue that a ring is on its way for, as dispatch has marked them."""
    leased: int
    workers: int
    """Processes that hold a lease at this moment."""
    waits: float
    """Seconds that a due account has waited for longest without being rung for: long, when no beat runs."""
    polled_at: datetime | None
    """When a worker last ended a poll."""
    rung_at: datetime | None
    """When beat last rang, as far as a mark still shows it."""
    late: tuple[float, ...]
    """Quantiles of the seconds by which polls are late, as in `QUANTILES`; empty without accounts at work."""
    poll_age: tuple[float, ...]
    """Quantiles of the seconds since the last poll, of accounts that were polled."""
    unfinished: int
    """Accounts with a window that is open."""
    windows_open: int
    problems: dict[str, int]
    """Open problems by kind; a kind without any is missing."""
    oldest_problem_at: datetime | None
    runs: dict[str, int]
    """Runs that began within the last hour, by outcome."""
    changes: dict[str, int]
    """What they did to messages: added, updated, unchanged, tombstoned, revived; and `requests`, `windows_walked`."""
    unequal: int
    """Accounts whose last audit found a difference."""
    throttled: dict[str, tuple[float, str | None]]
    """Seconds that all accounts of a scope still wait, and why, by scope."""
    messages: int
    """Rows of mail.messages, tombstones among them, as PostgreSQL estimates them."""

    @property
    def accounts(self) -> int:
        """How many accounts there are."""
        return sum(self.statuses.values())


QUANTILES = (0.5, 0.95, 1.0)

FLEET = sa.text(
    """
    WITH accounts AS MATERIALIZED (
        SELECT status, lease_owner, polled_at, next_due_at, queued_until, backfill_queued_until, leased, at_work,
            due_now AND next_due_at <= sync.now() AND queued_until > sync.now() IS NOT TRUE AS due,
            due_now AND backfill_due_at <= sync.now() AND backfill_queued_until > sync.now() IS NOT TRUE AS backfill_due
        FROM (
            SELECT a.*, leased, at_work, at_work AND NOT leased AND NOT EXISTS (
                    SELECT FROM sync.throttles AS t
                    WHERE t.scope IN (a.kind, a.kind || '/' || COALESCE(a.service, '')) AND t.until > sync.now()
                ) AS due_now
            FROM sync.accounts AS a, LATERAL (
                SELECT COALESCE(a.lease_until > sync.now(), false) AS leased,
                    a.status IN ('active', 'backing_off', 'degraded') AS at_work
            ) AS standing
        ) AS looked_at
    ), opened AS (
        SELECT count(DISTINCT account_id) AS accounts, count(*) AS windows FROM sync.windows WHERE state = 'open'
    ), troubles AS (
        SELECT kind, count(*) AS n, min(first_seen_at) AS first FROM sync.problems WHERE state = 'open' GROUP BY kind
    ), recent AS (
        SELECT outcome, count(*) AS n, sum(requests) AS requests, sum(added) AS added, sum(updated) AS updated,
            sum(unchanged) AS unchanged, sum(tombstoned) AS tombstoned, sum(revived) AS revived,
            sum(windows_walked) AS walked
        FROM sync.runs WHERE began_at > sync.now() - CAST(:recent AS interval) GROUP BY outcome
    )
    SELECT sync.now() AS at,
        (SELECT COALESCE(jsonb_object_agg(status, n), '{}')
            FROM (SELECT status, count(*) AS n FROM accounts GROUP BY status) AS by_status) AS statuses,
        jsonb_build_object('live', count(*) FILTER (WHERE due), 'backfill', count(*) FILTER (WHERE backfill_due))
            AS due,
        jsonb_build_object('live', count(*) FILTER (WHERE queued_until > sync.now()),
            'backfill', count(*) FILTER (WHERE backfill_queued_until > sync.now())) AS queued,
        count(*) FILTER (WHERE leased) AS leased,
        count(DISTINCT lease_owner) FILTER (WHERE leased) AS workers,
        COALESCE(extract(epoch FROM
            max(sync.now() - greatest(next_due_at, queued_until)) FILTER (WHERE due)), 0)::float8 AS waits,
        max(polled_at) AS polled_at,
        greatest(max(queued_until) - interval '30 s', max(backfill_queued_until) - interval '75 s') AS rung_at,
        COALESCE(percentile_cont(CAST(:quantiles AS float8[])) WITHIN GROUP (
            ORDER BY greatest(0, extract(epoch FROM sync.now() - next_due_at))::float8) FILTER (WHERE at_work), '{}')
            AS late,
        COALESCE(percentile_cont(CAST(:quantiles AS float8[])) WITHIN GROUP (
            ORDER BY extract(epoch FROM sync.now() - polled_at)::float8
            ) FILTER (WHERE at_work AND polled_at IS NOT NULL), '{}') AS poll_age,
        (SELECT accounts FROM opened) AS unfinished,
        (SELECT windows FROM opened) AS windows_open,
        (SELECT COALESCE(jsonb_object_agg(kind, n), '{}') FROM troubles) AS problems,
        (SELECT min(first) FROM troubles) AS oldest_problem_at,
        (SELECT COALESCE(jsonb_object_agg(outcome, n), '{}') FROM recent) AS runs,
        (SELECT jsonb_build_object('requests', COALESCE(sum(requests), 0), 'added', COALESCE(sum(added), 0),
            'updated', COALESCE(sum(updated), 0), 'unchanged', COALESCE(sum(unchanged), 0),
            'tombstoned', COALESCE(sum(tombstoned), 0), 'revived', COALESCE(sum(revived), 0),
            'windows_walked', COALESCE(sum(walked), 0)) FROM recent) AS changes,
        (SELECT count(*) FROM (
            SELECT DISTINCT ON (account_id) equal FROM sync.audits ORDER BY account_id, began_at DESC) AS last
            WHERE NOT equal) AS unequal,
        (SELECT COALESCE(
            jsonb_object_agg(scope, jsonb_build_array(extract(epoch FROM until - sync.now()), reason)), '{}')
            FROM sync.throttles
            WHERE until > sync.now()) AS throttled,
        (SELECT greatest(0, reltuples)::bigint FROM pg_catalog.pg_class
            WHERE oid = to_regclass('mail.messages')) AS messages
    FROM accounts
    """
)


def figures(engine: Engine) -> Fleet:
    """Read the figures of all accounts."""
    with translated(), engine.connect() as connection:
        return read(connection)


def read(connection: Connection) -> Fleet:
    """Read the figures of all accounts within a transaction."""
    found = connection.execute(FLEET, {"recent": RECENT, "quantiles": list(QUANTILES)}).mappings().one()
    return Fleet(**{**found, "late": tuple(found["late"]), "poll_age": tuple(found["poll_age"])})
