"""`mail.message_labels_past` and `mail.message_folders_past`: what held for a message and does not any more."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import MAIL, Base, BigInt

BUSY = {"autovacuum_vacuum_scale_factor": 0.05, "autovacuum_analyze_scale_factor": 0.02}


class MessageLabelPast(Base):
    """One row per span of time in which a label was on a message."""

    __tablename__ = "message_labels_past"

    account_id: Mapped[BigInt] = mapped_column(primary_key=True, comment="The account: mail.accounts.id.")
    message_id: Mapped[str] = mapped_column(primary_key=True, comment="The message: mail.messages.message_id.")
    label_id: Mapped[str] = mapped_column(primary_key=True, comment="The label: mail.labels.label_id.")
    since: Mapped[datetime] = mapped_column(
        primary_key=True, comment="When the mirror first saw the label on the message."
    )
    until: Mapped[datetime] = mapped_column(
        comment="When the mirror saw that it was off, or that the message was gone."
    )

    __table_args__ = (
        Index(None, "account_id", "label_id"),
        {
            "schema": MAIL,
            "comment": "Labels that were on messages and are not any more, and what was on a message before it was "
            "deleted and came back. Query mail.message_label_history, which has what holds now, too. "
            "Written by the worker only.",
            "postgresql_with": BUSY,
        },
    )


class MessageFolderPast(Base):
    """One row per span of time in which a message lay in a folder."""

    __tablename__ = "message_folders_past"

    account_id: Mapped[BigInt] = mapped_column(primary_key=True, comment="The account: mail.accounts.id.")
    message_id: Mapped[str] = mapped_column(primary_key=True, comment="The message: mail.messages.message_id.")
    folder_id: Mapped[str] = mapped_column(primary_key=True, comment="The folder: mail.folders.folder_id.")
    since: Mapped[datetime] = mapped_column(
        primary_key=True, comment="When the mirror first saw the message in the folder."
    )
    until: Mapped[datetime] = mapped_column(comment="When the mirror saw it elsewhere, or gone.")

    __table_args__ = (
        Index(None, "account_id", "folder_id"),
        {
            "schema": MAIL,
            "comment": "Folders that messages lay in and do not any more, and where a message lay before it was "
            "deleted and came back. Query mail.message_folder_history, which has what holds now, too. "
            "Written by the worker only.",
            "postgresql_with": BUSY,
        },
    )
