"""Where this database is, so that a copy, or one restored from a backup, is noticed before anything is created."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The cluster, the database and the table in it tell a restore or a copy; the timeline tells a failover, to a standby
# that may not have had the last commits. Some hosted servers do not let everybody ask for all of it.
_PLACE_FUNCTION = """
CREATE FUNCTION returns_worker_place() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  here text := concat_ws('/', (SELECT oid FROM pg_database WHERE datname = current_database()),
                         CAST(CAST('return_order' AS regclass) AS oid));
BEGIN
  IF pg_is_in_recovery() THEN
    RETURN NULL;
  END IF;
  BEGIN
    here := concat_ws('/', (SELECT system_identifier FROM pg_control_system()), here);
  EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN NULL;
  END;
  BEGIN
    here := concat_ws('/', here, left(pg_walfile_name(pg_current_wal_lsn()), 8));
  EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN NULL;
  END;
  RETURN here;
END $$
"""


def upgrade() -> None:
    """Add the one row that remembers the place; on SQLite it is written by whoever holds the witness of the file."""
    op.create_table(
        "database_place",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.Text),
        sa.Column("creations", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("restored_at", Moment),
        sa.CheckConstraint("id = 1", name="database_place_one_row_check"),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute("INSERT INTO database_place (id) VALUES (1)")
        return
    op.execute(_PLACE_FUNCTION)
    op.execute("INSERT INTO database_place (id, place) VALUES (1, returns_worker_place())")
    # Claims read it from now on, and one moment that Python cannot say would stop every worker (as in 0001).
    op.create_check_constraint(
        "return_order_created_at_form_check",
        "return_order",
        "created_at >= '0001-01-01 00:00+00' AND created_at < '10000-01-01 00:00+00'",
    )
