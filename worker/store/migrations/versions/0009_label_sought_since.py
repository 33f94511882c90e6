"""Since when the oldest missing label of a return has been sought."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# As in 0001: a moment in any other form would be read wrong, or stop every worker that reads it.
_SQLITE_FORM = (
    "label_sought_since IS NULL OR (typeof(label_sought_since) = 'text' AND length(label_sought_since) IN (19, 23)"
    " AND coalesce(strftime('%Y-%m-%d %H:%M:%S', label_sought_since, '+0 days'), '')"
    " = substr(label_sought_since, 1, 19)"
    " AND (length(label_sought_since) = 19 OR label_sought_since GLOB '*.[0-9][0-9][0-9]'))"
)
_POSTGRESQL_FORM = "label_sought_since >= '0001-01-01 00:00+00' AND label_sought_since < '10000-01-01 00:00+00'"


def upgrade() -> None:
    """Add the column, and fill it where a label is sought.

    Without any label it has been missing since the return came to the carrier. Beside another label it may have
    appeared a moment ago: nothing says when, so it counts from now on.
    """
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:  # it takes a check only together with its column
        op.execute(
            "ALTER TABLE return_order ADD COLUMN label_sought_since TEXT"
            f" CONSTRAINT return_order_label_sought_since_form_check CHECK ({_SQLITE_FORM})"
        )
    else:
        op.add_column("return_order", sa.Column("label_sought_since", Moment))
        op.create_check_constraint("return_order_label_sought_since_form_check", "return_order", _POSTGRESQL_FORM)
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')" if sqlite else "now()"
    # A file whose returns have moved away takes no change any more (see 0006), and nobody seeks its labels.
    op.execute(f"""
UPDATE return_order SET label_sought_since = CASE
    WHEN EXISTS (SELECT 1 FROM label l WHERE l.return_order_id = return_order.id) THEN {now}
    ELSE coalesce(followed_since, created_at) END
 WHERE due_at IS NOT NULL AND state = 'tracking' AND label_due_at IS NOT NULL
   AND (SELECT moved_to FROM database_place) IS NULL""")
