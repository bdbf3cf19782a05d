"""Takes away what the machinery has noted and nobody needs any more: old runs, closed problems, audits."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from worker.store.engine import retry_transaction

KEPT_DAYS = 30
"""How long runs and closed problems are kept."""
AUDIT_DAYS = 90
AUDITS = 20
"""Audits kept of one account, unless they are older; the last one always stays."""

BATCH = 1000
"""Rows per transaction, so that no lock is held for long."""
MOST = 100
"""Transactions for one table at a time; what is left then waits for the next time."""

OLD_RUNS = sa.text(
    """
    DELETE FROM sync.runs WHERE id IN (
        SELECT id FROM sync.runs WHERE began_at < sync.now() - make_interval(days => :days)
        ORDER BY began_at LIMIT :batch FOR UPDATE SKIP LOCKED)
    """
)

CLOSED_PROBLEMS = sa.text(
    """
    DELETE FROM sync.problems WHERE id IN (
        SELECT id FROM sync.problems
        WHERE state = 'closed' AND closed_at < sync.now() - make_interval(days => :days)
        ORDER BY closed_at LIMIT :batch FOR UPDATE SKIP LOCKED)
    """
)

OLD_AUDITS = sa.text(
    """
    DELETE FROM sync.audits WHERE id IN (
        SELECT id FROM (
            SELECT id, began_at, row_number() OVER (PARTITION BY account_id ORDER BY began_at DESC, id DESC) AS place
            FROM sync.audits
        ) AS ordered
        WHERE place > :kept OR (place > 1 AND began_at < sync.now() - make_interval(days => :days))
        ORDER BY id LIMIT :batch)
    """
)

OUTDATED = (
    (OLD_RUNS, {"days": KEPT_DAYS}),
    (CLOSED_PROBLEMS, {"days": KEPT_DAYS}),
    (OLD_AUDITS, {"days": AUDIT_DAYS, "kept": AUDITS}),
)


def prune(engine: Engine, *, batch: int = BATCH) -> int:
    """Delete what is past its time in small transactions; returns how many rows that were."""
    return sum(_drop(engine, statement, {**values, "batch": batch}) for statement, values in OUTDATED)


def _drop(engine: Engine, statement: sa.TextClause, values: dict[str, int]) -> int:
    dropped = 0
    for _ in range(MOST):
        some = retry_transaction(engine, lambda connection: connection.execute(statement, values).rowcount)
        dropped += some
        if some < values["batch"]:
            break
    return dropped
