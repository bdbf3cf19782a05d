"""`sync.audits`: what each verification found, kept to be shown."""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Engine

from worker.store.engine import retry_transaction

KEPT_IDS = 1000
"""Differences of one kind that are kept by id; all are counted."""


class Finding(Struct, frozen=True, kw_only=True):
    """The outcome of one verification as it is stored."""

    began_at: datetime
    checked: int
    missing: int
    stale: int
    extra: int
    not_checked: int
    equal: bool
    report: dict[str, Any]


RECORD = sa.text(
    """
    INSERT INTO sync.audits (account_id, began_at, ended_at, checked, missing, stale, extra, not_checked, equal, report)
    VALUES (:account_id, :began_at, sync.now(), :checked, :missing, :stale, :extra, :not_checked, :equal,
        CAST(:report AS jsonb))
    RETURNING id
    """
)


def record(engine: Engine, account_id: int, finding: Finding) -> int:
    """Keep what a verification found; returns the audit's number."""
    values = {name: getattr(finding, name) for name in Finding.__struct_fields__}
    values |= {"account_id": account_id, "report": msgspec.json.encode(finding.report).decode()}

    def work(connection: sa.Connection) -> int:
        return int(connection.execute(RECORD, values).scalar_one())

    return retry_transaction(engine, work)
