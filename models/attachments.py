"""`mail.attachments`: the files attached to a message."""

from sqlalchemy.orm import Mapped, mapped_column

from models.base import MAIL, Base, BigInt


class Attachment(Base):
    """One row per attached file; contents are not mirrored."""

    __tablename__ = "attachments"

    account_id: Mapped[BigInt] = mapped_column(primary_key=True, comment="The account: mail.accounts.id.")
    message_id: Mapped[str] = mapped_column(primary_key=True, comment="The message: mail.messages.message_id.")
    position: Mapped[int] = mapped_column(primary_key=True, comment="Place among the message's attachments, from 0.")
    file_id: Mapped[str | None] = mapped_column(
        comment="The file's id at the upstream, as last seen; the upstream may change it at any time."
    )
    name: Mapped[str | None] = mapped_column(comment="File name as the sender wrote it; never use it as a path.")
    mime_type: Mapped[str | None] = mapped_column(comment="MIME type as the upstream gives it.")
    size: Mapped[BigInt | None] = mapped_column(comment="Bytes; null where the upstream does not say.")
    href: Mapped[str | None] = mapped_column(
        comment="The upstream's link, as last seen; inert text that mailmirror never follows."
    )

    __table_args__ = {  # noqa: RUF012  # read once by the class machinery
        "schema": MAIL,
        "comment": "Attachments of each message; those of tombstones stay as last known. Written by the worker only.",
    }
