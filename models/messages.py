"""`mail.messages`: the mail itself."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import MAIL, NOW, XACT, Base, BigInt, Xid8


class Message(Base):
    """One row per message ever seen or heard of in an account; a deleted one stays as a tombstone."""

    __tablename__ = "messages"

    account_id: Mapped[BigInt] = mapped_column(primary_key=True, comment="The account: mail.accounts.id.")
    message_id: Mapped[str] = mapped_column(
        primary_key=True, comment="The message's id at the upstream; opaque, at most 1 kB."
    )
    thread_id: Mapped[str | None] = mapped_column(comment="Conversation it belongs to; opaque id of the upstream.")
    folder_id: Mapped[str | None] = mapped_column(comment="Folder it lies in: mail.folders.folder_id.")
    subject: Mapped[str | None] = mapped_column(comment="Subject line.")
    snippet: Mapped[str | None] = mapped_column(comment="Short preview made by the upstream.")
    created: Mapped[datetime | None] = mapped_column(
        comment="When the mailbox got the message, whole seconds; null when the upstream's value was no valid time."
    )
    created_raw: Mapped[str | None] = mapped_column(
        comment="The upstream's own text for created, only when it was no valid time."
    )
    text_body: Mapped[str | None] = mapped_column(comment="Plain-text body.")
    body: Mapped[str | None] = mapped_column(
        comment="Body, usually HTML, as the sender wrote it: never show it outside a sandboxed frame."
    )
    body_size: Mapped[int | None] = mapped_column(
        comment="UTF-8 bytes of the upstream's body before any cut; null where it gave none."
    )
    body_truncated: Mapped[bool] = mapped_column(
        server_default=text("false"),
        comment="Whether body or text_body was cut at the size limit of the settings.",
    )
    rfc822_file_id: Mapped[str | None] = mapped_column(
        comment="File id of the whole message (RFC 822), as last seen; the upstream may change it."
    )
    has_attachments: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether mail.attachments has rows for it."
    )
    raw: Mapped[dict[str, Any] | None] = mapped_column(
        comment="The mail service's own object as last seen; only kept where the settings ask for it."
    )
    altered: Mapped[list[str] | None] = mapped_column(
        comment="Fields that had to be cleaned on the way in, such as of NUL characters; null when none."
    )
    first_seen_at: Mapped[datetime] = mapped_column(
        server_default=text(NOW), comment="When the mirror first wrote this row."
    )
    changed_at: Mapped[datetime] = mapped_column(
        server_default=text(NOW),
        comment="When this row, its people, labels or attachments last changed here.",
    )
    changed_in: Mapped[Xid8] = mapped_column(
        server_default=text(XACT),
        comment="Transaction of the last change to the message with its people, labels and attachments: "
        "its place in the change feed.",
    )
    digest: Mapped[bytes | None] = mapped_column(
        comment="Fingerprint of what is stored, to find unchanged messages; "
        "null for a tombstone of a message never seen."
    )
    deleted_at: Mapped[datetime | None] = mapped_column(
        comment="When the mirror learned that the message is gone upstream; null while it is live."
    )
    found_gone: Mapped[str | None] = mapped_column(
        comment="How its absence was noticed: event (the upstream told) or sweep (missing in a whole walk)."
    )
    folder_since: Mapped[datetime | None] = mapped_column(
        comment="When the mirror saw the message come into this folder; null: it lay there when it was first seen."
    )

    __table_args__ = (
        CheckConstraint("found_gone in ('event', 'sweep')", name="found_gone"),
        Index(None, "account_id", "created"),
        Index(None, "account_id", "thread_id"),
        Index(None, "changed_in"),
        Index(
            "ix_messages_account_id_deleted_at",
            "account_id",
            "deleted_at",
            postgresql_where=text("deleted_at is not null"),
        ),
        {
            "schema": MAIL,
            "comment": "Messages, one row each, tombstones included (deleted_at); "
            "mail.live_messages shows the live ones. The sender is role 'from' in mail.message_people. "
            "Written by the worker only.",
            # A fifth of a million-row table (the server's default) is too long to wait for statistics.
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0.05,
                "autovacuum_analyze_scale_factor": 0.02,
            },
        },
    )
