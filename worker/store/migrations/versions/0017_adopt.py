"""Returns that are at the carrier already: a number that the shop gives at the insert, and that forbids a creation."""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_ONCE = (
    "adopt_carrier_ref is set by the INSERT alone, and never changed: where the number is wrong, say the right one by"
    " returns-worker resolve REFERENCE --carrier-ref NUMBER"
)
_FORM = "{typed}adopt_carrier_ref = trim(adopt_carrier_ref, {blanks}) AND length(adopt_carrier_ref) BETWEEN 1 AND 200"
_CHECK = f"CONSTRAINT return_order_adopt_carrier_ref_check CHECK (adopt_carrier_ref IS NULL OR ({_FORM}))"
_POSTGRESQL = {"typed": "", "blanks": "E' \\t\\n\\r'"}
_SQLITE = {"typed": "typeof(adopt_carrier_ref) = 'text' AND ", "blanks": "char(9, 10, 13, 32)"}

# The database itself lets no creation begin, whichever version of the worker it is that tries. On PostgreSQL that is a
# trigger, since the error of a check quotes the row, and an older worker would log it with the payload.
_SENT = "{0}adopt_carrier_ref IS NOT NULL AND {0}create_started_at IS NOT NULL AND {0}carrier_ref IS NULL"
_NEVER = "a return that is to be adopted is never created: nothing may be sent for it"
_SQLITE_UNSENT = f"CONSTRAINT return_order_adopt_unsent CHECK (({_SENT.format('')}) IS NOT TRUE)"

_FUNCTION = """
CREATE FUNCTION {home}.{name}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $returns_worker$
BEGIN
  RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation', TABLE = 'return_order', CONSTRAINT = '{name}';
END $returns_worker$
"""
_FUNCTIONS = {"return_order_adopt_once": _ONCE, "return_order_adopt_unsent": _NEVER}
_POSTGRESQL_TRIGGERS = (
    """CREATE TRIGGER return_order_adopt_once BEFORE UPDATE OF adopt_carrier_ref ON return_order FOR EACH ROW
    WHEN (NEW.adopt_carrier_ref IS DISTINCT FROM OLD.adopt_carrier_ref) EXECUTE FUNCTION return_order_adopt_once()""",
    f"""CREATE TRIGGER return_order_adopt_unsent BEFORE INSERT OR UPDATE OF create_started_at, carrier_ref
    ON return_order FOR EACH ROW
    WHEN ({_SENT.format("NEW.")}) EXECUTE FUNCTION return_order_adopt_unsent()""",
)
_SQLITE_TRIGGER = f"""
CREATE TRIGGER return_order_adopt_once BEFORE UPDATE OF adopt_carrier_ref ON return_order
WHEN NEW.adopt_carrier_ref IS NOT OLD.adopt_carrier_ref
BEGIN
  SELECT RAISE(ABORT, '{_ONCE}');
END
"""

_BEFORE = import_module("worker.store.migrations.versions.0016_return_overview")
_UNSENT = "r.next_step = 'create' AND r.create_started_at IS NULL AND r.cancel_requested_at IS NULL"


def view(home: str | None, *, by_caller: bool = False) -> str:
    """As in 0016, but that what is to be adopted waits for no creation: the carrier is only asked about it."""
    statement = str(_BEFORE.view(home, by_caller=by_caller))
    return statement.replace(_UNSENT, f"{_UNSENT} AND r.adopt_carrier_ref IS NULL")


def upgrade() -> None:
    """Add the column with what it guards; no row has a number there yet."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":  # it takes a check only together with a column
        checks = f"{_CHECK.format(**_SQLITE)} {_SQLITE_UNSENT}"
        connection.exec_driver_sql(f"ALTER TABLE return_order ADD COLUMN adopt_carrier_ref TEXT {checks}")
        connection.exec_driver_sql(_SQLITE_TRIGGER)
        connection.exec_driver_sql("DROP VIEW return_overview")
        connection.exec_driver_sql(view(None))
        return
    op.add_column("return_order", sa.Column("adopt_carrier_ref", sa.Text))
    connection.exec_driver_sql(f"ALTER TABLE return_order ADD {_CHECK.format(**_POSTGRESQL)}")
    home = connection.exec_driver_sql("SELECT pg_catalog.quote_ident(current_schema())").scalar_one()
    for name, message in _FUNCTIONS.items():
        connection.exec_driver_sql(_FUNCTION.format(home=home, name=name, message=message))
    for statement in _POSTGRESQL_TRIGGERS:
        connection.exec_driver_sql(statement)
    version = connection.exec_driver_sql("SELECT current_setting('server_version_num')").scalar_one()
    statement = view(home, by_caller=int(version) >= 150000)
    connection.exec_driver_sql(statement.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
