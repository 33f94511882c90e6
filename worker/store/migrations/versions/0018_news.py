"""News: who is told of changes, the outbox that a shop empties, and what is still to be sent to webhooks."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.store.columns import Moment

revision = "0018"
down_revision = "0017"
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
_KINDS = "kind IN ('table', 'webhook')"
_SOURCES = "source IN ('transition', 'label')"


def _key() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True)


def _told() -> list[sa.Column[Any]]:
    """What an event says, wherever it waits; no foreign key, since a return may be archived before it is read."""
    return [
        sa.Column("subscriber", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("return_order_id", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_id", sa.BigInteger, nullable=False),
        sa.Column("observed_at", Moment, nullable=False),
    ]


def _message() -> list[sa.Column[Any]]:
    """An event with all that a webhook says of it."""
    texts = ("carrier_ref", "carrier_status", "old_value", "new_value", "reason", "error_message")
    return [*_told(), *(sa.Column(name, sa.Text) for name in texts), sa.Column("carrier_time", Moment)]


def upgrade() -> None:
    """Make them. A return that is there already is counted when it is next written: see `worker.store.news`."""
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    now = sa.text("(strftime('%Y-%m-%d %H:%M:%f', 'now'))" if sqlite else "now()")
    op.add_column("return_order", sa.Column("event_count", sa.Integer))
    op.add_column("status_transition", sa.Column("event_position", sa.Integer))
    op.add_column("label", sa.Column("event_position", sa.Integer))
    op.create_table(
        "news_subscriber",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False, server_default="[]"),
        sa.Column("accounts", sa.Text, nullable=False, server_default="[]"),
        sa.Column("notify", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("keep_seconds", sa.BigInteger, nullable=False, server_default="1209600"),
        sa.Column("registered_at", Moment, nullable=False, server_default=now),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", Moment),
        sa.Column("lease_token", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("held_until", Moment),
        sa.Column("hold_code", sa.Text),
        sa.Column("hold_message", sa.Text),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("open_until", Moment),
        sa.Column("in_flight_most", sa.Integer),
        sa.Column("updated_at", Moment, nullable=False, server_default=now),
        sa.CheckConstraint(_KINDS, name="news_subscriber_kind_check"),
    )
    op.create_table(
        "return_event",
        _key(),
        *_told(),
        sa.CheckConstraint(_SOURCES, name="return_event_source_check"),
        sqlite_autoincrement=True,
    )
    op.create_index("return_event_subscriber", "return_event", ["subscriber", "id"])
    op.create_table(
        "webhook_event",
        _key(),
        *_message(),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("first_attempt_at", Moment),
        sa.Column("due_at", Moment, nullable=False, server_default=now),
        sa.CheckConstraint(_SOURCES, name="webhook_event_source_check"),
        sqlite_autoincrement=True,
    )
    op.create_index("webhook_event_due", "webhook_event", ["subscriber", "due_at", "id"])
    op.create_index("webhook_event_return", "webhook_event", ["subscriber", "return_order_id", "position", "id"])
    op.create_table(
        "webhook_missed",
        _key(),
        *_message(),
        sa.Column("given_up_at", Moment, nullable=False, server_default=now),
        sqlite_autoincrement=True,
    )
    op.create_index("webhook_missed_subscriber", "webhook_missed", ["subscriber", "given_up_at", "id"])
    if sqlite:
        for table in ("news_subscriber", "return_event", "webhook_event", "webhook_missed"):
            for event in ("insert", "update", "delete"):
                op.execute(_MOVED.format(table=table, event=event))
