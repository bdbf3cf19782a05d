"""`sync.runs`: what each run on an account did."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SYNC, Base, BigInt


class Run(Base):
    """One row per run that changed, failed or walked something."""

    __tablename__ = "runs"

    id: Mapped[BigInt] = mapped_column(Identity(always=True), primary_key=True, comment="Number of the run.")
    account_id: Mapped[BigInt] = mapped_column(
        ForeignKey("sync.accounts.id", ondelete="CASCADE"), comment="The account: sync.accounts.id."
    )
    epoch: Mapped[BigInt] = mapped_column(comment="lease_epoch the run worked under.")
    began_at: Mapped[datetime] = mapped_column(comment="When the lease was taken.")
    ended_at: Mapped[datetime] = mapped_column(comment="When the run ended.")
    outcome: Mapped[str] = mapped_column(
        comment="done (nothing left to do), partial (out of time or budget) or failed."
    )
    error_kind: Mapped[str | None] = mapped_column(comment="Class of the error that ended a failed run.")
    error: Mapped[str | None] = mapped_column(comment="The error in one sentence; never a credential or mail.")
    requests: Mapped[int] = mapped_column(server_default=text("0"), comment="Requests sent upstream.")
    added: Mapped[int] = mapped_column(server_default=text("0"), comment="Messages that were new.")
    updated: Mapped[int] = mapped_column(server_default=text("0"), comment="Messages that had changed.")
    unchanged: Mapped[int] = mapped_column(server_default=text("0"), comment="Messages seen and found equal.")
    tombstoned: Mapped[int] = mapped_column(server_default=text("0"), comment="Messages found gone.")
    revived: Mapped[int] = mapped_column(server_default=text("0"), comment="Tombstones that came back to life.")
    windows_walked: Mapped[int] = mapped_column(server_default=text("0"), comment="Windows walked to their end.")

    __table_args__ = (
        CheckConstraint("outcome in ('done', 'partial', 'failed')", name="outcome"),
        Index(None, "account_id", "began_at"),
        Index(None, "began_at"),
        {
            "schema": SYNC,
            "comment": "Runs that changed, failed or walked something; idle polls leave none. "
            "Written by the worker, pruned by age.",
        },
    )
