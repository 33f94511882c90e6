"""A bound for payloads, on what comes in only, and a way to mend one that could not be read."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# No CHECK: that would be asked at every later change of a row which is larger already, and its error quotes the row.
_TOO_LARGE = "payload is larger than 1,000,000 bytes of JSON text: leave out what the carrier does not need"
_PAYLOAD_MESSAGE = (
    "payload can be changed only while the return is pending or rejected, or set aside as unreadable_row, and not while"
    " it is being created"
)
_MAY_CHANGE = """OLD.create_started_at IS NULL AND (OLD.state IN ('pending', 'rejected')
    OR (OLD.state = 'needs_attention' AND OLD.error_code = 'unreadable_row' AND OLD.carrier_ref IS NULL))"""

# A number such as 1e131071 has a text of 131,072 digits: making it may fail, and then it is too large.
_POSTGRESQL = (
    f"""
    CREATE FUNCTION return_order_payload_size() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      too_large boolean := pg_column_size(NEW.payload) > 4000100;
    BEGIN
      IF NOT too_large THEN
        BEGIN
          too_large := octet_length(CAST(NEW.payload AS text)) > 1000000;
        EXCEPTION WHEN program_limit_exceeded OR out_of_memory OR internal_error THEN
          too_large := true;
        END;
      END IF;
      IF too_large THEN
        RAISE EXCEPTION '{_TOO_LARGE}'
          USING ERRCODE = 'check_violation', TABLE = 'return_order', CONSTRAINT = 'return_order_payload_size';
      END IF;
      RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER return_order_payload_size_insert BEFORE INSERT ON return_order
    FOR EACH ROW EXECUTE FUNCTION return_order_payload_size()
    """,
    """
    CREATE TRIGGER return_order_payload_size_update BEFORE UPDATE OF payload ON return_order FOR EACH ROW
    WHEN (NEW.payload IS DISTINCT FROM OLD.payload) EXECUTE FUNCTION return_order_payload_size()
    """,
    f"""
    CREATE OR REPLACE FUNCTION return_order_payload_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF ({_MAY_CHANGE}) IS NOT TRUE THEN
        RAISE EXCEPTION '{_PAYLOAD_MESSAGE}' USING ERRCODE = 'check_violation';
      END IF;
      NEW.shop_changes := OLD.shop_changes + 1;
      RETURN NEW;
    END $$
    """,
)

_SQLITE = (
    *(
        f"""
        CREATE TRIGGER return_order_payload_size_{name} BEFORE {event} ON return_order
        WHEN {changed} length(CAST(NEW.payload AS blob)) > 1000000
        BEGIN
          SELECT RAISE(ABORT, '{_TOO_LARGE}');
        END
        """
        for name, event, changed in (
            ("insert", "INSERT", ""),
            ("update", "UPDATE OF payload", "NEW.payload IS NOT OLD.payload AND"),
        )
    ),
    "DROP TRIGGER return_order_payload_change",
    f"""
    CREATE TRIGGER return_order_payload_change BEFORE UPDATE OF payload ON return_order
    WHEN NEW.payload IS NOT OLD.payload AND ({_MAY_CHANGE}) IS NOT TRUE
    BEGIN
      SELECT RAISE(ABORT, '{_PAYLOAD_MESSAGE}');
    END
    """,
)


def upgrade() -> None:
    """Bound what is inserted and changed from now on; what is there stays as it is."""
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
