"""Beside the shop's own: functions that call nobody else's, and whether an `alembic_version` here was ours."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# A function runs with the rights of whoever calls it, or its owner's, and by the caller's search path: what somebody
# made in a schema of that could be called in place of PostgreSQL's own
# (https://www.postgresql.org/docs/current/sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY).
# So names are looked for in pg_catalog alone, and our tables are named with their schema.
_PATH = "SET search_path = pg_catalog, pg_temp"

_TABLELESS = (
    "return_order_payload_change",
    "return_order_payload_size",
    "return_order_shop_request",
    "return_order_wake",
    "status_transition_append_only",
)

# As in 0007; the tag in place of $$, because a schema's name may have that.
_GUARD = f"""
CREATE OR REPLACE FUNCTION {{home}}.return_order_not_archived() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
{_PATH} AS $returns_worker$
BEGIN
  IF EXISTS (SELECT FROM {{home}}.archived_return a WHERE a.account = NEW.account AND a.reference = NEW.reference) THEN
    RAISE EXCEPTION 'the account has archived a return of this reference: see archived_return'
      USING ERRCODE = 'unique_violation', TABLE = 'return_order', CONSTRAINT = 'archived_return_reference_key';
  END IF;
  IF NEW.carrier_ref IS NOT NULL AND EXISTS (
    SELECT FROM {{home}}.archived_return a WHERE a.account = NEW.account AND a.carrier_ref = NEW.carrier_ref) THEN
    RAISE EXCEPTION 'the account has archived a return of this carrier_ref: see archived_return'
      USING ERRCODE = 'unique_violation', TABLE = 'return_order', CONSTRAINT = 'archived_return_carrier_ref';
  END IF;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    INSERT INTO {{home}}.archived_return (id, account, reference, carrier_ref, ended_at, document)
    VALUES (NEW.id, NEW.account, NEW.reference, NEW.carrier_ref, now(), '{{{{}}}}');
    DELETE FROM {{home}}.archived_return WHERE id = NEW.id;
  END IF;
  RETURN NULL;
END $returns_worker$
"""

# As in 0003.
_PLACE = f"""
CREATE OR REPLACE FUNCTION {{home}}.returns_worker_place() RETURNS text LANGUAGE plpgsql
{_PATH} AS $returns_worker$
DECLARE
  here text := concat_ws('/', (SELECT oid FROM pg_database WHERE datname = current_database()),
                         CAST(CAST({{return_order}} AS regclass) AS oid));
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
END $returns_worker$
"""


def upgrade() -> None:
    """Add the moment of taking over to the one row about the database, and give every function its own search path."""
    op.add_column("database_place", sa.Column("version_taken_over_at", Moment))
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        return
    home = connection.exec_driver_sql("SELECT pg_catalog.quote_ident(current_schema())").scalar_one()
    return_order = "'" + f"{home}.return_order".replace("'", "''") + "'"
    for function in (_GUARD, _PLACE):
        connection.exec_driver_sql(function.format(home=home, return_order=return_order))
    for name in _TABLELESS:
        connection.exec_driver_sql(f"ALTER FUNCTION {home}.{name}() {_PATH}")
