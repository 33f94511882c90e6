"""The tables as classes, for reads and for types; `migrations` makes them, with their checks and triggers."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.sql.elements import TextClause
from sqlmodel import Field, SQLModel

from worker.store.columns import Document, Moment

_KEY = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only for plain INTEGER


def _partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    condition: TextClause = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def _order_key() -> Any:
    return Column(_KEY, ForeignKey("return_order.id", ondelete="CASCADE"), nullable=False)


class ReturnOrderRow(SQLModel, table=True):
    """One return. The first group is the shop's, but for `id`, and for `due_at` later on; all else is the worker's."""

    __tablename__ = "return_order"
    __table_args__ = (
        UniqueConstraint("account", "reference", name="return_order_reference_key"),
        _partial_index("return_order_due", "account", "next_step", "due_at", "id", where="due_at IS NOT NULL"),
        _partial_index(
            "return_order_carrier_ref", "account", "carrier_ref", where="carrier_ref IS NOT NULL", unique=True
        ),
        _partial_index(
            *("return_order_withdrawn", "account", "due_at", "id"),
            where="cancel_requested_at IS NOT NULL AND next_step <> 'create' AND due_at IS NOT NULL",
        ),
        _partial_index("return_order_needs_attention", "account", where="state = 'needs_attention'"),
        _partial_index(
            *("return_order_erasable", "updated_at", "id"),
            where="erased_at IS NULL AND state IN ('completed', 'cancelled', 'rejected')",
        ),
        _partial_index("return_order_erasing", "id", where="erased_at IS NOT NULL AND files_removed_at IS NULL"),
        {"sqlite_autoincrement": True},  # keys are never reused, as on PostgreSQL
    )

    id: int = Field(sa_column=Column(_KEY, primary_key=True))
    account: str = Field(sa_column=Column(Text, nullable=False))
    reference: str = Field(sa_column=Column(Text, nullable=False))
    payload: dict[str, Any] | None = Field(sa_column=Column(Document, nullable=False))  # None: it was not asked for
    adopt_carrier_ref: str | None = Field(sa_column=Column(Text))
    due_at: datetime | None = Field(sa_column=Column(Moment))
    cancel_requested_at: datetime | None = Field(sa_column=Column(Moment))
    retry_requested_at: datetime | None = Field(sa_column=Column(Moment))

    state: str = Field(sa_column=Column(Text, nullable=False))
    tracking_status: str | None = Field(sa_column=Column(Text))
    carrier_status: str | None = Field(sa_column=Column(Text))
    carrier_ref: str | None = Field(sa_column=Column(Text))
    return_url: str | None = Field(sa_column=Column(Text))
    attempts: int = Field(sa_column=Column(Integer, nullable=False))
    error_code: str | None = Field(sa_column=Column(Text))
    error_message: str | None = Field(sa_column=Column(Text))
    lease_owner: str | None = Field(sa_column=Column(Text))
    lease_until: datetime | None = Field(sa_column=Column(Moment))
    lease_token: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    updated_at: datetime = Field(sa_column=Column(Moment, nullable=False))

    # The worker's own, documented and not promised.
    next_step: str = Field(sa_column=Column(Text, nullable=False))
    label_due_at: datetime | None = Field(sa_column=Column(Moment))
    track_due_at: datetime | None = Field(sa_column=Column(Moment))
    create_started_at: datetime | None = Field(sa_column=Column(Moment))
    followed_since: datetime | None = Field(sa_column=Column(Moment))
    failing_since: datetime | None = Field(sa_column=Column(Moment))
    unchanged_polls: int = Field(sa_column=Column(Integer, nullable=False))
    label_attempts: int = Field(sa_column=Column(Integer, nullable=False))
    label_error_code: str | None = Field(sa_column=Column(Text))
    label_error_message: str | None = Field(sa_column=Column(Text))
    claims: int = Field(sa_column=Column(Integer, nullable=False))
    shop_changes: int = Field(sa_column=Column(Integer, nullable=False))
    first_attempt_at: datetime | None = Field(sa_column=Column(Moment))
    lookups: int = Field(sa_column=Column(Integer, nullable=False))
    status_since: datetime | None = Field(sa_column=Column(Moment))
    label_sought_since: datetime | None = Field(sa_column=Column(Moment))
    erased_at: datetime | None = Field(sa_column=Column(Moment))
    files_removed_at: datetime | None = Field(sa_column=Column(Moment))
    event_count: int | None = Field(sa_column=Column(Integer))  # None: not counted yet, see `worker.store.news`


WRITTEN_BY_SHOP = (
    *("account", "reference", "payload", "adopt_carrier_ref", "cancel_requested_at", "retry_requested_at"),
)
"""The columns of `return_order` that no decision sets, since they are the shop's. Both write `due_at`."""


class StatusTransitionRow(SQLModel, table=True):
    """One line of a return's history, never changed, but that an erasure empties `raw` and `reason`."""

    __tablename__ = "status_transition"
    __table_args__ = (Index("status_transition_order", "return_order_id", "id"), {"sqlite_autoincrement": True})

    id: int = Field(sa_column=Column(_KEY, primary_key=True))
    return_order_id: int = Field(sa_column=_order_key())
    observed_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    field: str = Field(sa_column=Column(Text, nullable=False))
    old_value: str | None = Field(sa_column=Column(Text))
    new_value: str | None = Field(sa_column=Column(Text))
    carrier_status: str | None = Field(sa_column=Column(Text))
    carrier_time: datetime | None = Field(sa_column=Column(Moment))
    reason: str | None = Field(sa_column=Column(Text))
    raw: Any = Field(sa_column=Column(Document))
    event_position: int | None = Field(sa_column=Column(Integer))  # None: it was written before schema 0018


class PackageRow(SQLModel, table=True):
    """One package of a return, or one shipment of it."""

    __tablename__ = "package"
    __table_args__ = (
        UniqueConstraint("return_order_id", "position", name="package_position_key"),
        _partial_index("package_label_code", "label_code", where="label_code IS NOT NULL"),
        _partial_index("package_tracking_number", "tracking_number", where="tracking_number IS NOT NULL"),
    )

    id: int = Field(sa_column=Column(_KEY, primary_key=True))
    return_order_id: int = Field(sa_column=_order_key())
    position: int = Field(sa_column=Column(Integer, nullable=False))
    label_code: str | None = Field(sa_column=Column(Text))
    description: str | None = Field(sa_column=Column(Text))
    tracking_number: str | None = Field(sa_column=Column(Text))
    tracking_url: str | None = Field(sa_column=Column(Text))


class LabelRow(SQLModel, table=True):
    """One label that is verified and stored, unless its file was removed since."""

    __tablename__ = "label"
    __table_args__ = (
        UniqueConstraint("return_order_id", "position", name="label_position_key"),
        _partial_index("label_kept", "fetched_at", where="removed_at IS NULL"),
    )

    id: int = Field(sa_column=Column(_KEY, primary_key=True))
    return_order_id: int = Field(sa_column=_order_key())
    position: int = Field(sa_column=Column(Integer, nullable=False))
    location: str = Field(sa_column=Column(Text, nullable=False))
    media_type: str = Field(sa_column=Column(Text, nullable=False))
    byte_count: int = Field(sa_column=Column(BigInteger, nullable=False))
    page_count: int | None = Field(sa_column=Column(Integer))
    sha256: str = Field(sa_column=Column(Text, nullable=False))
    fetched_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    removed_at: datetime | None = Field(sa_column=Column(Moment))
    event_position: int | None = Field(sa_column=Column(Integer))  # as in `StatusTransitionRow`


class ArchivedReturnRow(SQLModel, table=True):
    """One return that is over and was archived, with all that belonged to it in one document; its `id` is what it was.

    The document has `order`, `transitions`, `packages` and `labels`, each with the columns of its table. `account` is
    the account's name now, should it have been renamed since.
    """

    __tablename__ = "archived_return"
    __table_args__ = (
        UniqueConstraint("account", "reference", name="archived_return_reference_key"),
        _partial_index(
            "archived_return_carrier_ref", "account", "carrier_ref", where="carrier_ref IS NOT NULL", unique=True
        ),
        _partial_index("archived_return_erasable", "ended_at", "id", where="erased_at IS NULL"),
        _partial_index("archived_return_erasing", "id", where="erased_at IS NOT NULL AND files_removed_at IS NULL"),
        _partial_index("archived_return_files", "ended_at", "id", where="files_removed_at IS NULL"),
    )

    id: int = Field(sa_column=Column(_KEY, primary_key=True, autoincrement=False))
    account: str = Field(sa_column=Column(Text, nullable=False))
    reference: str = Field(sa_column=Column(Text, nullable=False))
    carrier_ref: str | None = Field(sa_column=Column(Text))
    ended_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    archived_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    document: dict[str, Any] = Field(sa_column=Column(Document, nullable=False))
    erased_at: datetime | None = Field(sa_column=Column(Moment))
    files_removed_at: datetime | None = Field(sa_column=Column(Moment))
    erased_by: str | None = Field(sa_column=Column(Text))


class CarrierAccountRow(SQLModel, table=True):
    """What all workers share about one account: its pace, and whether and why it waits."""

    __tablename__ = "carrier_account"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    spent_until: datetime | None = Field(sa_column=Column(Moment))
    held_until: datetime | None = Field(sa_column=Column(Moment))
    hold_code: str | None = Field(sa_column=Column(Text))
    hold_message: str | None = Field(sa_column=Column(Text))
    refused_key: str | None = Field(sa_column=Column(Text))
    updated_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    failures: int = Field(sa_column=Column(Integer, nullable=False))
    open_until: datetime | None = Field(sa_column=Column(Moment))
    create_failures: int = Field(sa_column=Column(Integer, nullable=False))
    create_open_until: datetime | None = Field(sa_column=Column(Moment))
    create_hold_message: str | None = Field(sa_column=Column(Text))
    create_window: int | None = Field(sa_column=Column(Integer))
    create_window_since: datetime | None = Field(sa_column=Column(Moment))
    created_lately_at: datetime | None = Field(sa_column=Column(Moment))
    sending_stopped_message: str | None = Field(sa_column=Column(Text))
    sending_stopped_address: str | None = Field(sa_column=Column(Text))


class WorkerPresenceRow(SQLModel, table=True):
    """That a worker lives: until then, or until it says so again."""

    __tablename__ = "worker_presence"

    worker: str = Field(sa_column=Column(Text, primary_key=True))
    until: datetime = Field(sa_column=Column(Moment, nullable=False))


class WorkerServesRow(SQLModel, table=True):
    """What a worker serves as long as it lives: an account, by its name; other kinds may come."""

    __tablename__ = "worker_serves"

    kind: str = Field(sa_column=Column(Text, primary_key=True))
    name: str = Field(sa_column=Column(Text, primary_key=True))
    worker: str = Field(
        sa_column=Column(
            Text,
            ForeignKey("worker_presence.worker", ondelete="CASCADE", name="worker_serves_worker_fkey"),
            primary_key=True,
        )
    )


class DatabasePlaceRow(SQLModel, table=True):
    """The one row that remembers where this database is, to notice a copy or a restored backup."""

    __tablename__ = "database_place"

    id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    place: str | None = Field(sa_column=Column(Text))
    creations: int = Field(sa_column=Column(BigInteger, nullable=False))
    restored_at: datetime | None = Field(sa_column=Column(Moment))
    backed_up_at: datetime | None = Field(sa_column=Column(Moment))
    moved_to: str | None = Field(sa_column=Column(Text))
    move_completed_at: datetime | None = Field(sa_column=Column(Moment))
    clock_seen_at: datetime | None = Field(sa_column=Column(Moment))
    clock_doubted_since: datetime | None = Field(sa_column=Column(Moment))
    version_taken_over_at: datetime | None = Field(sa_column=Column(Moment))
