"""`sync.audits`: what each `mailmirror verify` found."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SYNC, Base, BigInt


class Audit(Base):
    """One row per comparison of a mirror with its mailbox."""

    __tablename__ = "audits"

    id: Mapped[BigInt] = mapped_column(Identity(always=True), primary_key=True, comment="Number of the audit.")
    account_id: Mapped[BigInt] = mapped_column(
        ForeignKey("sync.accounts.id", ondelete="CASCADE"), comment="The account: sync.accounts.id."
    )
    began_at: Mapped[datetime] = mapped_column(comment="When the comparison began.")
    ended_at: Mapped[datetime | None] = mapped_column(comment="When it ended; null if it was cut short.")
    checked: Mapped[BigInt] = mapped_column(server_default=text("0"), comment="Messages compared field by field.")
    missing: Mapped[BigInt] = mapped_column(server_default=text("0"), comment="Messages the mirror lacks.")
    stale: Mapped[BigInt] = mapped_column(server_default=text("0"), comment="Messages the mirror holds otherwise.")
    extra: Mapped[BigInt] = mapped_column(
        server_default=text("0"), comment="Live messages of the mirror that the mailbox no longer has."
    )
    not_checked: Mapped[BigInt] = mapped_column(
        server_default=text("0"), comment="Messages that could not be compared; the report says why."
    )
    equal: Mapped[bool] = mapped_column(comment="Whether the mirror equals the mailbox.")
    report: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'::jsonb"), comment="The differences by id and field, as far as they fit."
    )

    __table_args__ = (
        Index(None, "account_id", "began_at"),
        {"schema": SYNC, "comment": "Results of mailmirror verify, which writes them; pruned by age."},
    )
