"""The change feed.

Revision ID: 0005
Revises: 0004
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels = None
depends_on = None

HERE = Path(__file__).parent


def upgrade() -> None:
    statements = (HERE / "0005_feed.sql").read_text(encoding="utf-8")
    # A colon would begin a bind parameter.
    op.execute(sa.text(statements.replace(":", r"\:")))


def downgrade() -> None:
    op.execute(
        """
        DROP VIEW mail.feed_status, mail.feed_horizon;
        DROP FUNCTION mail.feed_waiting, mail.restart, mail.acknowledge, mail.changes, mail.feed_keys, mail.feed_foreign,
            mail.feed_start, mail.feed_parse, mail.feed_position, mail.feed_epoch;
        DROP VIEW mail.erasures;
        DROP TABLE sync.erasures, sync.consumers, sync.feed;
        DROP INDEX sync.ix_accounts_changed_in, mail.ix_folders_changed_in, mail.ix_labels_changed_in,
            mail.ix_people_changed_in;
        """
    )
