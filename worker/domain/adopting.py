"""What follows where a return is at the carrier already: it is taken over under its number, and nothing is created."""

from datetime import datetime

from worker.domain import following
from worker.domain.creating import followed
from worker.domain.decision import Decision, StepOutcome, Transition
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.next_action import GONE_ALREADY
from worker.domain.outcomes import Adopted, Failed, FailureKind
from worker.domain.retrying import CODES, Context, again, for_a_person, to_state, without_label_trouble
from worker.domain.returns import ReturnOrder


def taken_over(order: ReturnOrder, carrier_ref: str, now: datetime) -> ReturnOrder:
    """The row of a return that is there under this number: both its label and its status are asked for now."""
    after = without_label_trouble(followed(order, carrier_ref, now), label_due_at=now)
    return after._replace(status_since=None, track_due_at=now, retry_requested_at=None)


def adopted(context: Context, outcome: Adopted) -> Decision:
    """The carrier has it; what it answered is recorded as that of a first poll is."""
    before, now = context.order, context.now
    reason = f"it is at the carrier already, as {outcome.carrier_ref}: adopted, and not created"
    line = Transition("state", before.state, State.TRACKING, reason=reason)
    order = taken_over(before, outcome.carrier_ref, now)
    if before.cancel_requested_at is not None:  # the next step tells the carrier, wherever the parcel is
        return Decision(order, StepOutcome.ADOPTED, (line,))
    polled = following.tracked(context._replace(order=order), outcome.seen)
    after = polled.order
    if after.state is State.COMPLETED:  # one change of state at a time: the poll that follows at once ends it
        after = after._replace(state=State.TRACKING, label_due_at=now, track_due_at=now)
    news = tuple(each for each in polled.transitions if each.field == "tracking_status")
    # Its label codes are new to us because it is: no sign of a mixed-up answer, unlike those of a return of ours.
    return Decision(after, StepOutcome.ADOPTED, (line, *news), polled.packages)


def not_adopted(context: Context, failed: Failed) -> Decision:
    """The carrier does not know the number, which only a person can put right; or it did not answer."""
    order = context.order
    if failed.kind is not FailureKind.NOT_FOUND:
        return again(context, failed, CODES[failed.kind], failed.message)
    if order.cancel_requested_at is not None:
        gone = to_state(context, State.CANCELLED, StepOutcome.CANCELLED, reason=GONE_ALREADY)
        return gone._replace(step=Step.CANCEL)
    message = f"the carrier does not know {order.to_adopt}, under which it was to be adopted: {failed.message}"
    return for_a_person(context, ErrorCode.CARRIER_LOST_IT, message, failed.raw)
