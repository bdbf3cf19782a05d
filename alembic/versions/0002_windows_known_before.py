"""What a window held before its first walk.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sync.windows ADD COLUMN known_before boolean DEFAULT false NOT NULL")
    op.execute(
        "COMMENT ON COLUMN sync.windows.known_before IS 'Messages of it were mirrored before its first walk began; unless "
        "that walk ends in the run that began it, the window is walked again, to find those that are gone.'"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE sync.windows DROP COLUMN known_before")
