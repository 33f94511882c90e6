"""Which workers live and what they serve, a view that says of each return what it waits for, and tracking numbers."""

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# As in 0006: what moved is written to no more.
_MOVED = """
CREATE TRIGGER {table}_moved_{event} BEFORE {event} ON {table}
WHEN (SELECT moved_to FROM database_place) IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'these returns have moved to another database: see database_place.moved_to');
END
"""

# What keeps a return waiting is said here as `worker.store.holds` says it of an account, and a test holds the two
# together. A carrier's hold and a presence last 62 minutes at most (`worker.domain.clocks.LATEST`): a longer one was
# written under a clock that was ahead. A circuit keeps waiting until a probe has closed it; that of creations only what
# has yet to be sent, and so does an address that takes none. Which address an account has now, the database does not
# know: that it is the stopped one, the row's own error says. All that is asked is a look into a unique index, and it is
# asked only where `due_at` says that something is to be done.
_VIEW = """
CREATE VIEW {home}return_overview{options} AS
SELECT r.reference, r.account, r.state, r.tracking_status, r.carrier_status, r.carrier_ref, r.return_url, r.error_code,
       r.error_message,
       CASE
         WHEN r.due_at IS NULL THEN NULL
         WHEN NOT EXISTS (SELECT 1 FROM {home}worker_presence p WHERE {lives}) THEN 'worker_absent'
         WHEN NOT EXISTS (
           SELECT 1 FROM {home}worker_serves s JOIN {home}worker_presence p ON p.worker = s.worker
            WHERE s.kind = 'account' AND s.name = r.account AND {lives}) THEN 'account_not_configured'
         ELSE (
           SELECT CASE
                    WHEN a.hold_code = 'carrier_key_refused' AND {held} THEN 'key_refused'
                    WHEN (a.hold_code = 'held_by_person' AND {held})
                         OR (a.create_hold_message IS NOT NULL AND r.next_step = 'create') THEN 'paused_by_person'
                    WHEN {held} OR (a.sending_stopped_address IS NOT NULL AND r.error_code = 'carrier_unreachable'
                                    AND {unsent}) THEN 'account_held'
                    WHEN a.open_until IS NOT NULL OR (a.create_open_until IS NOT NULL AND {unsent})
                      THEN 'carrier_failing'
                  END
             FROM {home}carrier_account a WHERE a.name = r.account)
       END AS waits_for,
       (SELECT l.location FROM {home}label l WHERE l.return_order_id = r.id AND l.removed_at IS NULL
         ORDER BY l.position LIMIT 1) AS label_location,
       (SELECT l.media_type FROM {home}label l WHERE l.return_order_id = r.id AND l.removed_at IS NULL
         ORDER BY l.position LIMIT 1) AS label_media_type,
       r.updated_at
  FROM {home}return_order r{where}
"""

_HELD = """(a.held_until > {now} AND (
                      a.hold_code = 'held_by_person' OR a.held_until >= {forever} OR a.held_until <= {latest}))"""
_UNSENT = "r.next_step = 'create' AND r.create_started_at IS NULL AND r.cancel_requested_at IS NULL"

_SQLITE = {
    "home": "",
    "options": "",
    "where": "",
    "now": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "latest": "strftime('%Y-%m-%d %H:%M:%f', 'now', '62 minutes')",
    "forever": "'9999-12-31 23:59:59'",
}
# A view keeps what its names meant when it was made: each is our schema's, or PostgreSQL's own by the very types.
_POSTGRESQL = {
    "now": "pg_catalog.now()",
    "latest": "pg_catalog.now() + interval '62 minutes'",
    "forever": "timestamptz '9999-12-31 23:59:59+00'",
}
_GUARDED = ("return_order", "label", "carrier_account", "worker_presence", "worker_serves")


def view(home: str | None, *, by_caller: bool = False) -> str:
    """The statement that makes the view; `home` is our schema as PostgreSQL names it, None on SQLite.

    `by_caller`: it reads with the rights of the role that asks, and row level security hides in it what it hides in the
    tables. PostgreSQL 14 cannot do that, and reads it as its owner, from whom nothing is hidden: there it is empty for
    a role that row level security applies to (https://www.postgresql.org/docs/14/rules-privileges.html).
    """
    if home is None:
        words = _SQLITE
    else:
        tables = ("'" + f"{home}.{name}".replace("'", "''") + "'" for name in _GUARDED)
        active = (f"pg_catalog.row_security_active(CAST(CAST({name} AS regclass) AS oid))" for name in tables)
        words = _POSTGRESQL | {
            "home": f"{home}.",
            "options": " WITH (security_invoker = true)" if by_caller else "",
            "where": "" if by_caller else f"\n WHERE NOT ({' OR '.join(active)})",
        }
    lives = f"p.until > {words['now']} AND p.until <= {words['latest']}"
    return _VIEW.format(**words, lives=lives, held=_HELD.format(**words), unsent=_UNSENT)


def upgrade() -> None:
    """Make them. The shop waits for none of it: what is locked for longer, `package`, only workers write."""
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    op.create_table(
        "worker_presence",
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("until", Moment, nullable=False),
    )
    op.create_table(
        "worker_serves",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("kind", "name", "worker")),
        sa.ForeignKeyConstraint(
            ["worker"], ["worker_presence.worker"], ondelete="CASCADE", name="worker_serves_worker_fkey"
        ),
    )
    known = sa.text("tracking_number IS NOT NULL")
    op.create_index(
        "package_tracking_number", "package", ["tracking_number"], postgresql_where=known, sqlite_where=known
    )
    if sqlite:
        connection.exec_driver_sql(view(None))
        for table in ("worker_presence", "worker_serves"):
            for event in ("insert", "update", "delete"):
                op.execute(_MOVED.format(table=table, event=event))
        return
    home = connection.exec_driver_sql("SELECT pg_catalog.quote_ident(current_schema())").scalar_one()
    version = connection.exec_driver_sql("SELECT current_setting('server_version_num')").scalar_one()
    connection.exec_driver_sql(view(home, by_caller=int(version) >= 150000))
