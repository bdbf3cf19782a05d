"""`mail.message_labels`: which labels a message carries."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import MAIL, Base, BigInt


class MessageLabel(Base):
    """One row per label on one message."""

    __tablename__ = "message_labels"

    account_id: Mapped[BigInt] = mapped_column(primary_key=True, comment="The account: mail.accounts.id.")
    message_id: Mapped[str] = mapped_column(primary_key=True, comment="The message: mail.messages.message_id.")
    label_id: Mapped[str] = mapped_column(primary_key=True, comment="The label: mail.labels.label_id.")
    since: Mapped[datetime | None] = mapped_column(
        comment="When the mirror saw the label put on; null: it was there when the message was first seen."
    )

    __table_args__ = (
        Index(None, "account_id", "label_id"),
        {
            "schema": MAIL,
            "comment": "Labels on each message; those of tombstones stay as last known. Written by the worker only.",
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0.05,
                "autovacuum_analyze_scale_factor": 0.02,
            },
        },
    )
