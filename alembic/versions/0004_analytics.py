"""The views of schema analytics.

Revision ID: 0004
Revises: 0003
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None

HERE = Path(__file__).parent
PARTS = ("accounts", "messages", "threads", "counts", "over_time")
"""In this order: each builds on those before it."""


def upgrade() -> None:
    for part in PARTS:
        statements = (HERE / f"0004_{part}.sql").read_text(encoding="utf-8")
        # A colon would begin a bind parameter.
        op.execute(sa.text(statements.replace(":", r"\:")))


def downgrade() -> None:
    op.execute("DROP SCHEMA analytics CASCADE")
