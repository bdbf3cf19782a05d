"""`mail.people`: every address an account has seen."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import MAIL, XACT, Base, BigInt, Xid8


class Person(Base):
    """One row per account and normalised address."""

    __tablename__ = "people"

    account_id: Mapped[BigInt] = mapped_column(primary_key=True, comment="The account: mail.accounts.id.")
    address: Mapped[str] = mapped_column(
        primary_key=True,
        comment="Normalised e-mail address; one over 320 bytes is its first 200 bytes, '#' and its SHA-256.",
    )
    name: Mapped[str | None] = mapped_column(comment="Display name on the newest message that gives one.")
    name_at: Mapped[datetime | None] = mapped_column(
        comment="created of the message the name was read on; the name changes only when this grows."
    )
    name_on: Mapped[str | None] = mapped_column(
        comment="message_id of the message the name was read on; decides between messages of the same second."
    )
    changed_in: Mapped[Xid8] = mapped_column(
        server_default=text(XACT),
        comment="Transaction of the last change: the row's place in the change feed.",
    )

    __table_args__ = (
        Index(None, "changed_in"),
        {
            "schema": MAIL,
            "comment": "Addresses seen in an account with the newest display name of each. Written by the worker only.",
        },
    )
