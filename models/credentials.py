"""`sync.credentials`: tokens, sealed."""

from datetime import datetime

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NOW, SYNC, Base, BigInt


class Credential(Base):
    """One sealed secret of an account; the key is outside the database."""

    __tablename__ = "credentials"

    account_id: Mapped[BigInt] = mapped_column(
        ForeignKey("sync.accounts.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The account: sync.accounts.id.",
    )
    purpose: Mapped[str] = mapped_column(
        primary_key=True, server_default=text("'token'"), comment="What it is for: token is the bearer token."
    )
    key_id: Mapped[str] = mapped_column(comment="Name of the key of the key ring that sealed it.")
    nonce: Mapped[bytes] = mapped_column(comment="Nonce of AES-256-GCM, 12 bytes, new at every writing.")
    ciphertext: Mapped[bytes] = mapped_column(
        comment="The secret under AES-256-GCM; account, purpose and key name are bound to it, so a copy "
        "in another row cannot be opened."
    )
    changed_at: Mapped[datetime] = mapped_column(server_default=text(NOW), comment="When it was last written.")

    __table_args__ = {  # noqa: RUF012  # read once by the class machinery
        "schema": SYNC,
        "comment": "Sealed credentials. Grant this table to the worker's role alone.",
    }
