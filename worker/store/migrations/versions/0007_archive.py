"""An archive for returns that are over, and what keeps their references and numbers theirs for ever."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Document, Moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_REFERENCE = "the account has archived a return of this reference: see archived_return"
_CARRIER_REF = "the account has archived a return of this carrier_ref: see archived_return"

# Whose right it is to read the archive must not decide whether a shop can insert: the function reads it as its owner.
# With that, names are to be found in this schema only
# (https://www.postgresql.org/docs/current/sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY).
# AFTER the row is there: an insert that waited for the same reference to be archived looks only now. A transaction
# whose snapshot is older than that would still not see it; a unique index tells it all the same.
_GUARD = f"""
CREATE FUNCTION return_order_not_archived() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {{schema}}, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM archived_return a WHERE a.account = NEW.account AND a.reference = NEW.reference) THEN
    RAISE EXCEPTION '{_REFERENCE}'
      USING ERRCODE = 'unique_violation', TABLE = 'return_order', CONSTRAINT = 'archived_return_reference_key';
  END IF;
  IF NEW.carrier_ref IS NOT NULL AND EXISTS (
    SELECT FROM archived_return a WHERE a.account = NEW.account AND a.carrier_ref = NEW.carrier_ref) THEN
    RAISE EXCEPTION '{_CARRIER_REF}'
      USING ERRCODE = 'unique_violation', TABLE = 'return_order', CONSTRAINT = 'archived_return_carrier_ref';
  END IF;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    INSERT INTO archived_return (id, account, reference, carrier_ref, ended_at, document)
    VALUES (NEW.id, NEW.account, NEW.reference, NEW.carrier_ref, now(), '{{{{}}}}');
    DELETE FROM archived_return WHERE id = NEW.id;
  END IF;
  RETURN NULL;
END $$
"""

_POSTGRESQL_TRIGGERS = (
    """
    CREATE TRIGGER return_order_not_archived_insert AFTER INSERT ON return_order
    FOR EACH ROW EXECUTE FUNCTION return_order_not_archived()
    """,
    """
    CREATE TRIGGER return_order_not_archived_update AFTER UPDATE OF account, carrier_ref ON return_order FOR EACH ROW
    WHEN (NEW.account IS DISTINCT FROM OLD.account OR NEW.carrier_ref IS DISTINCT FROM OLD.carrier_ref)
    EXECUTE FUNCTION return_order_not_archived()
    """,
)

_SQLITE_TRIGGER = f"""
CREATE TRIGGER return_order_not_archived_{{name}} AFTER {{event}} ON return_order {{when}}
BEGIN
  SELECT RAISE(ABORT, '{_REFERENCE}') WHERE EXISTS (
    SELECT 1 FROM archived_return WHERE account = NEW.account AND reference = NEW.reference);
  SELECT RAISE(ABORT, '{_CARRIER_REF}') WHERE EXISTS (
    SELECT 1 FROM archived_return WHERE account = NEW.account AND carrier_ref = NEW.carrier_ref);
END
"""
_RENUMBERED = "WHEN NEW.account IS NOT OLD.account OR NEW.carrier_ref IS NOT OLD.carrier_ref"

# As in 0006: what moved is written to no more.
_MOVED = """
CREATE TRIGGER archived_return_moved_{event} BEFORE {event} ON archived_return
WHEN (SELECT moved_to FROM database_place) IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'these returns have moved to another database: see database_place.moved_to');
END
"""


def upgrade() -> None:
    """Make the archive and its guards; nothing is moved there before somebody says so."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    now = sa.text("(strftime('%Y-%m-%d %H:%M:%f', 'now'))" if sqlite else "now()")
    numbered = sa.text("carrier_ref IS NOT NULL")
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "archived_return",
        sa.Column("id", key, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("account", "reference")),
        sa.Column("carrier_ref", sa.Text),
        sa.Column("ended_at", Moment, nullable=False),
        sa.Column("archived_at", Moment, nullable=False, server_default=now),
        sa.Column("document", Document, nullable=False),
        sa.UniqueConstraint("account", "reference", name="archived_return_reference_key"),
    )
    op.create_index(
        "archived_return_carrier_ref",
        "archived_return",
        ["account", "carrier_ref"],
        unique=True,
        postgresql_where=numbered,
        sqlite_where=numbered,
    )
    if sqlite:
        op.execute(_SQLITE_TRIGGER.format(name="insert", event="INSERT", when=""))
        op.execute(_SQLITE_TRIGGER.format(name="update", event="UPDATE OF account, carrier_ref", when=_RENUMBERED))
        for event in ("insert", "update", "delete"):
            op.execute(_MOVED.format(event=event))
        return
    schema = op.get_bind().execute(sa.text("SELECT pg_catalog.quote_ident(current_schema())")).scalar_one()
    for statement in (_GUARD.format(schema=schema), *_POSTGRESQL_TRIGGERS):
        op.execute(statement)
