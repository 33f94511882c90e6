"""Triggers that wake the workers on PostgreSQL when the shop inserts a return or asks something of one."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The statement and not the function pg_notify: it needs no right, so that nobody's insert is refused for want of one.
# Whatever one transaction does is one notification (https://www.postgresql.org/docs/current/sql-notify.html).
_FUNCTION = """
CREATE FUNCTION return_order_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NOTIFY returns_worker;
  RETURN NULL;
END $$
"""

# One trigger for each statement, not for each row. The second one fires for statements that name a request column,
# which the workers' own do only where they answer a request (worker/store/records.py).
_TRIGGERS = (
    """
    CREATE TRIGGER return_order_wake_on_insert AFTER INSERT ON return_order
    FOR EACH STATEMENT EXECUTE FUNCTION return_order_wake()
    """,
    """
    CREATE TRIGGER return_order_wake_on_request AFTER UPDATE OF cancel_requested_at, retry_requested_at
    ON return_order FOR EACH STATEMENT EXECUTE FUNCTION return_order_wake()
    """,
)


def upgrade() -> None:
    """Add the triggers; SQLite tells by `PRAGMA data_version` that somebody committed, and needs nothing."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for statement in (_FUNCTION, *_TRIGGERS):
        op.execute(statement)
