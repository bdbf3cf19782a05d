"""`sync.feed`, `sync.consumers` and `sync.erasures`: the change feed's epoch and readers, and what was erased."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NOW, SYNC, XACT, Base, BigInt, Xid8


class Feed(Base):
    """The one row with the counter in the feed's epoch."""

    __tablename__ = "feed"

    id: Mapped[int] = mapped_column(
        SmallInteger, primary_key=True, autoincrement=False, server_default=text("1"), comment="Always 1."
    )
    epoch: Mapped[BigInt] = mapped_column(
        server_default=text("1"),
        comment="Grows by one when a restored database is made ready for the feed; positions from before are refused.",
    )
    raised_at: Mapped[datetime | None] = mapped_column(comment="When it was raised last.")

    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        {
            "schema": SYNC,
            "comment": "One row: the part of the feed's epoch that a person can raise. "
            "Written by mailmirror changes --new-epoch.",
        },
    )


class Consumer(Base):
    """One row per reader of the feed that has acknowledged something."""

    __tablename__ = "consumers"

    name: Mapped[str] = mapped_column(primary_key=True, comment="Name the consumer gave itself.")
    login: Mapped[str] = mapped_column(
        comment="Database user that began it; no other one may move it, but those who may write this table."
    )
    round: Mapped[int] = mapped_column(
        server_default=text("1"),
        comment="Grows by one when it begins again; positions of an earlier round are refused.",
    )
    epoch: Mapped[str | None] = mapped_column(
        comment="Epoch of the feed its position belongs to; null while it stands at the beginning."
    )
    changed_in: Mapped[Xid8 | None] = mapped_column(
        comment="Transaction of the last change it acknowledged; null while it stands at the beginning."
    )
    kind: Mapped[int | None] = mapped_column(
        SmallInteger,
        comment="Kind of that change: 1 account, 2 folder, 3 label, 4 person, 5 message, 6 erasure; "
        "0 is before all of that transaction.",
    )
    account_id: Mapped[BigInt | None] = mapped_column(comment="Account of that change.")
    key: Mapped[str | None] = mapped_column(comment="Key of that change.")
    acknowledged_at: Mapped[datetime | None] = mapped_column(comment="When it last moved.")

    __table_args__ = (
        CheckConstraint("octet_length(name) between 1 and 200", name="name"),
        {
            "schema": SYNC,
            "comment": "Who reads the change feed and how far each has read. Written by mail.acknowledge and "
            "mail.restart; people read mail.feed_status.",
        },
    )


class Erasure(Base):
    """One row per thing that was erased, however often."""

    __tablename__ = "erasures"

    account_id: Mapped[BigInt] = mapped_column(
        primary_key=True, comment="The account, which may be gone itself: sync.accounts.id, never used again."
    )
    kind: Mapped[str] = mapped_column(primary_key=True, comment="account (with everything of it), message or person.")
    key: Mapped[str] = mapped_column(primary_key=True, comment="The account's number, message_id, or address.")
    tenant_id: Mapped[str] = mapped_column(comment="Whose account it was.")
    erased_in: Mapped[Xid8] = mapped_column(
        server_default=text(XACT), comment="Transaction that erased it: its place in the change feed."
    )
    erased_at: Mapped[datetime] = mapped_column(server_default=text(NOW), comment="When it was erased.")

    __table_args__ = (
        CheckConstraint("kind in ('account', 'message', 'person')", name="kind"),
        Index(None, "erased_in"),
        {
            "schema": SYNC,
            "comment": "What was erased from the mirror for good, without its contents, so that consumers of the "
            "change feed erase it, too. Written by whatever erases.",
        },
    )
