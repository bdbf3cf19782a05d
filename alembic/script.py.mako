"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""
# Workers of the release before this revision keep running while it is applied, and after it. So:
#  - Expand, then contract: add in this release, remove in the next one, never rename in place.
#  - No statement may hold an exclusive lock on a large table for long: a new column is nullable or has a constant
#    default; a constraint is added NOT VALID and validated in a later revision; an index of a large table is built
#    CONCURRENTLY in a revision of its own (`with op.get_context().autocommit_block()`).
#  - A lock that is not free within five seconds ends the migration; nothing is half done, run it again.
#  - Write plain SQL here. Never import models: they change, this file does not.
#  - Comment every new table and column, and downgrade to what was.

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "raise NotImplementedError"}


def downgrade() -> None:
    ${downgrades if downgrades else "raise NotImplementedError"}
