"""What a person was shown before deciding: nothing else is done than that, whatever happened in between; pure."""

import hashlib
from datetime import datetime
from typing import Any

from worker.domain.by_hand import Person, Refusal, WayOut
from worker.domain.decision import Decision
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder

CHANGED = Refusal("it has changed since this was shown: look at it once more")


def sight_of(order: ReturnOrder, outcome: Decision | Refusal | None) -> str:
    """A short mark of what a person is shown: the return as it is, and what would become of it.

    Moments, leases and the person's own words are not in it, so that an unchanged poll meanwhile makes no difference.
    """
    made = (outcome.outcome, _said(outcome.order)) if isinstance(outcome, Decision) else outcome
    return mark_of(order.id, _said(order), order.shop_changes, sorted(order.labels), made)


def mark_of(*shown: object) -> str:
    """A short mark of whatever is shown, by which it is told whether it has changed since."""
    return hashlib.sha256(repr(shown).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def as_seen(way_out: WayOut, sight: str) -> WayOut:
    """The same decision where it is still the one that was shown, by its mark; else `CHANGED`."""

    def decided(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
        outcome = way_out(order, person, now, policy)
        return outcome if sight_of(order, outcome) == sight else CHANGED

    return decided


def _said(order: ReturnOrder) -> tuple[Any, ...]:
    return (
        order.state,
        order.tracking_status,
        order.carrier_status,
        order.carrier_ref,
        order.to_adopt,
        order.error_code,
        order.error_message,
        order.label_error_code,
        order.in_doubt,
        order.cancel_requested_at is not None,
        order.retry_requested_at is not None,
    )
