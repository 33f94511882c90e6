"""Personal data that is erased stays erased: setting `erased_at` is what empties a return, and the database does it."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NOT_OVER = (
    "personal data is erased only of a return that is completed, cancelled or rejected, that is not leased, of"
    " which nothing was asked, and whose creation is not in doubt"
)
_STAYS = "its personal data was erased: nothing more is done about this return, and nothing is put back"
# A lease that ends later than any can was taken under a clock that was ahead.
_SQLITE_TIMES = {
    "now": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "latest": "strftime('%Y-%m-%d %H:%M:%f', 'now', '3720 seconds')",
}
_POSTGRESQL_TIMES = {"now": "now()", "latest": "now() + interval '3720 seconds'"}
_STATES = "('completed', 'cancelled', 'rejected')"
_OVER = f"""OLD.state IN {_STATES} AND OLD.due_at IS NULL
    AND (OLD.lease_owner IS NULL OR OLD.lease_until < {{now}} OR OLD.lease_until > {{latest}})
    AND NOT (OLD.state = 'rejected' AND OLD.carrier_ref IS NULL AND (OLD.create_started_at IS NOT NULL
      OR EXISTS (SELECT 1 FROM {{home}}database_place p WHERE OLD.updated_at < p.restored_at)))"""
# Of what may still change in such a row (its account's name, the mark of its files) nothing is anybody's data.
_PUT_BACK = """NEW.state {differs} OLD.state OR NEW.due_at IS NOT NULL OR NEW.lease_owner IS NOT NULL
    OR NEW.cancel_requested_at {differs} OLD.cancel_requested_at
    OR NEW.retry_requested_at {differs} OLD.retry_requested_at
    OR NEW.payload <> '{{}}' OR NEW.return_url IS NOT NULL
    OR NEW.error_message IS NOT NULL OR NEW.label_error_message IS NOT NULL"""
# Such a row could not be taken, and no other of its batch either: every worker would stop at it. A row that is copied
# here as erased is over and empty.
_COMES_ERASED = f"""NEW.erased_at IS NOT NULL AND (NEW.state NOT IN {_STATES} OR NEW.due_at IS NOT NULL
    OR NEW.lease_owner IS NOT NULL OR NEW.payload <> '{{}}')"""

# As in 0010; on SQLite the payload is emptied by a statement of its own.
_PAYLOAD_MESSAGE = (
    "payload can be changed only while the return is pending or rejected, or set aside as unreadable_row, and not while"
    " it is being created"
)
_MAY_CHANGE = """(OLD.create_started_at IS NULL AND (OLD.state IN ('pending', 'rejected')
    OR (OLD.state = 'needs_attention' AND OLD.error_code = 'unreadable_row' AND OLD.carrier_ref IS NULL)))
    OR (OLD.erased_at IS NOT NULL AND NEW.payload = '{}')"""

# What an archived return's document keeps of each of its parts; what is not named is not kept.
_KEPT = {
    "order": (
        *("id", "account", "reference", "due_at", "cancel_requested_at", "retry_requested_at", "state"),
        *("tracking_status", "carrier_status", "carrier_ref", "attempts", "error_code", "lease_token", "created_at"),
        *("updated_at", "next_step", "create_started_at", "followed_since", "unchanged_polls", "label_attempts"),
        *("label_error_code", "claims", "shop_changes", "first_attempt_at", "lookups", "status_since"),
    ),
    "transitions": (
        *("id", "return_order_id", "observed_at", "field", "old_value", "new_value", "carrier_status", "carrier_time"),
    ),
    "packages": ("id", "return_order_id", "position", "label_code", "tracking_number"),
    "labels": (
        *("id", "return_order_id", "position", "location", "media_type", "byte_count", "page_count", "sha256"),
        *("fetched_at", "removed_at"),
    ),
}
_PARTS = ("transitions", "packages", "labels")


def _members(part: str) -> str:
    return ", ".join(f"'{name}'" for name in _KEPT[part])


_POSTGRESQL_PARTS = ", ".join(
    f"""'{part}', (SELECT coalesce(jsonb_agg((SELECT jsonb_object_agg(m.key, m.value) FROM jsonb_each(e.value) m
          WHERE m.key IN ({_members(part)})) ORDER BY e.n), '[]')
        FROM jsonb_array_elements(NEW.document -> '{part}') WITH ORDINALITY AS e (value, n))"""
    for part in _PARTS
)
_SQLITE_PARTS = ", ".join(
    f"""'{part}', (SELECT json_group_array(json((SELECT json_group_object(m.key, m.value) FROM json_each(e.value) m
          WHERE m.key IN ({_members(part)})))) FROM json_each(document, '$.{part}') e)"""
    for part in _PARTS
)

# A worker may set the mark, and not write what it empties: the functions do that as their owner. Names are looked for
# as in 0013.
_FUNCTION = """
CREATE {{replace}}FUNCTION {{home}}{name}() RETURNS trigger LANGUAGE plpgsql {rights}
SET search_path = pg_catalog, pg_temp AS $returns_worker$
BEGIN
{body}
END $returns_worker$
"""


def _refusal(message: str, table: str, name: str) -> str:
    told = message.replace("'", "''")
    return f"RAISE EXCEPTION '{told}' USING ERRCODE = 'check_violation', TABLE = '{table}', CONSTRAINT = '{name}';"


_AS_OWNER = "SECURITY DEFINER"
_FUNCTIONS = (
    _FUNCTION.format(
        name="return_order_erase",
        rights=_AS_OWNER,
        body=f"""
  IF OLD.erased_at IS NOT NULL THEN
    {_refusal(_STAYS, "return_order", "return_order_erased")}
  END IF;
  IF ({_OVER.format(**_POSTGRESQL_TIMES, home="{home}")}) IS NOT TRUE THEN
    {_refusal(_NOT_OVER, "return_order", "return_order_erasing")}
  END IF;
  NEW.payload := '{{{{}}}}';
  NEW.error_message := NULL;
  NEW.label_error_message := NULL;
  NEW.return_url := NULL;
  NEW.files_removed_at := NULL;
  -- What comes back late to record is fenced out.
  NEW.lease_owner := NULL;
  NEW.lease_until := NULL;
  NEW.lease_token := OLD.lease_token + 1;
  RETURN NEW;""",
    ),
    _FUNCTION.format(
        name="return_order_erase_parts",
        rights=_AS_OWNER,
        body="""
  UPDATE {home}package SET description = NULL, tracking_url = NULL WHERE return_order_id = NEW.id;
  UPDATE {home}label SET removed_at = NEW.erased_at WHERE return_order_id = NEW.id AND removed_at IS NULL;
  UPDATE {home}status_transition SET raw = NULL, reason = NULL
   WHERE return_order_id = NEW.id AND (raw IS NOT NULL OR reason IS NOT NULL);
  RETURN NULL;""",
    ),
    _FUNCTION.format(
        name="return_order_stays_erased",
        rights="",
        body=f"  {_refusal(_STAYS, 'return_order', 'return_order_erased')}",
    ),
    _FUNCTION.format(
        name="label_of_erased",
        rights="",
        body=f"""
  IF EXISTS (SELECT FROM {{home}}return_order r WHERE r.id = NEW.return_order_id AND r.erased_at IS NOT NULL) THEN
    {_refusal(_STAYS, "label", "return_order_erased")}
  END IF;
  RETURN NEW;""",
    ),
    _FUNCTION.format(
        name="archived_return_erase",
        rights=_AS_OWNER,
        body=f"""
  IF OLD.erased_at IS NOT NULL AND (NEW.erased_at IS DISTINCT FROM OLD.erased_at
     OR NEW.document -> 'order' ? 'payload') THEN
    {_refusal(_STAYS, "archived_return", "archived_return_erased")}
  END IF;
  IF OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL THEN
    NEW.document := CASE WHEN jsonb_typeof(NEW.document -> 'order') = 'object' THEN jsonb_build_object(
      'order', (SELECT jsonb_object_agg(m.key, m.value) FROM jsonb_each(NEW.document -> 'order') m
                 WHERE m.key IN ({_members("order")})),
      {_POSTGRESQL_PARTS}) ELSE '{{{{}}}}' END;
  END IF;
  RETURN NEW;""",
    ),
    # Append-only, but for what empties the lines of a return that is marked as erased.
    _FUNCTION.format(
        name="status_transition_append_only",
        rights="",
        body=f"""
  IF NEW.raw IS NULL AND NEW.reason IS NULL
     AND (NEW.id, NEW.return_order_id, NEW.observed_at, NEW.field, NEW.old_value, NEW.new_value, NEW.carrier_status,
          NEW.carrier_time)
         IS NOT DISTINCT FROM
         (OLD.id, OLD.return_order_id, OLD.observed_at, OLD.field, OLD.old_value, OLD.new_value, OLD.carrier_status,
          OLD.carrier_time)
     AND EXISTS (SELECT FROM {{home}}return_order r WHERE r.id = OLD.return_order_id AND r.erased_at IS NOT NULL) THEN
    RETURN NEW;
  END IF;
  {_refusal("status_transition is append-only", "status_transition", "status_transition_append_only")}""",
    ),
)
_KNOWN_BEFORE = "status_transition_append_only"

_POSTGRESQL_TRIGGERS = (
    """CREATE TRIGGER return_order_erase BEFORE UPDATE OF erased_at ON return_order FOR EACH ROW
    WHEN (NEW.erased_at IS DISTINCT FROM OLD.erased_at) EXECUTE FUNCTION return_order_erase()""",
    """CREATE TRIGGER return_order_erase_parts AFTER UPDATE OF erased_at ON return_order FOR EACH ROW
    WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL) EXECUTE FUNCTION return_order_erase_parts()""",
    f"""CREATE TRIGGER return_order_stays_erased BEFORE UPDATE ON return_order FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL AND ({_PUT_BACK.format(differs="IS DISTINCT FROM")}))
    EXECUTE FUNCTION return_order_stays_erased()""",
    f"""CREATE TRIGGER return_order_comes_erased BEFORE INSERT ON return_order FOR EACH ROW
    WHEN ({_COMES_ERASED}) EXECUTE FUNCTION return_order_stays_erased()""",
    """CREATE TRIGGER label_of_erased BEFORE INSERT OR UPDATE ON label FOR EACH ROW
    WHEN (NEW.removed_at IS NULL) EXECUTE FUNCTION label_of_erased()""",
    """CREATE TRIGGER archived_return_erase BEFORE UPDATE OF erased_at, document ON archived_return FOR EACH ROW
    EXECUTE FUNCTION archived_return_erase()""",
)

_SQLITE_TRIGGERS = (
    "DROP TRIGGER return_order_payload_change",
    f"""
    CREATE TRIGGER return_order_payload_change BEFORE UPDATE OF payload ON return_order
    WHEN NEW.payload IS NOT OLD.payload AND ({_MAY_CHANGE}) IS NOT TRUE
    BEGIN
      SELECT RAISE(ABORT, '{_PAYLOAD_MESSAGE}');
    END
    """,
    f"""
    CREATE TRIGGER return_order_erasing BEFORE UPDATE OF erased_at ON return_order
    WHEN NEW.erased_at IS NOT OLD.erased_at
    BEGIN
      SELECT RAISE(ABORT, '{_STAYS}') WHERE OLD.erased_at IS NOT NULL;
      SELECT RAISE(ABORT, '{_NOT_OVER}')
       WHERE ({_OVER.format(**_SQLITE_TIMES, home="")}) IS NOT TRUE;
    END
    """,
    """
    CREATE TRIGGER return_order_erased AFTER UPDATE OF erased_at ON return_order
    WHEN OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL
    BEGIN
      UPDATE return_order SET payload = '{}', error_message = NULL, label_error_message = NULL, return_url = NULL,
             files_removed_at = NULL, lease_owner = NULL, lease_until = NULL, lease_token = lease_token + 1
       WHERE id = NEW.id;
      UPDATE package SET description = NULL, tracking_url = NULL WHERE return_order_id = NEW.id;
      UPDATE label SET removed_at = NEW.erased_at WHERE return_order_id = NEW.id AND removed_at IS NULL;
      UPDATE status_transition SET raw = NULL, reason = NULL
       WHERE return_order_id = NEW.id AND (raw IS NOT NULL OR reason IS NOT NULL);
    END
    """,
    f"""
    CREATE TRIGGER return_order_stays_erased BEFORE UPDATE ON return_order
    WHEN OLD.erased_at IS NOT NULL AND ({_PUT_BACK.format(differs="IS NOT")})
    BEGIN
      SELECT RAISE(ABORT, '{_STAYS}');
    END
    """,
    f"""
    CREATE TRIGGER return_order_comes_erased BEFORE INSERT ON return_order
    WHEN {_COMES_ERASED}
    BEGIN
      SELECT RAISE(ABORT, '{_STAYS}');
    END
    """,
    *(
        f"""
        CREATE TRIGGER label_of_erased_{event.lower()} BEFORE {event} ON label
        WHEN NEW.removed_at IS NULL
             AND EXISTS (SELECT 1 FROM return_order r WHERE r.id = NEW.return_order_id AND r.erased_at IS NOT NULL)
        BEGIN
          SELECT RAISE(ABORT, '{_STAYS}');
        END
        """
        for event in ("INSERT", "UPDATE")
    ),
    f"""
    CREATE TRIGGER archived_return_erased AFTER UPDATE OF erased_at ON archived_return
    WHEN OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL
    BEGIN
      UPDATE archived_return SET document =
        CASE WHEN CASE WHEN json_valid(document) THEN json_type(document, '$.order') END = 'object' THEN json_object(
          'order', (SELECT json_group_object(m.key, m.value) FROM json_each(document, '$.order') m
                     WHERE m.key IN ({_members("order")})),
          {_SQLITE_PARTS}) ELSE '{{}}' END
       WHERE id = NEW.id;
    END
    """,
    f"""
    CREATE TRIGGER archived_return_stays_erased BEFORE UPDATE OF erased_at, document ON archived_return
    WHEN OLD.erased_at IS NOT NULL AND (NEW.erased_at IS NOT OLD.erased_at
         OR NOT json_valid(NEW.document) OR json_type(NEW.document, '$.order.payload') IS NOT NULL)
    BEGIN
      SELECT RAISE(ABORT, '{_STAYS}');
    END
    """,
    "DROP TRIGGER status_transition_append_only",
    """
    CREATE TRIGGER status_transition_append_only BEFORE UPDATE ON status_transition
    WHEN NOT (NEW.raw IS NULL AND NEW.reason IS NULL AND NEW.id IS OLD.id
              AND NEW.return_order_id IS OLD.return_order_id AND NEW.observed_at IS OLD.observed_at
              AND NEW.field IS OLD.field AND NEW.old_value IS OLD.old_value AND NEW.new_value IS OLD.new_value
              AND NEW.carrier_status IS OLD.carrier_status AND NEW.carrier_time IS OLD.carrier_time
              AND EXISTS (SELECT 1 FROM return_order r WHERE r.id = OLD.return_order_id AND r.erased_at IS NOT NULL))
    BEGIN
      SELECT RAISE(ABORT, 'status_transition is append-only');
    END
    """,
)

# As in 0001: a moment in any other form would be read wrong, or stop every worker that reads it.
_SQLITE_FORM = """{0} IS NULL OR (typeof({0}) = 'text' AND length({0}) IN (19, 23)
  AND coalesce(strftime('%Y-%m-%d %H:%M:%S', {0}, '+0 days'), '') = substr({0}, 1, 19)
  AND (length({0}) = 19 OR {0} GLOB '*.[0-9][0-9][0-9]'))"""
_POSTGRESQL_FORM = "{0} >= '0001-01-01 00:00+00' AND {0} < '10000-01-01 00:00+00'"
_MARKS = (
    ("return_order", "erased_at"),
    ("return_order", "files_removed_at"),
    ("label", "removed_at"),
    ("archived_return", "erased_at"),
    ("archived_return", "files_removed_at"),
)
_INDEXES = (
    ("return_order_erasable", "return_order", ("updated_at", "id"), f"erased_at IS NULL AND state IN {_STATES}"),
    ("return_order_erasing", "return_order", ("id",), "erased_at IS NOT NULL AND files_removed_at IS NULL"),
    ("archived_return_erasable", "archived_return", ("ended_at", "id"), "erased_at IS NULL"),
    ("archived_return_erasing", "archived_return", ("id",), "erased_at IS NOT NULL AND files_removed_at IS NULL"),
    ("archived_return_files", "archived_return", ("ended_at", "id"), "files_removed_at IS NULL"),
    ("label_kept", "label", ("fetched_at",), "removed_at IS NULL"),
)


def upgrade() -> None:
    """Add the marks, what they do and guard, and the indexes that lead to what is due; nothing is erased yet."""
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    for table, name in _MARKS:
        check = f"{table}_{name}_form_check"
        if sqlite:  # it takes a check only together with its column
            form = _SQLITE_FORM.format(name)
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} TEXT CONSTRAINT {check} CHECK ({form})")
        else:
            op.add_column(table, sa.Column(name, Moment))
            op.create_check_constraint(check, table, _POSTGRESQL_FORM.format(name))
    op.add_column("archived_return", sa.Column("erased_by", sa.Text))
    for index, table, columns, where in _INDEXES:
        condition = sa.text(where)
        op.create_index(index, table, list(columns), postgresql_where=condition, sqlite_where=condition)
    if sqlite:
        for statement in _SQLITE_TRIGGERS:
            connection.exec_driver_sql(statement)
        return
    home = connection.exec_driver_sql("SELECT pg_catalog.quote_ident(current_schema())").scalar_one() + "."
    for function in _FUNCTIONS:
        known = f"FUNCTION {{home}}{_KNOWN_BEFORE}()" in function
        connection.exec_driver_sql(function.format(home=home, replace="OR REPLACE " if known else ""))
    for statement in _POSTGRESQL_TRIGGERS:
        connection.exec_driver_sql(statement)
