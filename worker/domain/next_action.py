"""What a claimed row comes to: its next step, or what follows from a shop's request, set by plain SQL at any moment."""

from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import NothingToDo, Outcome, PutBack, RequestRefused, Restored, Withdrawn
from worker.domain.returns import ReturnOrder

NEVER_SENT = "withdrawn before it was sent to the carrier"
NEVER_ADOPTED = "withdrawn before it was found at the carrier, which was not told: it may still expect the parcel"
NOTHING_THERE = "withdrawn; the return was rejected and nothing exists at the carrier"
NOT_TOLD = "withdrawn; the carrier offers no cancellation and was not told: it may still expect the parcel"
TOLD = "withdrawn; the carrier deleted it"
GONE_ALREADY = "withdrawn; the carrier does not know it any more"


def action_for(order: ReturnOrder, *, can_cancel: bool) -> Step | Outcome:
    """The step to do, or an outcome that needs none; `can_cancel` says whether the carrier takes a withdrawal."""
    asked = order.cancel_requested_at is not None or order.retry_requested_at is not None
    rests_on_nothing_there = order.state is State.PENDING or (order.state is State.REJECTED and asked)
    if order.doubtful and order.in_doubt and rests_on_nothing_there:
        return Restored()
    if order.cancel_requested_at is not None:
        return _withdrawal(order, Step.CANCEL if can_cancel else Withdrawn(NOT_TOLD))
    if order.retry_requested_at is not None:
        if order.state is State.REJECTED:
            return PutBack()
        return RequestRefused(f"a retry was asked for, but the return is {order.state}, not rejected", cancel=False)
    return order.next_step if order.state in (State.PENDING, State.TRACKING) else NothingToDo()


def _withdrawal(order: ReturnOrder, at_carrier: Step | Outcome) -> Step | Outcome:
    match order.state:
        case State.PENDING if order.create_started_at is not None or order.to_adopt is not None:
            return Step.CREATE  # whether the carrier has it has to be settled first
        case State.PENDING:
            return Withdrawn(NEVER_SENT)
        case State.REJECTED:
            return Withdrawn(NOTHING_THERE)
        case State.TRACKING:
            return at_carrier
        case State.NEEDS_ATTENTION if order.carrier_ref is not None:
            return at_carrier
        case State.NEEDS_ATTENTION:
            if order.in_doubt:
                return NothingToDo()
            return Withdrawn(NEVER_SENT if order.to_adopt is None else NEVER_ADOPTED)
        case State.COMPLETED | State.CANCELLED:
            return RequestRefused(f"a withdrawal was asked for, but the return is already {order.state}", cancel=True)
