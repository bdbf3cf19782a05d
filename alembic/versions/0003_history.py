"""Where labels and folders were before, with the times.

Revision ID: 0003
Revises: 0002
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None

HERE = Path(__file__).parent


def upgrade() -> None:
    statements = (HERE / "0003_history.sql").read_text(encoding="utf-8")
    # A colon would begin a bind parameter.
    op.execute(sa.text(statements.replace(":", r"\:")))


def downgrade() -> None:
    op.execute(
        """
        DROP VIEW mail.message_label_history, mail.message_folder_history;
        DROP TABLE mail.message_labels_past, mail.message_folders_past;
        ALTER TABLE mail.message_labels DROP COLUMN since;
        ALTER TABLE mail.messages DROP COLUMN folder_since;
        """
    )
