"""The shapes of what a program is told: the description of the API is made of them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from worker.domain.lifecycle import State
from worker.domain.sought import Matched
from worker.domain.tracking import TrackingStatus
from worker.domain.waits import WaitsFor


class Told(BaseModel):
    """Its members are described one by one."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)


class Package(Told):
    """One package of a return, or one shipment of it. Further members are not promised."""

    position: int
    """From 1."""
    label_code: str | None
    description: str | None
    tracking_number: str | None
    tracking_url: str | None


class Label(Told):
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


class Line(Told):
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


class Listed(Told):
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
    """Its history, in the order in which it happened: below `/api` its newest 500 lines."""
    transitions_left_out: int
    """So many lines are older than those; `returns-worker show --json` has them."""
    archived_at: datetime | None
    """Since when it is archived: nothing more is done about it."""
    waits_for: WaitsFor | None
    """What keeps it waiting that its error code does not say."""
    account_waits: str | None
    """Why its account lets it wait, and until when."""
    ways: list[Literal["found", "not_created", "retry", "poll", "cancel"]]
    """What would not be refused now; `found` and `not_created` are those of `resolve`."""


class Returns(Told):
    """Returns, the newest first."""

    returns: list[Listed]
    next: str | None
    """Where the next ones are; null: there are none."""


class Match(Told):
    """One thing of a return that was looked for."""

    matched: Matched
    value: str


class Found(Told):
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


class Findings(Told):
    """What was found, exact ones first, then the newest, as `returns-worker find --json` has it."""

    found: list[Found]
    is_more: bool
    """There are more than were wanted: say it more exactly."""
    go_on_before: int | None
    unreadable: int
    """Returns that were passed over, since the database cannot give them."""
    next: str | None
    """Where it is looked on, with the time of another request; null: all was looked through."""


class Standing(Told):
    """Where a return is."""

    state: State
    tracking_status: TrackingStatus | None
    carrier_status: str | None
    carrier_ref: str | None
    due_at: datetime | None
    error_code: str | None
    error_message: str | None


class Done(Told):
    """What was done to a return; with `dry_run` what would be, by the very function that does it."""

    account: str
    reference: str
    dry_run: bool
    before: Standing
    after: Standing
    transitions: list[Line]
    """What goes into its history."""


class Mistake(Told):
    """What is wrong with one member or parameter."""

    detail: str
    pointer: str | None = None
    """Of the body, as a JSON pointer."""
    parameter: str | None = None
    """Of the query."""


class ProblemDetails(Told):
    """RFC 9457. `type` is one of a closed list and does not change; `detail` is for people and may."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Mistake] | None = None
    """Each thing that is wrong with what was sent; of type `invalid` alone."""
