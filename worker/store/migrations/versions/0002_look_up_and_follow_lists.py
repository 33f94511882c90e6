"""Creations that can be looked up at the carrier, and returns whose shipments come later than themselves."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# As in 0001: a moment in any other form would be read wrong, or stop every worker that reads it.
_SQLITE_FORM = (
    "first_attempt_at IS NULL OR (typeof(first_attempt_at) = 'text' AND length(first_attempt_at) IN (19, 23)"
    " AND coalesce(strftime('%Y-%m-%d %H:%M:%S', first_attempt_at, '+0 days'), '') = substr(first_attempt_at, 1, 19)"
    " AND (length(first_attempt_at) = 19 OR first_attempt_at GLOB '*.[0-9][0-9][0-9]'))"
)
_POSTGRESQL_FORM = "first_attempt_at >= '0001-01-01 00:00+00' AND first_attempt_at < '10000-01-01 00:00+00'"


def upgrade() -> None:
    """Add the first attempt and the count of look-ups; age counts from the first shipment where that comes later."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute("ALTER TABLE return_order RENAME COLUMN carrier_created_at TO followed_since")
    op.add_column("return_order", sa.Column("lookups", sa.Integer, nullable=False, server_default="0"))
    if sqlite:  # it takes a check only together with its column
        op.execute(
            "ALTER TABLE return_order ADD COLUMN first_attempt_at TEXT"
            f" CONSTRAINT return_order_first_attempt_at_form_check CHECK ({_SQLITE_FORM})"
        )
    else:
        op.add_column("return_order", sa.Column("first_attempt_at", Moment))
        op.create_check_constraint("return_order_first_attempt_at_form_check", "return_order", _POSTGRESQL_FORM)
    # Only rows that may be in doubt have to know it; rewriting all the others would take the table's whole size.
    op.execute(
        "UPDATE return_order SET first_attempt_at = create_started_at"
        " WHERE create_started_at IS NOT NULL AND state IN ('pending', 'needs_attention')"
    )
