"""`sync.problems`: the failure ledger."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NOW, SYNC, Base, BigInt


class Problem(Base):
    """One row per thing that could not be applied; it closes itself when it is put right."""

    __tablename__ = "problems"

    id: Mapped[BigInt] = mapped_column(Identity(always=True), primary_key=True, comment="Number of the problem.")
    account_id: Mapped[BigInt] = mapped_column(
        ForeignKey("sync.accounts.id", ondelete="CASCADE"), comment="The account: sync.accounts.id."
    )
    kind: Mapped[str] = mapped_column(
        comment="pending (a message to be asked for again), message (one that cannot be read), "
        "event (an event without a usable id), page (a page that cannot be read), "
        "held_delete (a deletion that waits for a person) or account."
    )
    subject: Mapped[str] = mapped_column(
        comment="What it is about: a message id, sha256:… of an event, or a window's bounds; at most 1 kB."
    )
    cause: Mapped[str] = mapped_column(comment="Why, in one sentence; never a credential.")
    raw: Mapped[bytes | None] = mapped_column(
        "bytes", comment="What the upstream sent, at most 64 kB of it; may hold mail."
    )
    attempts: Mapped[int] = mapped_column(server_default=text("1"), comment="How often it has failed.")
    first_seen_at: Mapped[datetime] = mapped_column(server_default=text(NOW), comment="When it first failed.")
    last_seen_at: Mapped[datetime] = mapped_column(server_default=text(NOW), comment="When it last failed.")
    not_before: Mapped[datetime | None] = mapped_column(
        comment="When it is tried again; null leaves it to a person or to the next walk."
    )
    window_after: Mapped[datetime | None] = mapped_column(
        comment="Where it was found, when it has no id to ask for: a complete walk there puts it right."
    )
    window_before: Mapped[datetime | None] = mapped_column(
        comment="End of that span, exclusive; null is open, or no span at all."
    )
    state: Mapped[str] = mapped_column(server_default=text("'open'"), comment="open or closed.")
    closed_at: Mapped[datetime | None] = mapped_column(comment="When it was put right; null while it is open.")

    __table_args__ = (
        UniqueConstraint("account_id", "kind", "subject"),
        CheckConstraint("kind in ('pending', 'message', 'event', 'page', 'held_delete', 'account')", name="kind"),
        CheckConstraint("state in ('open', 'closed')", name="state"),
        CheckConstraint("(state = 'closed') = (closed_at is not null)", name="closed_at"),
        CheckConstraint("octet_length(bytes) <= 65536", name="bytes"),
        Index("ix_problems_open", "account_id", "not_before", postgresql_where=text("state = 'open'")),
        Index("ix_problems_closed_at", "closed_at", postgresql_where=text("state = 'closed'")),
        {
            "schema": SYNC,
            "comment": "Failures that a cursor was allowed to pass: each is a row, is tried again, "
            "and closes itself. Written by the worker; closed ones are pruned by age.",
        },
    )
