"""When the database was backed up last, and where it has moved to: what has moved takes no more returns."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# An insert or a change that nobody would ever see must fail aloud: the shop's, and that of a command which looked just
# before the move.
_MOVED = """
CREATE TRIGGER return_order_moved_{name} BEFORE {event} ON return_order
WHEN (SELECT moved_to FROM database_place) IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'these returns have moved to another database: see database_place.moved_to');
END
"""


def upgrade() -> None:
    """Add both facts to the one row about the database; only a SQLite file can be moved away from."""
    op.add_column("database_place", sa.Column("backed_up_at", Moment))
    op.add_column("database_place", sa.Column("moved_to", sa.Text))
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute(_MOVED.format(name="insert", event="INSERT"))
    op.execute(_MOVED.format(name="update", event="UPDATE"))
