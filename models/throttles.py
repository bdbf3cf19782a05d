"""`sync.throttles`: what the upstream asked to leave alone for a while."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from models.base import SYNC, Base


class Throttle(Base):
    """One row per scope that must wait."""

    __tablename__ = "throttles"

    scope: Mapped[str] = mapped_column(primary_key=True, comment="What must wait: an application or one account.")
    until: Mapped[datetime] = mapped_column(comment="No request before this time.")
    reason: Mapped[str | None] = mapped_column(comment="Why, in one sentence.")

    __table_args__ = {  # noqa: RUF012  # read once by the class machinery
        "schema": SYNC,
        "comment": "Waits the upstream asked for, shared by all workers. Written by the worker.",
    }
