"""What follows from a creation, and from looking one up whose answer was lost: at most one may ever exist."""

from datetime import datetime, timedelta

from worker.domain.decision import Decision, StepOutcome, Transition
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.outcomes import Created, Failed, FailureKind
from worker.domain.retrying import CODES, Context, again, counted, for_a_person, healthy, rejected, remark, to_state
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus

_STOPPED_LEAST, _STOPPED_MOST = timedelta(minutes=1), timedelta(minutes=15)
_ROUNDING = timedelta(seconds=1)  # SQLite keeps milliseconds; a look-up that is due must not count as too early


def created(context: Context, created: Created) -> Decision:
    """The carrier has it: its label and its status are followed from now on."""
    now, before = context.now, context.order
    status = created.update.status if created.update else TrackingStatus.PRE_TRANSIT
    carrier_status = created.update.carrier_status if created.update else None
    ladder = context.policy.ladder(status)
    first_look = ladder.next_at(now, 0, context.chance, before.pickup_date, latest=now + ladder.max_age)
    # What is known of an adopted one is only its number; and a withdrawal has waited for just this.
    at_once = created.adopted or before.cancel_requested_at is not None
    order = followed(before, created.carrier_ref, now)._replace(
        return_url=created.return_url,
        status_since=now,
        tracking_status=status,
        carrier_status=carrier_status,
        label_due_at=now if created.has_label else None,
        track_due_at=now if at_once else first_look,
    )
    reason = "found at the carrier by its reference, and adopted" if created.adopted else "created at the carrier"
    transitions = (
        Transition("state", before.state, State.TRACKING, reason=reason, raw=created.raw),
        Transition("tracking_status", before.tracking_status, status, carrier_status),
    )
    outcome = StepOutcome.ADOPTED if created.adopted else StepOutcome.CREATED
    return Decision(order, outcome, transitions, created.packages)


def followed(order: ReturnOrder, carrier_ref: str, now: datetime) -> ReturnOrder:
    """The row of a return that is known to be at the carrier, under this number."""
    started_at = order.create_started_at or now
    return healthy(order)._replace(
        state=State.TRACKING,
        carrier_ref=carrier_ref,
        followed_since=now,
        create_started_at=started_at,
        first_attempt_at=order.first_attempt_at or started_at,
        lookups=0,
        unchanged_polls=0,
    )


def after_failure(context: Context, failed: Failed) -> Decision:
    """A creation failed: it is sent again only when nothing can have reached the carrier; every doubt is settled first.

    It is settled by a look-up where the carrier can be searched, else by a person.
    """
    code, message = CODES[failed.kind], failed.message
    if failed.kind is FailureKind.NETWORK:
        return again(context, failed, code, message)
    if failed.kind is FailureKind.REFUSED:
        return rejected(context, code, message, failed.raw)
    decision = _in_doubt(with_intent(context), failed)
    return decision._replace(stop_sending=message) if failed.wrong_address else decision


def _in_doubt(context: Context, failed: Failed) -> Decision:
    code = ErrorCode.CREATE_OUTCOME_UNKNOWN
    if context.policy.resend_after is None:
        return for_a_person(context, code, failed.message, failed.raw)
    decision = counted(context, code, failed.message, failed.raw)
    if decision.order.state is not State.PENDING:
        return decision
    line = remark(context.order, "the creation was sent and its answer is lost: it is looked up", failed.raw)
    return decision._replace(order=decision.order._replace(lookups=0), transitions=(line,))


def not_sent(context: Context) -> Decision:
    """Its account sends no creations for now; it waits, uncounted, and is looked at again: the shop may withdraw it."""
    order, age = context.order, context.now - (context.order.created_at or context.now)
    wait = min(max(age / 4, _STOPPED_LEAST), _STOPPED_MOST)
    order = order._replace(
        error_code=ErrorCode.CARRIER_UNREACHABLE,
        error_message="nothing was sent: creations to this address are stopped; see `returns-worker accounts`",
        due_at=context.now + wait,
    )
    return Decision(order, StepOutcome.WAITING)


def absent(context: Context) -> Decision:
    """Not found. Only a second look-up, made when that creation cannot be sent any more, lets it be sent again.

    A worker that was stopped between committing its intent and sending may wake up and send, but not after its lease
    and one time limit; the carrier may list an order a little later than it makes it.
    """
    order, now, resend_after = context.order, context.now, context.policy.resend_after
    if resend_after is None or order.create_started_at is None:
        return for_a_person(context, ErrorCode.CREATE_OUTCOME_UNKNOWN, "not found, but this carrier cannot be searched")
    settled_at = order.create_started_at + resend_after
    looked_late = order.due_at is not None and order.due_at >= settled_at
    if order.lookups >= 1 and looked_late:
        line = remark(order, "looked up twice and not there: it is sent again")
        order = order._replace(create_started_at=None, lookups=0, failing_since=None, due_at=now)
        return Decision(order, StepOutcome.ABSENT, (line,))
    order = order._replace(
        lookups=order.lookups + 1,
        failing_since=None,
        error_code=ErrorCode.CREATE_OUTCOME_UNKNOWN,
        error_message="looked up and not there yet; it is looked up again before it may be sent again",
        due_at=max(now + resend_after / 2, settled_at + _ROUNDING),
    )
    return Decision(order, StepOutcome.ABSENT)


def restored(context: Context) -> Decision:
    """The database was set back or copied: what seems not to have been sent may have been, since the backup.

    A worker that may still be sending it began before now, so earlier look-ups count no longer.
    """
    context = with_intent(context.having(retry_requested_at=None, lookups=0))
    code = ErrorCode.CREATE_OUTCOME_UNKNOWN
    message = "the database was restored or copied; the return may have been created since the backup, or elsewhere"
    if context.policy.resend_after is None:
        return for_a_person(context, code, message)
    context = context.having(error_code=code, error_message=message, due_at=context.now)
    return to_state(context, State.PENDING, StepOutcome.WAITING, reason=f"{message}: it is looked up")


def with_intent(context: Context) -> Context:
    """The row was claimed before the intent was committed, and recording it as claimed would take the intent back.

    That of a doubtful row begins now: what the row says of an earlier one may not be all that happened.
    """
    order = context.order
    if order.to_adopt is not None:  # nothing is sent for it, and nothing was
        return context
    started_at = context.now if order.doubtful else order.create_started_at or context.now
    earliest = order.created_at if order.doubtful else None
    first = order.first_attempt_at or earliest or started_at
    return context.having(create_started_at=started_at, first_attempt_at=first)
