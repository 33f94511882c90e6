"""How many creations an account may have in flight, whether its sending is stopped, and whose label code it is."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what all workers share about an account's creations, and an index that finds a package by its label code."""
    op.add_column("carrier_account", sa.Column("create_window", sa.Integer))
    op.add_column("carrier_account", sa.Column("create_window_since", Moment))
    op.add_column("carrier_account", sa.Column("created_lately_at", Moment))
    op.add_column("carrier_account", sa.Column("sending_stopped_message", sa.Text))
    op.add_column("carrier_account", sa.Column("sending_stopped_address", sa.Text))
    coded = sa.text("label_code IS NOT NULL")
    op.create_index("package_label_code", "package", ["label_code"], postgresql_where=coded, sqlite_where=coded)
