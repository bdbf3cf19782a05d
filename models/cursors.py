"""`sync.cursors`: where each stream of an account stands."""

from datetime import datetime

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NOW, SYNC, Base, BigInt


class Cursor(Base):
    """One row per account and stream; it moves only in the commit that holds what it passed."""

    __tablename__ = "cursors"

    account_id: Mapped[BigInt] = mapped_column(
        ForeignKey("sync.accounts.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The account: sync.accounts.id.",
    )
    stream: Mapped[str] = mapped_column(primary_key=True, comment="The stream: activity.")
    cursor: Mapped[str | None] = mapped_column(
        comment="The upstream's opaque position; null before the first one or where there is no such stream."
    )
    supported: Mapped[bool] = mapped_column(
        server_default=text("true"), comment="False where the upstream has no such stream for this account."
    )
    read_at: Mapped[datetime | None] = mapped_column(
        comment="When the stream was last read to its end or found unsupported."
    )
    moved_at: Mapped[datetime] = mapped_column(server_default=text(NOW), comment="When the cursor last moved.")

    __table_args__ = {  # noqa: RUF012  # read once by the class machinery
        "schema": SYNC,
        "comment": "Positions of streams. Written by the worker, in the same commit as what was read.",
        "postgresql_with": {"fillfactor": 50},
    }
