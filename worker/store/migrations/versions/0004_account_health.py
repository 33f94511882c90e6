"""How well each account is served, for all workers, and since when a return has had its tracking status."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# As in 0001: a moment in any other form would be read wrong, or stop every worker that reads it.
_SQLITE_FORM = (
    "status_since IS NULL OR (typeof(status_since) = 'text' AND length(status_since) IN (19, 23)"
    " AND coalesce(strftime('%Y-%m-%d %H:%M:%S', status_since, '+0 days'), '') = substr(status_since, 1, 19)"
    " AND (length(status_since) = 19 OR status_since GLOB '*.[0-9][0-9][0-9]'))"
)
_POSTGRESQL_FORM = "status_since >= '0001-01-01 00:00+00' AND status_since < '10000-01-01 00:00+00'"


def upgrade() -> None:
    """Add an account's two circuits and the hold of its creations; `status_since` begins with the next poll."""
    for circuit in ("", "create_"):
        op.add_column(
            "carrier_account", sa.Column(f"{circuit}failures", sa.Integer, nullable=False, server_default="0")
        )
        op.add_column("carrier_account", sa.Column(f"{circuit}open_until", Moment))
    op.add_column("carrier_account", sa.Column("create_hold_message", sa.Text))
    if op.get_bind().dialect.name == "sqlite":  # it takes a check only together with its column
        op.execute(
            "ALTER TABLE return_order ADD COLUMN status_since TEXT"
            f" CONSTRAINT return_order_status_since_form_check CHECK ({_SQLITE_FORM})"
        )
        return
    op.add_column("return_order", sa.Column("status_since", Moment))
    op.create_check_constraint("return_order_status_since_form_check", "return_order", _POSTGRESQL_FORM)
