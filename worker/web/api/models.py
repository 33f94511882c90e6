"""The shapes of what a program is told: the description of the API is made of them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from worker.domain.lifecycle import State
from worker.domain.sought import Matched
from worker.domain.tracking import TrackingStatus
from worker.domain.waits import WaitsFor


class _Told(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Package(_Told):
    """One package of a return, or one shipment of it. Further members are not promised."""

    position: int
    """From 1."""
    label_code: str | None
    description: str | None
    tracking_number: str | None
    tracking_url: str | None


class Label(_Told):
    """One label that is verified and stored. Further members are not promised."""

    position: int
    """From 1; `/labels/{position}` has the file."""
    location: str
    """A URI in the label store."""
    media_type: str
    byte_count: int
    page_count: int | None
    sha256: str
    fetched_at: datetime
    removed_at: datetime | None
    """Since when its file is gone; null: it is there."""


class Line(_Told):
    """What changed, and why."""

    field: Literal["state", "tracking_status"]
    old_value: str | None
    new_value: str | None
    """The same as before where only the carrier's word changed."""
    carrier_status: str | None
    """The carrier's own word, verbatim."""
    carrier_time: datetime | None
    """When the carrier says that it happened, if it does."""
    reason: str | None


class Transition(Line):
    """One line of a return's history. Further members are not promised."""

    id: int
    observed_at: datetime
    raw: Any
    """The carrier's answer, as JSON, where it is kept."""


class Listed(_Told):
    """A return in a list: the columns of `return_order`, but for its payload, as `returns-worker list --json` has them.

    Those that are not named here are the worker's own, and not promised. Of one that the database cannot give, `id`,
    `account`, `state` and an `error_code` are there, and the rest is null.
    """

    id: int
    account: str
    reference: str
    adopt_carrier_ref: str | None
    """The carrier's number of a return that was there already."""
    due_at: datetime | None
    """The earliest moment of the next step; null: there is none."""
    cancel_requested_at: datetime | None
    retry_requested_at: datetime | None
    state: State
    tracking_status: TrackingStatus | None
    carrier_status: str | None
    """The carrier's own word, verbatim."""
    carrier_ref: str | None
    """The carrier's number."""
    return_url: str | None
    """Where the customer schedules the return."""
    attempts: int | None
    error_code: str | None
    error_message: str | None
    label_error_code: str | None
    label_error_message: str | None
    lease_owner: str | None
    lease_until: datetime | None
    lease_token: int | None
    created_at: datetime | None
    updated_at: datetime | None
    erased_at: datetime | None
    """Since when its personal data is erased."""


class Return(Listed):
    """One return with all that belongs to it, as `returns-worker show --json` has it."""

    payload: Any
    """What the shop wrote of it; null: it cannot be shown, and `payload_unreadable` says why."""
    payload_unreadable: str | None
    packages: list[Package]
    labels: list[Label]
    transitions: list[Transition]
    """Its history, in the order in which it happened."""
    archived_at: datetime | None
    """Since when it is archived: nothing more is done about it."""
    waits_for: WaitsFor | None
    """What keeps it waiting that its error code does not say."""
    account_waits: str | None
    """Why its account lets it wait, and until when."""
    ways: list[Literal["found", "not_created", "retry", "poll", "cancel"]]
    """What would not be refused now; `found` and `not_created` are those of `resolve`."""


class Returns(_Told):
    """Returns, the newest first."""

    returns: list[Listed]
    next: str | None
    """Where the next ones are; null: there are none."""


class Match(_Told):
    """One thing of a return that was looked for."""

    matched: Matched
    value: str


class Found(_Told):
    """A return that has what was looked for."""

    reference: str
    account: str
    state: State | None
    carrier_ref: str | None
    archived_at: datetime | None
    erased_at: datetime | None
    is_exact: bool
    """Whether a value of it is what was looked for."""
    matches: list[Match]
    """The best one first."""


class Findings(_Told):
    """What was found, exact ones first, then the newest, as `returns-worker find --json` has it."""

    found: list[Found]
    is_more: bool
    """There are more than were wanted: say it more exactly."""
    go_on_before: int | None
    unreadable: int
    """Returns that were passed over, since the database cannot give them."""
    next: str | None
    """Where it is looked on, with the time of another request; null: all was looked through."""


class Account(_Told):
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


class Accounts(_Told):
    """Each account that is configured, that workers know, or that has live returns."""

    accounts: list[Account]


class AccountWaits(_Told):
    """What an account waits for by now."""

    account: str
    waits_for: str
    """For a person; `ok`: for nothing."""


class Subscriber(_Told):
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


class News(_Told):
    """Each subscriber that a worker has registered, or that is configured here."""

    subscribers: list[Subscriber]


class SubscriberWaits(_Told):
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


class Attention(_Told):
    """Returns that need attention for one reason."""

    error_code: str | None
    count: int
    since: datetime | None
    """When the first of them was recorded last."""
    ways: list[Literal["found", "not_created", "retry", "poll", "cancel"]]
    """What can be done about one of them now."""


class Figures(_Told):
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


class Served(_Told):
    """What a worker serves, of one kind."""

    kind: str
    """`account` or `news`."""
    names: list[str]
    """The first of them."""
    count: int
    """How many there are."""


class Worker(_Told):
    """A worker that lives."""

    worker: str
    until: datetime
    """Until then it is known to live."""
    serves: list[Served]


class Today(_Told):
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


class Standing(_Told):
    """Where a return is."""

    state: State
    tracking_status: TrackingStatus | None
    carrier_status: str | None
    carrier_ref: str | None
    due_at: datetime | None
    error_code: str | None
    error_message: str | None


class Done(_Told):
    """What was done to a return; with `dry_run` what would be, by the very function that does it."""

    account: str
    reference: str
    dry_run: bool
    before: Standing
    after: Standing
    transitions: list[Line]
    """What goes into its history."""


class Mistake(_Told):
    """What is wrong with one member or parameter."""

    detail: str
    pointer: str | None = None
    """Of the body, as a JSON pointer."""
    parameter: str | None = None
    """Of the query."""


class ProblemDetails(_Told):
    """RFC 9457. `type` is one of a closed list and does not change; `detail` is for people and may."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Mistake] | None = None
    """Each thing that is wrong with what was sent; of type `invalid` alone."""
