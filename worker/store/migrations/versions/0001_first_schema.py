"""The first schema: returns, their history, packages and labels, and what workers share about an account."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Document, Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STATES = "('pending', 'tracking', 'completed', 'rejected', 'needs_attention', 'cancelled')"
_STATUSES = "('pending', 'pre_transit', 'in_transit', 'unknown', 'delivered', 'failed', 'cancelled', 'expired')"


def upgrade() -> None:
    """Make every table, with the checks and triggers that let a shop work with plain SQL."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    _return_order(sqlite)
    _status_transition(sqlite)
    _package_and_label(sqlite)
    op.create_table(
        "carrier_account",
        sa.Column("name", sa.Text, primary_key=True),
        *(_moment(name) for name in ("spent_until", "held_until")),
        *(sa.Column(name, sa.Text) for name in ("hold_code", "hold_message", "refused_key")),
        _moment("updated_at", now=sqlite),
    )
    for statement in _SQLITE_TRIGGERS if sqlite else _POSTGRESQL_TRIGGERS:
        op.execute(statement)
    if not sqlite:
        # Claims touch only un-indexed columns: with room on the page they stay HOT updates and write less WAL.
        op.execute(
            "ALTER TABLE return_order SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02,"
            " autovacuum_vacuum_threshold = 500, autovacuum_analyze_scale_factor = 0.02)"
        )


def _return_order(sqlite: bool) -> None:
    moments = (
        *("due_at", "cancel_requested_at", "retry_requested_at", "lease_until", "label_due_at", "track_due_at"),
        *("create_started_at", "carrier_created_at", "failing_since"),
    )
    is_text = "typeof({0}) = 'text' AND " if sqlite else ""  # SQLite would keep a blob where it is given one
    payload_check = (
        "typeof(payload) = 'text' AND CASE WHEN json_valid(payload) THEN json_type(payload) = 'object' ELSE 0 END"
        if sqlite
        else "jsonb_typeof(payload) = 'object'"
    )
    blanks = "char(9, 10, 13, 32)" if sqlite else "E' \\t\\n\\r'"
    op.create_table(
        "return_order",
        _key(),
        _text("account", default="default"),
        _text("reference"),
        sa.Column("payload", Document, nullable=False),
        _moment("due_at", now=sqlite, nullable=True),
        _moment("cancel_requested_at"),
        _moment("retry_requested_at"),
        _text("state", default="pending"),
        *(sa.Column(name, sa.Text) for name in ("tracking_status", "carrier_status", "carrier_ref", "return_url")),
        _count("attempts"),
        *(sa.Column(name, sa.Text) for name in ("error_code", "error_message", "lease_owner")),
        _moment("lease_until"),
        sa.Column("lease_token", sa.BigInteger, nullable=False, server_default="0"),
        _moment("created_at", now=sqlite),
        _moment("updated_at", now=sqlite),
        _text("next_step", default="create"),
        *(_moment(name) for name in ("label_due_at", "track_due_at", "create_started_at", "carrier_created_at")),
        _moment("failing_since"),
        _count("unchanged_polls"),
        _count("label_attempts"),
        *(sa.Column(name, sa.Text) for name in ("label_error_code", "label_error_message")),
        _count("claims"),
        _count("shop_changes"),
        sa.UniqueConstraint("account", "reference", name="return_order_reference_key"),
        *(
            sa.CheckConstraint(f"{is_text.format(name)}trim({name}, {blanks}) <> ''", name=f"return_order_{name}_check")
            for name in ("account", "reference")
        ),
        sa.CheckConstraint(payload_check, name="return_order_payload_check"),
        sa.CheckConstraint(f"state IN {_STATES}", name="return_order_state_check"),
        sa.CheckConstraint(f"tracking_status IN {_STATUSES}", name="return_order_tracking_status_check"),
        sa.CheckConstraint("next_step IN ('create', 'label', 'track')", name="return_order_next_step_check"),
        sa.CheckConstraint("(lease_until IS NULL) = (lease_owner IS NULL)", name="return_order_lease_check"),
        # Without a next moment a live return would be silently stuck.
        sa.CheckConstraint(
            "state NOT IN ('pending', 'tracking') OR due_at IS NOT NULL", name="return_order_due_at_check"
        ),
        sa.CheckConstraint(
            "(state <> 'pending' OR next_step = 'create') AND (state <> 'tracking' OR next_step <> 'create')",
            name="return_order_step_check",
        ),
        sa.CheckConstraint(
            "state NOT IN ('tracking', 'completed') OR carrier_ref IS NOT NULL", name="return_order_at_carrier_check"
        ),
        *(_sqlite_moment_checks(*moments, "created_at") if sqlite else _postgresql_moment_checks(*moments)),
        sqlite_autoincrement=True,
    )
    _index("return_order_due", "account", "next_step", "due_at", "id", where="due_at IS NOT NULL")
    _index("return_order_carrier_ref", "account", "carrier_ref", where="carrier_ref IS NOT NULL", unique=True)
    _index("return_order_needs_attention", "account", where="state = 'needs_attention'")


def _status_transition(sqlite: bool) -> None:
    op.create_table(
        "status_transition",
        _key(),
        _order_key(),
        _moment("observed_at", now=sqlite),
        _text("field"),
        *(sa.Column(name, sa.Text) for name in ("old_value", "new_value", "carrier_status")),
        _moment("carrier_time"),
        sa.Column("reason", sa.Text),
        sa.Column("raw", Document),
        sa.CheckConstraint("field IN ('state', 'tracking_status')", name="status_transition_field_check"),
        sqlite_autoincrement=True,
    )
    op.create_index("status_transition_order", "status_transition", ["return_order_id", "id"])


def _package_and_label(sqlite: bool) -> None:
    op.create_table(
        "package",
        _key(),
        _order_key(),
        sa.Column("position", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("label_code", "description", "tracking_number", "tracking_url")),
        sa.UniqueConstraint("return_order_id", "position", name="package_position_key"),
        sa.CheckConstraint("position >= 1", name="package_position_check"),
    )
    op.create_table(
        "label",
        _key(),
        _order_key(),
        sa.Column("position", sa.Integer, nullable=False),
        _text("location"),
        _text("media_type"),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("page_count", sa.Integer),
        _text("sha256"),
        _moment("fetched_at", now=sqlite),
        sa.UniqueConstraint("return_order_id", "position", name="label_position_key"),
        sa.CheckConstraint("position >= 1", name="label_position_check"),
    )


def _key() -> "sa.Column[int]":
    return sa.Column("id", _KEY, sa.Identity(), primary_key=True)


def _order_key() -> "sa.Column[int]":
    return sa.Column("return_order_id", _KEY, sa.ForeignKey("return_order.id", ondelete="CASCADE"), nullable=False)


def _text(name: str, default: str | None = None) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _count(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer, nullable=False, server_default="0")


def _moment(name: str, *, now: bool | None = None, nullable: bool | None = None) -> "sa.Column[object]":
    """A moment; given `now` (whether this is SQLite) it defaults to the time of insertion."""
    if now is None:
        return sa.Column(name, Moment)
    default = sa.text("(strftime('%Y-%m-%d %H:%M:%f', 'now'))" if now else "now()")
    return sa.Column(name, Moment, nullable=bool(nullable), server_default=default)


def _sqlite_moment_checks(*columns: str) -> list[sa.CheckConstraint]:
    """Text is compared as text: any other form than `YYYY-MM-DD HH:MM:SS[.fff]` would never, or always, be due.

    "+0 days" lets SQLite work the date out: 30 February becomes another text and is refused, as Python would refuse it.
    """
    form = (
        "{0} IS NULL OR (typeof({0}) = 'text' AND length({0}) IN (19, 23) AND {0} >= '0001'"
        " AND length(CAST({0} AS blob)) = length({0})"
        " AND coalesce(strftime('%Y-%m-%d %H:%M:%S', {0}, '+0 days'), '') = substr({0}, 1, 19)"
        " AND (length({0}) = 19 OR {0} GLOB '*.[0-9][0-9][0-9]'))"
    )
    return [sa.CheckConstraint(form.format(name), name=f"return_order_{name}_form_check") for name in columns]


def _postgresql_moment_checks(*columns: str) -> list[sa.CheckConstraint]:
    """`infinity` and years that Python cannot say: reading one such row would stop every worker."""
    form = "{0} >= '0001-01-01 00:00+00' AND {0} < '10000-01-01 00:00+00'"
    return [sa.CheckConstraint(form.format(name), name=f"return_order_{name}_form_check") for name in columns]


def _index(name: str, *columns: str, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        name, "return_order", list(columns), unique=unique, postgresql_where=condition, sqlite_where=condition
    )


_PAYLOAD_MESSAGE = (
    "payload can be changed only while the return is pending or rejected, and not while it is being created"
)

_POSTGRESQL_TRIGGERS = (
    f"""
    CREATE FUNCTION return_order_payload_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF OLD.state NOT IN ('pending', 'rejected') OR OLD.create_started_at IS NOT NULL THEN
        RAISE EXCEPTION '{_PAYLOAD_MESSAGE}' USING ERRCODE = 'check_violation';
      END IF;
      NEW.shop_changes := OLD.shop_changes + 1;
      RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER return_order_payload_change BEFORE UPDATE OF payload ON return_order FOR EACH ROW
    WHEN (NEW.payload IS DISTINCT FROM OLD.payload) EXECUTE FUNCTION return_order_payload_change()
    """,
    """
    CREATE FUNCTION return_order_shop_request() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      NEW.shop_changes := OLD.shop_changes + 1;
      NEW.due_at := now();
      RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER return_order_shop_request BEFORE UPDATE OF cancel_requested_at, retry_requested_at
    ON return_order FOR EACH ROW
    WHEN ((NEW.cancel_requested_at IS NOT NULL AND NEW.cancel_requested_at IS DISTINCT FROM OLD.cancel_requested_at)
          OR (NEW.retry_requested_at IS NOT NULL AND NEW.retry_requested_at IS DISTINCT FROM OLD.retry_requested_at))
    EXECUTE FUNCTION return_order_shop_request()
    """,
    """
    CREATE FUNCTION status_transition_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'status_transition is append-only' USING ERRCODE = 'check_violation';
    END $$
    """,
    """
    CREATE TRIGGER status_transition_append_only BEFORE UPDATE ON status_transition
    FOR EACH ROW EXECUTE FUNCTION status_transition_append_only()
    """,
)

_SQLITE_TRIGGERS = (
    f"""
    CREATE TRIGGER return_order_payload_change BEFORE UPDATE OF payload ON return_order
    WHEN NEW.payload IS NOT OLD.payload
         AND (OLD.state NOT IN ('pending', 'rejected') OR OLD.create_started_at IS NOT NULL)
    BEGIN
      SELECT RAISE(ABORT, '{_PAYLOAD_MESSAGE}');
    END
    """,
    """
    CREATE TRIGGER return_order_payload_changed AFTER UPDATE OF payload ON return_order
    WHEN NEW.payload IS NOT OLD.payload
    BEGIN
      UPDATE return_order SET shop_changes = shop_changes + 1 WHERE id = NEW.id;
    END
    """,
    """
    CREATE TRIGGER return_order_shop_request AFTER UPDATE OF cancel_requested_at, retry_requested_at ON return_order
    WHEN (NEW.cancel_requested_at IS NOT NULL AND NEW.cancel_requested_at IS NOT OLD.cancel_requested_at)
         OR (NEW.retry_requested_at IS NOT NULL AND NEW.retry_requested_at IS NOT OLD.retry_requested_at)
    BEGIN
      UPDATE return_order SET shop_changes = shop_changes + 1, due_at = strftime('%Y-%m-%d %H:%M:%f', 'now')
      WHERE id = NEW.id;
    END
    """,
    """
    CREATE TRIGGER status_transition_append_only BEFORE UPDATE ON status_transition
    BEGIN
      SELECT RAISE(ABORT, 'status_transition is append-only');
    END
    """,
    # The foreign keys cascade only in connections that switched them on, and a shop's own need not have.
    """
    CREATE TRIGGER return_order_deleted AFTER DELETE ON return_order
    BEGIN
      DELETE FROM status_transition WHERE return_order_id = OLD.id;
      DELETE FROM package WHERE return_order_id = OLD.id;
      DELETE FROM label WHERE return_order_id = OLD.id;
    END
    """,
)
