"""Decides what a row becomes from (row, outcome, now, policy, chance): no I/O, no clock, no randomness of its own."""

from datetime import datetime
from functools import partial

from worker.domain import adopting, creating, following, outcomes
from worker.domain.decision import Decision, StepOutcome
from worker.domain.error_codes import SET_ASIDE, ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import TURNED_AWAY, Failed, FailureKind, LabelReady, Outcome
from worker.domain.policy import Policy
from worker.domain.retrying import (
    CODES,
    MAX_MESSAGE,
    Context,
    account_waits,
    again,
    for_a_person,
    healthy,
    is_young,
    rejected,
    remark,
    to_state,
    without_label_trouble,
)
from worker.domain.returns import ReturnOrder


def decide(order: ReturnOrder, outcome: Outcome, now: datetime, policy: Policy, chance: float) -> Decision:
    """What becomes of `order` after `outcome`; `now` is on the database's clock, `chance` in [0, 1)."""
    context = Context(order, now, policy, chance)
    if order.doubtful and order.carrier_ref is None:
        context = creating.with_intent(context)  # recording it makes it look new, and the doubt must stay
    decision = _decided(context, outcome)
    return decision._replace(order=scheduled(decision.order), step=decision.step or order.next_step)


def _decided(context: Context, outcome: Outcome) -> Decision:
    match outcome:
        case outcomes.Created():
            return creating.created(context, outcome)
        case outcomes.Absent():
            return creating.absent(context)
        case outcomes.Ambiguous(message, raw):
            return for_a_person(context, ErrorCode.REFERENCE_NOT_UNIQUE, message, raw)
        case outcomes.Interrupted():
            message = "a worker stopped between sending the creation and recording its answer"
            return for_a_person(context, ErrorCode.CREATE_OUTCOME_UNKNOWN, message)
        case outcomes.Restored():
            return creating.restored(context)
        case outcomes.RefTaken(carrier_ref, raw):
            message = f"the carrier answered with {carrier_ref}, which another return already has"
            if context.order.to_adopt is not None:
                message = f"it was to be adopted as {carrier_ref}, which another return already has"
            return for_a_person(creating.with_intent(context), ErrorCode.CARRIER_REF_TAKEN, message, raw)
        case outcomes.Invalid(problems):
            return rejected(context, ErrorCode.INVALID_PAYLOAD, "; ".join(problems))
        case outcomes.SendingStopped():
            return creating.not_sent(context)
        case outcomes.Tracked():
            return following.tracked(context, outcome)
        case outcomes.Adopted():
            return adopting.adopted(context, outcome)
        case LabelReady():
            return _label_stored(context, outcome)
        case outcomes.LabelTrouble(code, message):
            return _label_trouble(context, ErrorCode(code), message)
        case Failed():
            return _failed(context, outcome)
        case outcomes.Poisoned():
            lost = context.order.state is State.PENDING and context.order.in_doubt
            code = ErrorCode.CREATE_OUTCOME_UNKNOWN if lost else ErrorCode.WORKER_CRASHED
            return _stuck(context, code, f"{context.order.claims - 1} claims in a row ended without a result")
        case outcomes.Unreadable(why):
            return _stuck(context, ErrorCode.UNREADABLE_ROW, why)
        case outcomes.NothingToDo():
            return Decision(context.order, StepOutcome.WAITING)
        case outcomes.Withdrawn(reason):
            return to_state(context, State.CANCELLED, StepOutcome.CANCELLED, reason=reason)._replace(step=Step.CANCEL)
        case outcomes.NotCancelled(failed):
            return _not_cancelled(context, failed)._replace(step=Step.CANCEL)
        case outcomes.PutBack():
            decision = to_state(context, State.PENDING, StepOutcome.PUT_BACK, reason="retry requested by the shop")
            order = healthy(decision.order, retry_requested_at=None, due_at=context.now)
            return decision._replace(order=order, step=Step.CANCEL)
        case outcomes.RequestRefused(reason, cancel):
            return _request_refused(context, reason, cancel=cancel)._replace(step=Step.CANCEL)


def _label_stored(context: Context, outcome: LabelReady) -> Decision:
    before, position = context.order, outcome.label.position
    # Shipments are numbered as they appear: with an older one still without its label, that one is the oldest missing.
    older = any(each.position < position and each.position not in before.labels for each in before.packages)
    order = without_label_trouble(
        before,
        label_due_at=context.now if outcome.more else None,
        label_sought_since=before.label_sought_since if older else None,
    )
    return Decision(order, StepOutcome.STORED, labels=(outcome.label,))


def _label_trouble(context: Context, code: ErrorCode, message: str) -> Decision:
    attempts = context.order.label_attempts + 1
    since = context.order.label_sought_since or context.order.followed_since or context.now
    backoff, age = context.policy.backoff, context.now - since
    # What we cannot store is our own trouble: a label must not wait long once that is over.
    wait = backoff.wait if code is ErrorCode.LABEL_NOT_STORED else partial(backoff.label_wait, age=age)
    order = context.order._replace(
        label_attempts=attempts,
        label_error_code=code,
        label_error_message=message[:MAX_MESSAGE],
        label_due_at=context.now + wait(attempts, chance=context.chance),
    )
    return Decision(order, StepOutcome.RETRYING)


def _failed(context: Context, failed: Failed) -> Decision:
    order = context.order
    if failed.kind in TURNED_AWAY:
        return account_waits(context, failed)
    if order.state is State.PENDING:
        if order.to_adopt is not None:
            return adopting.not_adopted(context, failed)
        if order.create_started_at is None:
            return creating.after_failure(context, failed)
        # The look-up itself failed: the creation stays in doubt, and nothing is sent.
        return again(context, failed, ErrorCode.CREATE_OUTCOME_UNKNOWN, f"the look-up failed: {failed.message}")
    code = CODES[failed.kind]
    if order.next_step is Step.LABEL:
        young = failed.kind is FailureKind.NOT_FOUND and is_young(context)
        return _label_trouble(context, ErrorCode.LABEL_NOT_READY if young else code, failed.message)
    if failed.kind is FailureKind.NOT_FOUND:
        return following.not_found(context, failed)
    return again(context, failed, code, failed.message)


def _stuck(context: Context, code: ErrorCode, message: str) -> Decision:
    """Its workers do not come back from it, or it cannot be read: a person looks, and it is not tried for ever."""
    order = context.order
    if order.state not in (State.PENDING, State.TRACKING):  # it was claimed for what was asked of it
        return _request_refused(context, message, cancel=True)
    if order.next_step is not Step.LABEL:
        return for_a_person(context, code, message)
    # A label never changes the state: it is no longer sought by itself, and the return is followed on.
    order = order._replace(label_due_at=None, label_error_code=code, label_error_message=message)
    return Decision(order, StepOutcome.NEEDS_ATTENTION)


def _not_cancelled(context: Context, failed: Failed) -> Decision:
    """A withdrawal that the carrier refuses is refused; one that did not get through is asked for again."""
    # Its own clock is the poll's, also where the row was claimed for another step.
    context = context.having(next_step=Step.TRACK, track_due_at=context.now)
    if failed.kind in TURNED_AWAY:
        return account_waits(context, failed)
    if failed.kind is FailureKind.REFUSED:
        return _request_refused(context, f"the carrier refuses the withdrawal: {failed.message}", cancel=True)
    message = f"the withdrawal did not get through: {failed.message}"
    decision = again(context, failed, CODES[failed.kind], message)
    if context.order.state is State.NEEDS_ATTENTION and decision.outcome is StepOutcome.NEEDS_ATTENTION:
        return _request_refused(context, message, cancel=True)  # a person has the return already
    return decision


def _request_refused(context: Context, reason: str, *, cancel: bool) -> Decision:
    order = context.order._replace(retry_requested_at=None)
    if cancel:
        order = order._replace(cancel_requested_at=None)
    return Decision(order, StepOutcome.REFUSED, (remark(order, reason[:MAX_MESSAGE]),))


def scheduled(order: ReturnOrder) -> ReturnOrder:
    """`due_at`, `next_step` and `label_sought_since` as they follow from the state and the row's clocks."""
    if (order.label_due_at is None) != (order.label_sought_since is None):
        # A search begins with a label that is due at once; one that was set aside is missing all the same.
        given_up = order.state is State.TRACKING and order.label_error_code in SET_ASIDE
        sought_since = order.label_due_at or (order.label_sought_since if given_up else None)
        order = order._replace(label_sought_since=sought_since)
    if order.state is State.PENDING:
        return order._replace(next_step=Step.CREATE, claims=0)
    if order.state is State.NEEDS_ATTENTION:  # due only for a withdrawal that the carrier has still to be told of
        track = order.track_due_at if order.cancel_requested_at is not None else None
        return order._replace(due_at=track, track_due_at=track, claims=0)
    if order.state is not State.TRACKING:
        return order._replace(due_at=None, claims=0)
    label, track = order.label_due_at, order.track_due_at or order.due_at
    if order.cancel_requested_at is not None:  # the withdrawal comes first, also where it is claimed for its label
        label = None
    if label is not None and (track is None or label <= track):
        return order._replace(next_step=Step.LABEL, due_at=label, claims=0)
    return order._replace(next_step=Step.TRACK, due_at=track, claims=0)
