"""`sync.accounts`: the mailboxes to mirror, when each is due, and who works on it."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Double, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NOW, SYNC, XACT, Base, BigInt, Xid8

AT_WORK = "status in ('active', 'backing_off', 'degraded')"
"""Accounts that are polled; the partial indexes and the query for due accounts say it in the same words."""


class Account(Base):
    """One row per mailbox: its schedule, its lease and its fence."""

    __tablename__ = "accounts"

    id: Mapped[BigInt] = mapped_column(
        Identity(always=True), primary_key=True, comment="mailmirror's own number of the account."
    )
    tenant_id: Mapped[str] = mapped_column(
        server_default=text("'default'"),
        comment="Whose account it is; tenants take turns when accounts are due.",
    )
    kind: Mapped[str] = mapped_column(comment="Kind of source, a module of worker.sources, such as kloudless.")
    service: Mapped[str | None] = mapped_column(comment="Mail service behind the source, such as gmail.")
    upstream_id: Mapped[str] = mapped_column(comment="The account's id at the upstream.")
    address: Mapped[str | None] = mapped_column(comment="The mailbox's e-mail address.")
    status: Mapped[str] = mapped_column(
        server_default=text("'active'"),
        comment="active; backing_off (fails for now); auth_required (needs a new token); "
        "degraded (works without change events or with open problems); gone (unknown upstream); "
        "paused (by a person).",
    )
    status_reason: Mapped[str | None] = mapped_column(comment="Why the status is not active, in one sentence.")
    settings: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'::jsonb"),
        comment="Settings that differ for this account; never a credential.",
    )
    created_at: Mapped[datetime] = mapped_column(server_default=text(NOW), comment="When the account was added.")
    polled_at: Mapped[datetime | None] = mapped_column(
        comment="When changes were last read to their end; moves at every poll and does not move changed_in."
    )
    changed_in: Mapped[Xid8] = mapped_column(
        server_default=text(XACT),
        comment="Transaction of the last change to what mail.accounts shows, polled_at apart: "
        "the row's place in the change feed.",
    )
    next_due_at: Mapped[datetime] = mapped_column(
        server_default=text(NOW), comment="When the account is polled next for changes."
    )
    backfill_due_at: Mapped[datetime | None] = mapped_column(
        server_default=text(NOW),
        comment="When its history is worked on next; null when there is nothing to do.",
    )
    queued_until: Mapped[datetime | None] = mapped_column(
        comment="Not dispatched for changes before this time: a task for it is on its way. Written by dispatch."
    )
    backfill_queued_until: Mapped[datetime | None] = mapped_column(
        comment="As queued_until, for the work on its history."
    )
    poll_seconds: Mapped[float | None] = mapped_column(
        Double, comment="Seconds between its polls as they are now: few while it changes, more while it is quiet."
    )
    lease_owner: Mapped[str | None] = mapped_column(comment="The worker that holds the account, for people to read.")
    lease_until: Mapped[datetime | None] = mapped_column(
        comment="When the lease ends unless it is renewed; null when nobody holds the account."
    )
    lease_epoch: Mapped[BigInt] = mapped_column(
        server_default=text("0"),
        comment="Grows by one with every lease: the fence. A commit of an older lease changes nothing.",
    )
    failures: Mapped[int] = mapped_column(
        server_default=text("0"),
        comment="Runs since the last one that ended cleanly; counted when the lease is taken.",
    )

    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "upstream_id"),
        CheckConstraint(
            "status in ('active', 'backing_off', 'auth_required', 'degraded', 'gone', 'paused')",
            name="status",
        ),
        Index(None, "changed_in"),
        Index("ix_accounts_next_due_at", "next_due_at", postgresql_where=text(AT_WORK)),
        Index("ix_accounts_backfill_due_at", "backfill_due_at", postgresql_where=text(AT_WORK)),
        {
            "schema": SYNC,
            "comment": "Accounts: what to mirror, when, and under whose lease. Written by the worker, "
            "by dispatch and by mailmirror accounts. People read mail.accounts.",
            # Every poll and every commit updates its row: half a page free keeps those updates in place.
            "postgresql_with": {"fillfactor": 50, "autovacuum_vacuum_scale_factor": 0.05},
        },
    )
