"""Failures that all accounts of a mail service share: noticed, and told as one wait of them all (faults.md S5, U41)."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from worker.store.accounts import AccountRow
from worker.store.engine import retry_transaction

OTHERS = 5
"""Other accounts that must fail in the same way, with none read well meanwhile."""

TRIP = sa.text(
    """
    WITH latest AS (
        SELECT p.account_id, max(p.last_seen_at) AS at
        FROM sync.problems p JOIN sync.accounts a ON a.id = p.account_id
        WHERE p.kind = 'account' AND p.state = 'open' AND p.subject = ANY (:errors)
            AND a.kind = :kind AND a.service IS NOT DISTINCT FROM :service AND a.id <> :id
        GROUP BY p.account_id ORDER BY at DESC LIMIT :others
    )
    INSERT INTO sync.throttles AS t (scope, until, reason)
    SELECT :scope, sync.now() + make_interval(secs => :seconds), :reason
    WHERE (SELECT count(*) FROM latest) = :others AND NOT EXISTS (
        -- Without activity nothing is polled: the end of a run shows in when the account is due next.
        SELECT FROM sync.accounts a, (SELECT min(at) AS first FROM latest) AS since
        WHERE a.kind = :kind AND a.service IS NOT DISTINCT FROM :service
            AND (a.polled_at > since.first
                OR (a.failures = 0 AND a.next_due_at - make_interval(secs => 1.1 * a.poll_seconds) > since.first))
    )
    ON CONFLICT (scope) DO UPDATE SET until = greatest(t.until, excluded.until), reason = excluded.reason
    RETURNING scope
    """
)


def scope_of(kind: str, service: str | None) -> str:
    """What `sync.throttles` calls the accounts of one service."""
    return f"{kind}/{service or ''}"


def trip(engine: Engine, account: AccountRow, errors: Collection[str], seconds: float, reason: str) -> bool:
    """Let all accounts of this one's service wait when the last of them failed with these errors and none went well.

    `errors` are names of classes. Returns whether that is so.
    """
    values = {
        "id": account.id,
        "kind": account.kind,
        "service": account.service,
        "scope": scope_of(account.kind, account.service),
        "errors": list(errors),
        "others": OTHERS,
        "seconds": seconds,
        "reason": reason,
    }
    return retry_transaction(engine, lambda connection: connection.execute(TRIP, values).first() is not None)
