"""When the database's clock was seen last, and since when it is doubted."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both to the one row about the database."""
    op.add_column("database_place", sa.Column("clock_seen_at", Moment))
    op.add_column("database_place", sa.Column("clock_doubted_since", Moment))
