"""When the database was backed up last, and where it has moved to: what has moved takes no more returns."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# What moved is written to no more, by the shop, by a person's command, or by a worker that is late: it would be lost
# unseen. What may still change is where it moved to, and that the move was completed.
_MOVED = """
CREATE TRIGGER {table}_moved_{name} BEFORE {event} ON {table}
WHEN (SELECT moved_to FROM database_place) IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'these returns have moved to another database: see database_place.moved_to');
END
"""
_TABLES = ("return_order", "status_transition", "package", "label", "carrier_account")


def upgrade() -> None:
    """Add these facts to the one row about the database; only a SQLite file can be moved away from."""
    op.add_column("database_place", sa.Column("backed_up_at", Moment))
    op.add_column("database_place", sa.Column("moved_to", sa.Text))
    op.add_column("database_place", sa.Column("move_completed_at", Moment))
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in _TABLES:
        for event in ("insert", "update", "delete"):
            op.execute(_MOVED.format(table=table, name=event, event=event.upper()))
    others = "UPDATE OF place, creations, restored_at, backed_up_at"
    op.execute(_MOVED.format(table="database_place", name="update", event=others))
