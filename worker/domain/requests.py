"""What a shop's request on a row comes to: a withdrawal or a retry, set by plain SQL at any moment."""

from worker.domain.errors import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.outcomes import NothingToDo, Outcome, PutBack, RequestRefused, Withdrawn
from worker.domain.returns import ReturnOrder

NEVER_SENT = "withdrawn before it was sent to the carrier"
NOTHING_THERE = "withdrawn; the return was rejected and nothing exists at the carrier"
NOT_TOLD = "withdrawn; the carrier offers no cancellation and was not told: it may still expect the parcel"


def settle_request(order: ReturnOrder) -> Outcome | None:
    """The outcome of what the shop asked for on this row, or None: the row goes on with its next step."""
    if order.cancel_requested_at is not None:
        return _withdrawal(order)
    if order.retry_requested_at is not None:
        if order.state is State.REJECTED:
            return PutBack()
        return RequestRefused(f"a retry was asked for, but the return is {order.state}, not rejected", cancel=False)
    return None if order.state in (State.PENDING, State.TRACKING) else NothingToDo()


def _withdrawal(order: ReturnOrder) -> Outcome | None:
    match order.state:
        case State.PENDING if order.create_started_at is not None:
            return None  # the creation has to be settled first
        case State.PENDING:
            return Withdrawn(NEVER_SENT)
        case State.REJECTED:
            return Withdrawn(NOTHING_THERE)
        case State.TRACKING:
            return Withdrawn(NOT_TOLD)
        case State.NEEDS_ATTENTION:
            return _withdrawal_of_held(order)
        case State.COMPLETED | State.CANCELLED:
            return RequestRefused(f"a withdrawal was asked for, but the return is already {order.state}", cancel=True)


def _withdrawal_of_held(order: ReturnOrder) -> Outcome:
    if order.carrier_ref is not None:
        return Withdrawn(NOT_TOLD)
    if order.create_started_at is None and order.error_code is not ErrorCode.CREATE_OUTCOME_UNKNOWN:
        return Withdrawn(NEVER_SENT)
    return NothingToDo()
