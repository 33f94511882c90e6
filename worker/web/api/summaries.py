"""The shapes of what a program is told of the whole: today, accounts, and who is told of changes."""

from datetime import datetime
from typing import Literal

from worker.web.api.models import Told


class Account(Told):
    """What there is to do on one account, and what it waits for."""

    account: str
    carrier: str | None
    """null: it is not configured here."""
    rate_per_minute: int | None
    """null as before; 0: no limit."""
    pending: int
    tracking: int
    due: int
    waits_for: str
    """For a person; `ok`: for nothing."""
    held_until: datetime | None
    """null also: until it is released."""
    hold_code: str | None
    creations_held: bool
    circuit_open_until: datetime | None
    create_circuit_open_until: datetime | None


class Accounts(Told):
    """Each account that is configured, that workers know, or that has live returns."""

    accounts: list[Account]


class AccountWaits(Told):
    """What an account waits for by now."""

    account: str
    waits_for: str
    """For a person; `ok`: for nothing."""


class Subscriber(Told):
    """Who is told of changes, and what waits for it; counts end at 10,000."""

    subscriber: str
    kind: Literal["table", "webhook"]
    waiting: int
    """Events that are not sent yet; of a table, those that the shop has not deleted."""
    oldest_at: datetime | None
    """When the oldest of them happened."""
    given_up: int
    """Events that are sent no more, unless they are replayed."""
    given_up_since: datetime | None
    sent_by: str | None
    """The worker that sends now."""
    workers: int
    """Those that live and serve it."""
    waits_for: str
    """For a person; `ok`: for nothing."""
    last_error: str | None
    held_until: datetime | None
    """null also: until it is released."""
    hold_code: str | None
    circuit_open_until: datetime | None
    failures: int
    """Failed tries in a row."""
    is_registered: bool
    """Whether a worker was started with it; until then it is told of nothing."""


class News(Told):
    """Each subscriber that a worker has registered, or that is configured here."""

    subscribers: list[Subscriber]


class SubscriberWaits(Told):
    """What a webhook waits for by now."""

    subscriber: str
    waits_for: str
    """For a person; `ok`: for nothing."""


class AccountToday(Account):
    """How one account stands, and what of it is late."""

    needs_attention: int
    labels_missing: int
    oldest_due_at: datetime | None
    """null: nothing is due."""
    label_sought_since: datetime | None
    """Since when the label is sought that is missing longest."""
    behind_seconds: int
    """The age of what is due longest, or what all that is due takes at its pace; 0: it is not behind."""


class Attention(Told):
    """Returns that need attention for one reason."""

    error_code: str | None
    count: int
    since: datetime | None
    """When the first of them was recorded last."""
    ways: list[Literal["found", "not_created", "retry", "poll", "cancel"]]
    """What can be done about one of them now."""


class Figures(Told):
    """How many returns, and labels, came to this."""

    created: int
    """From `pending` to the carrier; adopted ones are among them."""
    labels_stored: int
    in_transit: int
    delivered: int
    completed: int
    rejected: int
    came_to_need_attention: int
    cancelled: int
    put_back: int
    """To `pending`."""
    followed_again: int
    """To `tracking`, from any other state but `pending`."""


class Served(Told):
    """What a worker serves, of one kind."""

    kind: str
    """`account` or `news`."""
    names: list[str]
    """The first of them."""
    count: int
    """How many there are."""


class Worker(Told):
    """A worker that lives."""

    worker: str
    until: datetime
    """Until then it is known to live."""
    serves: list[Served]


class Today(Told):
    """Today at one glance, as `/` shows it. It may be as old as `now` says: 90 seconds at most."""

    now: datetime
    accounts: list[AccountToday]
    attention: list[Attention]
    figures: Figures
    """Since midnight UTC."""
    figures_since: datetime
    """Later than midnight where the day has more than is counted."""
    figures_are_all: bool
    """Whether all since midnight are counted; what was archived since is not."""
    subscribers: list[Subscriber]
    workers: list[Worker]
