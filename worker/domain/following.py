"""What follows from an answer about a return that the carrier has: where it is, until nothing further is expected."""

from dataclasses import replace
from datetime import datetime

from worker.domain.decision import Decision, StepOutcome, Transition
from worker.domain.errors import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.outcomes import Tracked
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.domain.verdicts import Context, healthy


def tracked(context: Context, seen: Tracked) -> Decision:
    """The carrier said where it is; what changed is recorded, and the next look depends on that."""
    before, update, now = context.order, seen.update, context.now
    changed = (update.status, update.carrier_status) != (before.tracking_status, before.carrier_status)
    # Seen in passing before its time: a look too, but no step up the ladder, which would make the next one late.
    early = before.track_due_at is not None and before.track_due_at > now
    order = replace(
        healthy(_with_labels(before, seen, now)),
        return_url=before.return_url or seen.return_url,
        tracking_status=update.status,
        carrier_status=update.carrier_status,
        unchanged_polls=0 if changed else before.unchanged_polls + (0 if early else 1),
        followed_since=_followed_since(before, update.status, now),
    )
    decision = _followed_on(replace(context, order=order), before, update, changed=changed)
    news = tuple(package for package in seen.packages if package not in before.packages)
    return replace(decision, packages=news)


def _followed_on(context: Context, before: ReturnOrder, update: TrackingUpdate, *, changed: bool) -> Decision:
    order, now, status = context.order, context.now, update.status
    transitions = (_observation(before, update),) if changed else ()
    if status.is_terminal:
        return _completed(order, transitions, update.reason or f"the carrier says {update.carrier_status}")
    ladder = context.policy.ladder(status)
    oldest = (order.followed_since or now) + ladder.max_age
    if status is not TrackingStatus.PENDING and now >= oldest:
        reason = f"nothing terminal within {ladder.max_age} of {_beginning(order)}"
        expired = Transition("tracking_status", status, TrackingStatus.EXPIRED, update.carrier_status, reason=reason)
        order = replace(order, tracking_status=TrackingStatus.EXPIRED)
        return _completed(order, (*transitions, expired), "expired")
    due = now + ladder.wait(order.unchanged_polls, context.chance)
    if status is not TrackingStatus.PENDING:
        due = min(due, oldest)
    outcome = StepOutcome.CHANGED if changed else StepOutcome.UNCHANGED
    return Decision(replace(order, track_due_at=due), outcome, transitions)


def _followed_since(before: ReturnOrder, status: TrackingStatus, now: datetime) -> datetime:
    """Since when `max_age` runs: before there is a shipment only the customer's link can run out."""
    if before.followed_since is None:  # not known of a return that a person resolved
        return now
    has_set_out = before.tracking_status is TrackingStatus.PENDING and status is not TrackingStatus.PENDING
    return now if has_set_out else before.followed_since


def _beginning(order: ReturnOrder) -> str:
    return "its first shipment" if order.return_url is not None else "creation"


def _with_labels(order: ReturnOrder, seen: Tracked, now: datetime) -> ReturnOrder:
    """Labels that appeared since are sought from now on; but not again one that killed its workers."""
    if order.label_error_code is ErrorCode.WORKER_CRASHED:
        return order
    if seen.update.status is TrackingStatus.PENDING:  # no shipment, so no label: one that a person resolved seeks it
        return replace(order, label_due_at=None, label_error_code=None, label_error_message=None)
    if order.label_due_at is not None or seen.labels <= order.labels:
        return order
    return replace(order, label_due_at=now, label_attempts=0)


def _observation(before: ReturnOrder, update: TrackingUpdate) -> Transition:
    return Transition(
        "tracking_status",
        before.tracking_status,
        update.status,
        update.carrier_status,
        update.carrier_time,
        reason=update.reason,
        raw=update.raw,
    )


def _completed(order: ReturnOrder, transitions: tuple[Transition, ...], reason: str) -> Decision:
    done = Transition("state", order.state, State.COMPLETED, order.carrier_status, reason=reason)
    order = replace(order, state=State.COMPLETED, label_due_at=None, track_due_at=None)
    return Decision(order, StepOutcome.COMPLETED, (*transitions, done))
