"""The first tables.

Revision ID: 0001
Revises:
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None

HERE = Path(__file__).parent


def upgrade() -> None:
    for part in ("sync", "mail", "views"):
        statements = (HERE / f"0001_{part}.sql").read_text(encoding="utf-8")
        # A colon would begin a bind parameter.
        op.execute(sa.text(statements.replace(":", r"\:")))


def downgrade() -> None:
    op.execute("DROP SCHEMA mail CASCADE")
    op.execute(
        """
        DROP TABLE sync.credentials, sync.cursors, sync.windows, sync.runs, sync.problems, sync.throttles,
            sync.audits, sync.accounts;
        DROP FUNCTION sync.now();
        """
    )
    # Schema sync itself still holds alembic_version; env.py drops it when nothing is left.
