"""`sync.windows`: the ledger of date windows, which says how much of a mailbox has been walked."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SYNC, Base, BigInt


class Window(Base):
    """One row per window `[after, before)`; the windows of an account never overlap."""

    __tablename__ = "windows"

    account_id: Mapped[BigInt] = mapped_column(
        ForeignKey("sync.accounts.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The account: sync.accounts.id.",
    )
    after: Mapped[datetime] = mapped_column(
        primary_key=True,
        comment="First second of the window; messages with after <= created < before belong to it.",
    )
    before: Mapped[datetime | None] = mapped_column(
        comment="First second behind the window; null marks the head, the newest window."
    )
    state: Mapped[str] = mapped_column(
        server_default=text("'open'"),
        comment="open (still to be walked), done, or problem (walked, but a part of it cannot be read).",
    )
    page: Mapped[str | None] = mapped_column(
        comment="Where a first walk goes on: the upstream's page token; null at its beginning."
    )
    pages: Mapped[int] = mapped_column(
        server_default=text("0"), comment="Pages read by the walk in progress, or by the last finished one."
    )
    seen: Mapped[int] = mapped_column(
        server_default=text("0"),
        comment="Messages read by the walk in progress, or by the last finished one.",
    )
    attempts: Mapped[int] = mapped_column(server_default=text("0"), comment="Failures of the walk in progress.")
    page_size: Mapped[int | None] = mapped_column(
        comment="Messages per page while a page cannot be read at the usual size; null means the usual size."
    )
    walk_before: Mapped[datetime | None] = mapped_column(
        comment="Upper bound that is sent upstream, the same for the whole walk in progress."
    )
    walk_began_at: Mapped[datetime | None] = mapped_column(
        comment="When the walk in progress began, by the upstream's clock."
    )
    reached: Mapped[datetime | None] = mapped_column(
        comment="Oldest created read so far by the walk in progress, while the listing comes newest first."
    )
    looked_ahead_at: Mapped[datetime | None] = mapped_column(
        comment="Head only: when it was last walked as far into the future as the upstream accepts."
    )
    walked_at: Mapped[datetime | None] = mapped_column(comment="When the last complete walk ended.")
    next_walk_at: Mapped[datetime | None] = mapped_column(
        comment="When a done window is walked again; null while it is open."
    )
    disturbed: Mapped[bool] = mapped_column(
        server_default=text("false"),
        comment="A message of it was deleted while it was walked, so the listing may have skipped another.",
    )
    known_before: Mapped[bool] = mapped_column(
        server_default=text("false"),
        comment="Messages of it were mirrored before its first walk began; "
        "unless that walk ends in the run that began it, the window is walked again, to find those that are gone.",
    )

    __table_args__ = (
        CheckConstraint("before > after", name="bounds"),
        CheckConstraint("state in ('open', 'done', 'problem')", name="state"),
        # Deferred: a window is split or merged by several statements of one transaction.
        ExcludeConstraint(
            (text("int8range(account_id, account_id, '[]')"), "&&"),
            (text("tstzrange(after, before)"), "&&"),
            name="ex_windows_overlap",
            using="gist",
            deferrable=True,
            initially="DEFERRED",
        ),
        Index("ix_windows_open", "account_id", postgresql_where=text("state = 'open'")),
        Index(None, "account_id", "next_walk_at"),
        {
            "schema": SYNC,
            "comment": "The ledger: windows of time that tile an account's history from the year 1 on. "
            "Written by the worker, in the same commit as the messages of the page.",
            "postgresql_with": {"fillfactor": 70},
        },
    )
