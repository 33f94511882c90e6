"""Decides what a row becomes from (row, outcome, now, policy, chance): no I/O, no clock, no randomness of its own."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.decision import Decision, Hold, StepOutcome, Transition
from worker.domain.errors import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import (
    Created,
    Failed,
    FailureKind,
    Interrupted,
    Invalid,
    LabelReady,
    LabelTrouble,
    NothingToDo,
    Outcome,
    Poisoned,
    PutBack,
    RefTaken,
    RequestRefused,
    StoredLabel,
    Tracked,
    Withdrawn,
)
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

MAX_MESSAGE = 2000  # characters of error_message; a payload may break many rules at once


@dataclass(frozen=True, slots=True)
class _Context:
    order: ReturnOrder
    now: datetime
    policy: Policy
    chance: float


def decide(order: ReturnOrder, outcome: Outcome, now: datetime, policy: Policy, chance: float) -> Decision:
    """What becomes of `order` after `outcome`; `now` is on the database's clock, `chance` in [0, 1)."""
    context = _Context(order, now, policy, chance)
    match outcome:
        case Created():
            decision = _created(context, outcome)
        case Tracked(update):
            decision = _tracked(context, update)
        case LabelReady(label):
            decision = _label_ready(context, label)
        case LabelTrouble(code, message):
            decision = _label_trouble(context, ErrorCode(code), message)
        case Failed():
            decision = _failed(context, outcome)
        case Invalid(problems):
            decision = _rejected(context, ErrorCode.INVALID_PAYLOAD, "; ".join(problems))
        case Interrupted():
            decision = _held(
                context,
                ErrorCode.CREATE_OUTCOME_UNKNOWN,
                "a worker stopped between sending the creation and recording its answer",
            )
        case RefTaken(carrier_ref, raw):
            message = f"the carrier answered with {carrier_ref}, which another return already has"
            decision = _held(_with_intent(context), ErrorCode.CARRIER_REF_TAKEN, message, raw)
        case Poisoned():
            decision = _poisoned(context)
        case Withdrawn(reason):
            decision = _to_state(context, State.CANCELLED, StepOutcome.CANCELLED, reason=reason)
        case PutBack():
            decision = _put_back(context)
        case RequestRefused(reason, cancel):
            decision = _request_refused(context, reason, cancel=cancel)
        case NothingToDo():
            decision = Decision(order, StepOutcome.WAITING)
    return replace(decision, order=_scheduled(decision.order))


def _created(context: _Context, created: Created) -> Decision:
    now = context.now
    status = created.update.status if created.update else TrackingStatus.PRE_TRANSIT
    carrier_status = created.update.carrier_status if created.update else None
    ladder = context.policy.ladder(status)
    order = replace(
        _healthy(context.order),
        state=State.TRACKING,
        carrier_ref=created.carrier_ref,
        return_url=created.return_url,
        carrier_created_at=now,
        create_started_at=context.order.create_started_at or now,
        tracking_status=status,
        carrier_status=carrier_status,
        label_due_at=now if created.has_label else None,
        track_due_at=now + min(ladder.wait(0, context.chance), ladder.max_age),
    )
    transitions = (
        Transition("state", context.order.state, State.TRACKING, reason="created at the carrier", raw=created.raw),
        Transition("tracking_status", context.order.tracking_status, status, carrier_status),
    )
    return Decision(order, StepOutcome.CREATED, transitions, created.packages)


def _tracked(context: _Context, update: TrackingUpdate) -> Decision:
    before, now = context.order, context.now
    ladder = context.policy.ladder(update.status)
    changed = (update.status, update.carrier_status) != (before.tracking_status, before.carrier_status)
    created_at = before.carrier_created_at or now  # not known of a return that a person resolved
    transitions: tuple[Transition, ...] = ()
    if changed:
        transitions = (_observation(before, update),)
    order = replace(
        _healthy(before),
        tracking_status=update.status,
        carrier_status=update.carrier_status,
        unchanged_polls=0 if changed else before.unchanged_polls + 1,
        carrier_created_at=created_at,
    )
    if update.status.is_terminal:
        return _completed(order, transitions, f"the carrier says {update.carrier_status}")
    oldest = created_at + ladder.max_age
    if update.status is not TrackingStatus.PENDING and now >= oldest:
        expired = Transition(
            "tracking_status",
            update.status,
            TrackingStatus.EXPIRED,
            update.carrier_status,
            reason=f"nothing terminal within {ladder.max_age} of creation",
        )
        order = replace(order, tracking_status=TrackingStatus.EXPIRED)
        return _completed(order, (*transitions, expired), "expired")
    due = now + ladder.wait(order.unchanged_polls, context.chance)
    if update.status is not TrackingStatus.PENDING:
        due = min(due, oldest)
    outcome = StepOutcome.CHANGED if changed else StepOutcome.UNCHANGED
    return Decision(replace(order, track_due_at=due), outcome, transitions)


def _observation(before: ReturnOrder, update: TrackingUpdate) -> Transition:
    return Transition(
        "tracking_status",
        before.tracking_status,
        update.status,
        update.carrier_status,
        update.carrier_time,
        raw=update.raw,
    )


def _completed(order: ReturnOrder, transitions: tuple[Transition, ...], reason: str) -> Decision:
    done = Transition("state", order.state, State.COMPLETED, order.carrier_status, reason=reason)
    order = replace(order, state=State.COMPLETED, label_due_at=None, track_due_at=None)
    return Decision(order, StepOutcome.COMPLETED, (*transitions, done))


def _label_ready(context: _Context, label: StoredLabel) -> Decision:
    order = replace(context.order, label_due_at=None, label_attempts=0, label_error_code=None, label_error_message=None)
    return Decision(order, StepOutcome.STORED, labels=(label,))


def _label_trouble(context: _Context, code: ErrorCode, message: str) -> Decision:
    attempts = context.order.label_attempts + 1
    order = replace(
        context.order,
        label_attempts=attempts,
        label_error_code=code,
        label_error_message=message[:MAX_MESSAGE],
        label_due_at=context.now + context.policy.backoff.wait(attempts, context.chance),
    )
    return Decision(order, StepOutcome.RETRYING)


_CODES = {
    FailureKind.NETWORK: ErrorCode.CARRIER_UNREACHABLE,
    FailureKind.TIMEOUT: ErrorCode.CARRIER_TIMEOUT,
    FailureKind.SERVER_ERROR: ErrorCode.CARRIER_ERROR,
    FailureKind.THROTTLED: ErrorCode.CARRIER_BUSY,
    FailureKind.UNAUTHORIZED: ErrorCode.CARRIER_KEY_REFUSED,
    FailureKind.REFUSED: ErrorCode.CARRIER_REFUSED,
    FailureKind.NOT_FOUND: ErrorCode.CARRIER_LOST_IT,
    FailureKind.UNINTELLIGIBLE: ErrorCode.UNINTELLIGIBLE_ANSWER,
    FailureKind.OUTCOME_UNKNOWN: ErrorCode.CREATE_OUTCOME_UNKNOWN,
}
_OUTAGES = frozenset({FailureKind.NETWORK, FailureKind.TIMEOUT, FailureKind.SERVER_ERROR})


def _failed(context: _Context, failed: Failed) -> Decision:
    code, order = _CODES[failed.kind], context.order
    if failed.kind in (FailureKind.THROTTLED, FailureKind.UNAUTHORIZED):
        return _account_held(context, failed, code)
    message = failed.message
    if order.next_step is Step.LABEL:
        return _label_trouble(context, code, message)
    if order.state is State.PENDING:
        return _not_created(context, failed, code, message)
    if failed.kind in _OUTAGES:
        return _outage(context, code, message, failed)
    context = replace(context, order=replace(order, attempts=order.attempts + 1))
    if order.attempts + 1 >= context.policy.backoff.max_attempts:
        return _held(context, code, f"{order.attempts + 1} tries: {message}", failed.raw)
    return _retrying(context, code, message, context.policy.backoff.wait(order.attempts + 1, context.chance))


def _not_created(context: _Context, failed: Failed, code: ErrorCode, message: str) -> Decision:
    """A creation is sent again only when nothing can have reached the carrier; every doubt goes to a person."""
    if failed.kind is FailureKind.NETWORK:
        return _outage(context, code, message, failed)
    if failed.kind is FailureKind.REFUSED:
        return _rejected(context, code, message, failed.raw)
    return _held(_with_intent(context), ErrorCode.CREATE_OUTCOME_UNKNOWN, message, failed.raw)


def _poisoned(context: _Context) -> Decision:
    """Whatever it is about this row that its workers do not come back from, it must not be tried for ever."""
    order, message = context.order, f"{context.order.claims - 1} claims in a row ended without a result"
    if order.state is State.PENDING and order.create_started_at is not None:
        return _held(context, ErrorCode.CREATE_OUTCOME_UNKNOWN, message)
    if order.next_step is not Step.LABEL:
        return _held(context, ErrorCode.WORKER_CRASHED, message)
    # A label never changes the state: it is no longer sought by itself, and the return is followed on.
    code = ErrorCode.WORKER_CRASHED
    order = replace(order, label_due_at=None, label_error_code=code, label_error_message=message)
    return Decision(order, StepOutcome.NEEDS_ATTENTION)


def _outage(context: _Context, code: ErrorCode, message: str, failed: Failed) -> Decision:
    order = _cleared_intent(context.order)
    since = order.failing_since or context.now
    context = replace(context, order=replace(order, failing_since=since))
    failing_for = context.now - since
    if failing_for >= context.policy.backoff.give_up_after:
        return _held(context, code, f"since {since:%Y-%m-%d %H:%M} UTC: {message}", failed.raw)
    return _retrying(context, code, message, context.policy.backoff.outage_wait(failing_for, context.chance))


def _retrying(context: _Context, code: ErrorCode, message: str, wait: timedelta) -> Decision:
    order = replace(context.order, error_code=code, error_message=message[:MAX_MESSAGE])
    return Decision(_due(order, context.now + wait), StepOutcome.RETRYING)


def _account_held(context: _Context, failed: Failed, code: ErrorCode) -> Decision:
    """Turned away for now, or the key refused: the account waits; the return is not to blame and stays as it is."""
    order, policy = replace(_cleared_intent(context.order), failing_since=None), context.policy  # it did answer
    if failed.kind is FailureKind.UNAUTHORIZED:
        return Decision(order, StepOutcome.WAITING, hold=Hold(None, code, failed.message))
    asked = policy.busy_wait if failed.retry_after is None else failed.retry_after
    until = context.now + min(max(asked, policy.min_busy_wait), policy.max_busy_wait)
    return Decision(_due(order, until), StepOutcome.WAITING, hold=Hold(until, code, failed.message))


def _held(context: _Context, code: ErrorCode, message: str, raw: str | None = None) -> Decision:
    order = replace(context.order, error_code=code, error_message=message[:MAX_MESSAGE])
    context = replace(context, order=order)
    return _to_state(context, State.NEEDS_ATTENTION, StepOutcome.NEEDS_ATTENTION, reason=code, raw=raw)


def _rejected(context: _Context, code: ErrorCode, message: str, raw: str | None = None) -> Decision:
    order = replace(_cleared_intent(context.order), error_code=code, error_message=message[:MAX_MESSAGE])
    context = replace(context, order=order)
    return _to_state(context, State.REJECTED, StepOutcome.REJECTED, reason=code, raw=raw)


def _put_back(context: _Context) -> Decision:
    decision = _to_state(context, State.PENDING, StepOutcome.PUT_BACK, reason="retry requested by the shop")
    order = replace(_healthy(decision.order), retry_requested_at=None, due_at=context.now)
    return replace(decision, order=order)


def _request_refused(context: _Context, reason: str, *, cancel: bool) -> Decision:
    order = replace(context.order, retry_requested_at=None)
    if cancel:
        order = replace(order, cancel_requested_at=None)
    transition = Transition("state", order.state, order.state, order.carrier_status, reason=reason)
    return Decision(order, StepOutcome.REFUSED, (transition,))


def _to_state(
    context: _Context, state: State, outcome: StepOutcome, *, reason: str, raw: str | None = None
) -> Decision:
    before = context.order
    order = replace(before, state=state, label_due_at=None, track_due_at=None)
    if state is State.CANCELLED:
        order = replace(order, error_code=None, error_message=None, retry_requested_at=None)
    return Decision(
        order,
        outcome,
        (Transition("state", before.state, state, before.carrier_status, reason=reason, raw=raw),),
    )


def _healthy(order: ReturnOrder) -> ReturnOrder:
    return replace(order, attempts=0, failing_since=None, unchanged_polls=0, error_code=None, error_message=None)


def _cleared_intent(order: ReturnOrder) -> ReturnOrder:
    """Before the carrier has a number for it, an answer that proves nothing was created takes the intent back."""
    return order if order.carrier_ref is not None else replace(order, create_started_at=None)


def _with_intent(context: _Context) -> _Context:
    """The row was claimed before the intent was committed, and recording it as claimed would take the intent back."""
    started_at = context.order.create_started_at or context.now
    return replace(context, order=replace(context.order, create_started_at=started_at))


def _due(order: ReturnOrder, at: datetime) -> ReturnOrder:
    """The claimed step's own clock set to `at`."""
    if order.state is State.PENDING:
        return replace(order, due_at=at)
    return replace(order, label_due_at=at) if order.next_step is Step.LABEL else replace(order, track_due_at=at)


def _scheduled(order: ReturnOrder) -> ReturnOrder:
    """`due_at` and `next_step` as they follow from the state and the row's clocks."""
    if order.state is State.PENDING:
        return replace(order, next_step=Step.CREATE, claims=0)
    if order.state is not State.TRACKING:
        return replace(order, due_at=None, claims=0)
    label, track = order.label_due_at, order.track_due_at or order.due_at
    if label is not None and (track is None or label <= track):
        return replace(order, next_step=Step.LABEL, due_at=label, claims=0)
    return replace(order, next_step=Step.TRACK, due_at=track, claims=0)
