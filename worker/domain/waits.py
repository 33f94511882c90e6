"""What a return waits for: its next steps; and what its error code does not say, its account, or a worker."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from worker.domain.lifecycle import State


class WaitsFor(StrEnum):
    """A value of `return_overview.waits_for`, in the order in which they are looked at: the first that is so is said.

    None stands for a return that waits for nothing but its own next moment, is over, or needs a person.
    """

    WORKER_ABSENT = "worker_absent"
    ACCOUNT_NOT_CONFIGURED = "account_not_configured"
    KEY_REFUSED = "key_refused"
    PAUSED_BY_PERSON = "paused_by_person"
    ACCOUNT_HELD = "account_held"
    CARRIER_FAILING = "carrier_failing"


REASON: Mapping[WaitsFor, str] = {
    WaitsFor.WORKER_ABSENT: "no worker lives: none was started, or the last one ended or was killed",
    WaitsFor.ACCOUNT_NOT_CONFIGURED: "workers live, and none of them has this account in its configuration",
    WaitsFor.KEY_REFUSED: "the carrier refused the account's key (401, 403): nothing is asked until it gets another"
    " one, or a person releases it",
    WaitsFor.PAUSED_BY_PERSON: "a person holds the account (or only its creations, if the return is not created yet)",
    WaitsFor.ACCOUNT_HELD: "the carrier asked the account to wait (429, 503), or its address takes no creations"
    " (if the return is not created yet)",
    WaitsFor.CARRIER_FAILING: "the carrier failed again and again and is left alone, or tried one at a time"
    " (or only its creations are, if the return is not created yet)",
}
"""One line for each, as a person understands it; the documentation repeats it and a test compares them."""


class _Row(Protocol):
    """A return, claimed or as it is shown."""

    @property
    def state(self) -> Any: ...
    @property
    def due_at(self) -> Any: ...
    @property
    def label_due_at(self) -> Any: ...
    @property
    def track_due_at(self) -> Any: ...
    @property
    def cancel_requested_at(self) -> Any: ...
    @property
    def adopt_carrier_ref(self) -> Any: ...
    @property
    def create_started_at(self) -> Any: ...


class Coming(NamedTuple):
    """What is done next, as half a sentence, and when it is due."""

    what: str
    due_at: datetime


def next_steps(order: _Row) -> list[Coming]:
    """What a worker does next about a return, each with its moment; nothing where it is over, or waits for a person."""
    if order.due_at is None:
        return []
    if order.cancel_requested_at is not None:
        return [Coming("it is withdrawn", order.due_at)]
    coming = []
    if order.state == State.PENDING:
        what = "it is created"
        if order.adopt_carrier_ref is not None:
            what = "the carrier is asked about it, nothing is created,"
        elif order.create_started_at is not None:
            what = "what became of its creation is asked"
        coming.append(Coming(what, order.due_at))
    clocks = (("its label is asked for", order.label_due_at), ("its status is asked for", order.track_due_at))
    return coming + [Coming(what, due_at) for what, due_at in clocks if due_at is not None]
