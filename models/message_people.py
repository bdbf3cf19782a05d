"""`mail.message_people`: who a message is from and to."""

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import MAIL, Base, BigInt


class MessagePerson(Base):
    """One row per sender or recipient as written on one message."""

    __tablename__ = "message_people"

    account_id: Mapped[BigInt] = mapped_column(primary_key=True, comment="The account: mail.accounts.id.")
    message_id: Mapped[str] = mapped_column(primary_key=True, comment="The message: mail.messages.message_id.")
    role: Mapped[str] = mapped_column(primary_key=True, comment="Where it is written: from, to, cc or bcc.")
    position: Mapped[int] = mapped_column(primary_key=True, comment="Place within the role, from 0.")
    address: Mapped[str | None] = mapped_column(
        comment="Normalised address: mail.people.address; null where no address is written."
    )
    email: Mapped[str | None] = mapped_column(comment="Address exactly as written on this message.")
    name: Mapped[str | None] = mapped_column(comment="Display name exactly as written on this message.")

    __table_args__ = (
        CheckConstraint("role in ('from', 'to', 'cc', 'bcc')", name="role"),
        Index(None, "account_id", "address"),
        {
            "schema": MAIL,
            "comment": "Senders and recipients as written on each message; those of tombstones stay "
            "as last known. Written by the worker only.",
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0.05,
                "autovacuum_analyze_scale_factor": 0.02,
            },
        },
    )
