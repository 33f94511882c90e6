"""What a return is known by stays, once its creation may have begun: a look-up would search for the wrong one."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_MESSAGE = (
    "id, account and reference cannot be changed once the return''s creation may have begun: insert the return once"
    " more under another reference; an account is renamed by returns-worker accounts rename"
)
_CHANGED = " OR ".join(f"NEW.{name} {{differs}} OLD.{name}" for name in ("id", "account", "reference"))
# As a payload, and not where something may exist at the carrier: an earlier attempt's, or one since a restore.
_MAY_CHANGE = """OLD.create_started_at IS NULL AND OLD.first_attempt_at IS NULL AND OLD.carrier_ref IS NULL
    AND (OLD.state IN ('pending', 'rejected') OR (OLD.state = 'needs_attention' AND OLD.error_code = 'unreadable_row'))
    AND NOT EXISTS (SELECT 1 FROM {database_place} p WHERE OLD.updated_at < p.restored_at)"""

# It raises `shop_changes`, so that a worker that holds the row sends nothing under its old name. `accounts rename` says
# so for its own transaction. A shop needs no right to read where the database is: the function reads it as its owner.
_FUNCTION = f"""
CREATE FUNCTION return_order_named() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $returns_worker$
BEGIN
  IF current_setting('returns_worker.renaming', true) = 'on' THEN
    RETURN NEW;
  END IF;
  IF ({_MAY_CHANGE}) IS NOT TRUE THEN
    RAISE EXCEPTION '{_MESSAGE}'
      USING ERRCODE = 'check_violation', TABLE = 'return_order', CONSTRAINT = 'return_order_named';
  END IF;
  NEW.shop_changes := OLD.shop_changes + 1;
  RETURN NEW;
END $returns_worker$
"""
_POSTGRESQL = f"""
CREATE TRIGGER return_order_named BEFORE UPDATE OF id, account, reference ON return_order FOR EACH ROW
WHEN ({_CHANGED.format(differs="IS DISTINCT FROM")}) EXECUTE FUNCTION return_order_named()
"""
_SQLITE = f"""
CREATE TRIGGER return_order_named AFTER UPDATE OF id, account, reference ON return_order
WHEN {_CHANGED.format(differs="IS NOT")}
BEGIN
  SELECT RAISE(ABORT, '{_MESSAGE}') WHERE ({_MAY_CHANGE.format(database_place="database_place")}) IS NOT TRUE;
  UPDATE return_order SET shop_changes = shop_changes + 1 WHERE id = NEW.id;
END
"""


def upgrade() -> None:
    """Guard them from now on; on PostgreSQL too, where a shop may be the tables' owner."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_SQLITE)
        return
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(_FUNCTION.format(database_place=f"{schema}.database_place"))
    op.execute(_POSTGRESQL)
