"""The tables of news as classes, as `worker.store.tables` has the others; migration 0018 makes them."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Text
from sqlmodel import Field, SQLModel

from worker.store.columns import Moment

_KEY = BigInteger().with_variant(Integer(), "sqlite")


class NewsSubscriberRow(SQLModel, table=True):
    """Who is told of changes, as a worker's settings said it last; and of a webhook, how its endpoint does.

    `events` and `accounts` are JSON lists, of which an empty one is all. `held_until`, `hold_code`, `failures` and
    `open_until` mean what they mean of an account; the lease is that of the worker that sends to it.
    """

    __tablename__ = "news_subscriber"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    events: str = Field(sa_column=Column(Text, nullable=False))
    accounts: str = Field(sa_column=Column(Text, nullable=False))
    notify: bool = Field(sa_column=Column(Boolean, nullable=False))
    keep_seconds: int = Field(sa_column=Column(BigInteger, nullable=False))
    registered_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    lease_owner: str | None = Field(sa_column=Column(Text))
    lease_until: datetime | None = Field(sa_column=Column(Moment))
    lease_token: int = Field(sa_column=Column(BigInteger, nullable=False))
    held_until: datetime | None = Field(sa_column=Column(Moment))
    hold_code: str | None = Field(sa_column=Column(Text))
    hold_message: str | None = Field(sa_column=Column(Text))
    failures: int = Field(sa_column=Column(Integer, nullable=False))
    open_until: datetime | None = Field(sa_column=Column(Moment))
    in_flight_most: int | None = Field(sa_column=Column(Integer))  # after an outage or a 429; None: as configured
    updated_at: datetime = Field(sa_column=Column(Moment, nullable=False))


class _Event(SQLModel):
    """What an event says, wherever it waits."""

    id: int = Field(sa_type=_KEY, primary_key=True)
    subscriber: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    account: str = Field(sa_type=Text)
    reference: str = Field(sa_type=Text)
    return_order_id: int = Field(sa_type=BigInteger)
    position: int = Field(sa_type=Integer)  # among the events of this return, from 1
    source: str = Field(sa_type=Text)
    source_id: int = Field(sa_type=BigInteger)
    observed_at: datetime = Field(sa_type=Moment)


class _Message(_Event):
    """An event with all that the body of a webhook says of it, so that each try says the same."""

    carrier_ref: str | None = Field(sa_type=Text)
    carrier_status: str | None = Field(sa_type=Text)
    carrier_time: datetime | None = Field(sa_type=Moment)
    old_value: str | None = Field(sa_type=Text)
    new_value: str | None = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)  # in our own words only
    error_message: str | None = Field(sa_type=Text)  # why the last try failed


class ReturnEventRow(_Event, table=True):
    """An event in the outbox of a table subscriber, until the shop deletes it."""

    __tablename__ = "return_event"
    __table_args__ = (Index("return_event_subscriber", "subscriber", "id"), {"sqlite_autoincrement": True})


class WebhookEventRow(_Message, table=True):
    """An event that has yet to be sent to a webhook."""

    __tablename__ = "webhook_event"
    __table_args__ = (
        Index("webhook_event_due", "subscriber", "due_at", "id"),
        Index("webhook_event_return", "subscriber", "return_order_id", "position", "id"),
        {"sqlite_autoincrement": True},
    )

    attempts: int = Field(sa_type=Integer)
    first_attempt_at: datetime | None = Field(sa_type=Moment)
    due_at: datetime = Field(sa_type=Moment)


class WebhookMissedRow(_Message, table=True):
    """An event that was given up, for `webhooks replay --missed`; forgotten after its subscriber's `keep`."""

    __tablename__ = "webhook_missed"
    __table_args__ = (
        Index("webhook_missed_subscriber", "subscriber", "given_up_at", "id"),
        {"sqlite_autoincrement": True},
    )

    given_up_at: datetime = Field(sa_type=Moment)
