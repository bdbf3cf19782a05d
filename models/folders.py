"""`mail.folders`: the folders of each account."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import MAIL, XACT, Base, BigInt, Xid8


class Folder(Base):
    """One row per account and folder."""

    __tablename__ = "folders"

    account_id: Mapped[BigInt] = mapped_column(primary_key=True, comment="The account: mail.accounts.id.")
    folder_id: Mapped[str] = mapped_column(primary_key=True, comment="The folder's id at the upstream; opaque.")
    name: Mapped[str | None] = mapped_column(comment="Display name as last seen; it can be renamed upstream.")
    gone_at: Mapped[datetime | None] = mapped_column(
        comment="When the mirror learned that the folder is gone upstream; null while it exists."
    )
    changed_in: Mapped[Xid8] = mapped_column(
        server_default=text(XACT),
        comment="Transaction of the last change: the row's place in the change feed.",
    )

    __table_args__ = (
        Index(None, "changed_in"),
        {
            "schema": MAIL,
            "comment": "Folders seen on messages of an account, with their names. Written by the worker only.",
        },
    )
