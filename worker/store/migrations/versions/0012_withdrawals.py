"""An index of open withdrawals: they are found before the polls that are due longer."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; nearly always it is empty."""
    asked = sa.text("cancel_requested_at IS NOT NULL AND next_step <> 'create' AND due_at IS NOT NULL")
    op.create_index(
        *("return_order_withdrawn", "return_order", ["account", "due_at", "id"]),
        postgresql_where=asked,
        sqlite_where=asked,
    )
