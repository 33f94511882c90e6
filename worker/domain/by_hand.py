"""What a person may do to a return: retry, resolve, cancel, accept a label, ask, read its word again, erase; pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from worker.domain import following
from worker.domain.adopting import taken_over
from worker.domain.creating import with_intent
from worker.domain.decide import decide, scheduled
from worker.domain.decision import Decision, StepOutcome, Transition
from worker.domain.error_codes import SET_ASIDE, ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Adopted, Failed, Outcome, StoredLabel, Tracked
from worker.domain.policy import Policy
from worker.domain.retrying import Context, healthy, without_label_trouble
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides, and why; both go into the history."""

    name: str
    reason: str = ""

    @classmethod
    def of(cls, name: str, reason: str) -> "Person":
        """The same, in the length and on the one line that a history takes."""
        return cls(name[:100], " ".join(reason.split())[:500])

    @property
    def by(self) -> str:
        """By whom, and why."""
        return f"by {self.name}" + (f": {self.reason}" if self.reason else "")

    def signed(self, what: str) -> str:
        """What was decided, by whom, and why."""
        return f"{what}; {self.by}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The command makes no sense in this state; `reason` says what does."""

    reason: str


WayOut = Callable[[ReturnOrder, Person, datetime, Policy], Decision | Refusal]
"""A command on one return: `now` is on the database's clock, the policy is its account's."""


def retry(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
    """Do again what was rejected, or failed too often; never a creation that may have happened.

    Where the carrier can be searched, a creation in doubt is looked up once more.
    """
    again = healthy(order, retry_requested_at=None)
    if order.state is State.TRACKING and order.label_error_code in SET_ASIDE:
        return _made(order, _seeking_label(order, now), person, "its label is sought again", StepOutcome.PUT_BACK)
    if order.state not in (State.REJECTED, State.NEEDS_ATTENTION):
        return Refusal(f"it is {order.state}: only a return that is rejected or needs attention can be retried")
    if order.carrier_ref is not None:
        again = again._replace(state=State.TRACKING, track_due_at=now)
        again = again if order.labels else _seeking_label(again, now)
        return _made(order, again, person, "followed again", StepOutcome.PUT_BACK)
    again = again._replace(state=State.PENDING, due_at=now)
    if not order.in_doubt:
        to_be = "created" if order.to_adopt is None else f"adopted as {order.to_adopt}"
        return _made(order, again, person, f"put back to be {to_be}", StepOutcome.PUT_BACK)
    if policy.resend_after is None:
        return Refusal(
            "its creation may have happened and this carrier cannot be searched: look for it there, then `resolve` it,"
            " by its number or as not created"
        )
    return _made(order, _looked_up(again, now, policy), person, "looked up again", StepOutcome.PUT_BACK)


def found(carrier_ref: str) -> WayOut:
    """A person found the return at the carrier, under this number: it is adopted and followed."""

    def resolve(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
        wrong = order.carrier_ref is not None and order.tracking_status is None  # given by a person, never confirmed
        if order.carrier_ref is not None and (not wrong or order.carrier_ref == carrier_ref):
            return Refusal(f"it is at the carrier already, as {order.carrier_ref}")
        open_question = order.state in (State.NEEDS_ATTENTION, State.REJECTED) or (
            order.state is State.PENDING and order.in_doubt
        )
        if not open_question and not (wrong and order.state is State.TRACKING):
            return Refusal(f"it is {order.state}: there is no creation to resolve")
        after = taken_over(order, carrier_ref, now)
        return _made(order, after, person, f"resolved: it is {carrier_ref} at the carrier", StepOutcome.ADOPTED)

    return resolve


def brought_in(
    order: ReturnOrder, now: datetime, *, seen: Tracked | None, person: Person, policy: Policy, chance: float
) -> Decision:
    """A person says of a return that is `to_adopt` that the carrier has it; `seen` is what that says, None: unasked."""
    number = order.to_adopt or ""
    if seen is None:
        what = f"believed to be at the carrier already, as {number}: adopted unasked, and not created"
        return _made(order, taken_over(order, number, now), person, what, StepOutcome.ADOPTED)
    decision = decide(order, Adopted(number, seen), now, policy, chance)
    line, *news = decision.transitions
    return decision._replace(transitions=(replace(line, reason=person.signed(line.reason or "")), *news))


def unless_numbered(way_out: WayOut) -> WayOut:
    """Leave alone what has a number by now, though it may be a person's, which `found` corrects."""

    def resolve(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
        if order.carrier_ref is not None:
            said = f"it is at the carrier by now, as {order.carrier_ref}"
            return Refusal(f"{said}: correct that by resolving it by itself")
        return way_out(order, person, now, policy)

    return resolve


def not_created(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
    """A person looked and nothing is there: it may be sent again, once the lost creation cannot be sent any more."""
    if order.carrier_ref is not None:
        return Refusal(f"it is at the carrier, as {order.carrier_ref}; withdraw it, and insert a new one")
    if order.state not in (State.PENDING, State.NEEDS_ATTENTION, State.REJECTED) or not order.in_doubt:
        return Refusal(f"it is {order.state} and no creation of it is in doubt")
    begun = max((at for at in (order.create_started_at, order.doubtful_since) if at is not None), default=None)
    settled_at = begun + policy.settles_after if begun is not None else now
    if now < settled_at:
        return Refusal(
            f"a worker that was stopped may still send it until {settled_at:%Y-%m-%d %H:%M:%S} UTC: look once more then"
        )
    after = healthy(order, state=State.PENDING, due_at=now, retry_requested_at=None)
    after = after._replace(create_started_at=None, first_attempt_at=None, lookups=0)
    return _made(order, after, person, "resolved: nothing is at the carrier", StepOutcome.PUT_BACK)


def cancel(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
    """Withdraw it: at the carrier where that takes it, else it is followed no longer."""
    if order.state in (State.COMPLETED, State.CANCELLED):
        return Refusal(f"it is already {order.state}")
    if order.cancel_requested_at is not None and order.state is not State.NEEDS_ATTENTION:
        return Refusal("its withdrawal has been asked for already")
    to_be_settled = order.state in (State.NEEDS_ATTENTION, State.REJECTED) or order.doubtful
    if not (order.in_doubt and to_be_settled):
        asked = order._replace(cancel_requested_at=now)
        if order.state is State.NEEDS_ATTENTION:  # where an earlier one did not get through, no trigger makes it due
            asked = asked._replace(track_due_at=now)
        return _made(order, asked, person, "withdrawal asked for", StepOutcome.WAITING)
    if policy.resend_after is not None:
        asked = _looked_up(healthy(order, state=State.PENDING, due_at=now, cancel_requested_at=now), now, policy)
        return _made(order, asked, person, "looked up again, to be withdrawn", StepOutcome.PUT_BACK)
    after = healthy(order, state=State.CANCELLED, retry_requested_at=None)
    what = "withdrawn while its creation was in doubt: the carrier may have it and was not told"
    return _made(order, after, person, what, StepOutcome.CANCELLED)


def retired(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
    """Its account ends, and the carrier is asked no more; a creation that may have happened is left to a person."""
    if order.state is State.TRACKING:
        over = healthy(order, state=State.COMPLETED, label_due_at=None, track_due_at=None)
        over = over._replace(tracking_status=TrackingStatus.EXPIRED, status_since=now)
        decision = _made(order, over, person, "its account is retired: followed no longer", StepOutcome.COMPLETED)
        before, after, why = order.tracking_status, TrackingStatus.EXPIRED, decision.transitions[0].reason
        expired = Transition("tracking_status", before, after, order.carrier_status, reason=why)
        return decision._replace(transitions=(expired, *decision.transitions))
    if order.in_doubt and order.state is State.PENDING:
        message = "its account was retired while its creation was in doubt"
        asked = order._replace(error_code=ErrorCode.CREATE_OUTCOME_UNKNOWN, error_message=message)
        asked = asked._replace(state=State.NEEDS_ATTENTION)
        what = "its account is retired while its creation is in doubt: look for it at the carrier, then cancel it"
        return _made(order, asked, person, what, StepOutcome.NEEDS_ATTENTION)
    if order.in_doubt and order.state is State.NEEDS_ATTENTION:
        return Refusal("its creation may have happened: look for it at the carrier, then cancel it")
    if order.state not in (State.PENDING, State.NEEDS_ATTENTION):
        return Refusal(f"it is {order.state}: nothing is left to be done")
    gone = healthy(order, state=State.CANCELLED, retry_requested_at=None)
    told = "nothing was sent" if order.carrier_ref is None else "the carrier was not told"
    what = f"its account is retired: {told}"
    return _made(order, gone, person, what, StepOutcome.CANCELLED)


def accepted(label: StoredLabel) -> WayOut:
    """Take as label what was refused; it lies in the label store by now. Other labels are sought on."""

    def accept(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
        if order.carrier_ref is None:
            return Refusal(f"it is {order.state} and not at the carrier, so it has no label")
        after = without_label_trouble(order, label_due_at=None)
        if any(each.position not in order.labels | {label.position} for each in order.packages):
            # Whether that package has a label of its own is the carrier's to say, with its status.
            after = after._replace(track_due_at=order.track_due_at and min(order.track_due_at, now))
        what = f"label {label.position} taken as it is ({label.media_type}, {label.byte_count} bytes)"
        return _made(order, after, person, what, StepOutcome.STORED)._replace(labels=(label,), step=Step.LABEL)

    return accept


def asked_about(
    order: ReturnOrder, outcome: Outcome, person: Person, now: datetime, policy: Policy, chance: float
) -> Decision:
    """What follows from an answer that a person asked for, out of turn; who it was is said where anything changes."""
    decision = decide(order._replace(next_step=Step.TRACK), outcome, now, policy, chance)
    if isinstance(outcome, Failed) and order.state is State.COMPLETED:  # nothing was learned of it
        return Decision(scheduled(order), decision.outcome, hold=decision.hold)
    lines = (replace(line, reason=person.signed(line.reason or "asked now")) for line in decision.transitions)
    # What has killed its workers may kill the next one too: that a person got an answer is no sign against it.
    return decision._replace(order=decision.order._replace(claims=order.claims), transitions=tuple(lines))


def remapped(meanings: Callable[[str], frozenset[TrackingStatus]], chance: Callable[[], float]) -> WayOut:
    """Read a followed return's word by a map that has changed; `meanings` is what a word may stand for by it.

    Where the word alone does not tell, the carrier is asked again.
    """

    def remap(order: ReturnOrder, person: Person, now: datetime, policy: Policy) -> Decision | Refusal:
        if order.state is not State.TRACKING or order.carrier_status is None:
            return Refusal(f"it is {order.state}: there is no word to be read again")
        if order.cancel_requested_at is not None or order.retry_requested_at is not None:
            return Refusal("something else was asked of it, which a worker has to answer first: try again")
        possible = meanings(order.carrier_status)
        if order.tracking_status in possible:
            return Refusal(f"{order.carrier_status} means {order.tracking_status} already")
        if len(possible) > 1:
            again = order._replace(track_due_at=now)
            return _made(order, again, person, "asked again, since the map has changed", StepOutcome.PUT_BACK)
        (status,) = possible
        update = TrackingUpdate(status, order.carrier_status, reason=person.signed("read by a changed map"))
        context = Context(order, now, policy, chance())
        decision = following.tracked(context, Tracked(update))
        after = decision.order
        if after.state is State.TRACKING:
            # Nothing was heard of the carrier: what fails still fails, and the questions are spread over time.
            ladder = policy.ladder(after.tracking_status)
            due_at = ladder.next_at(now, order.unchanged_polls, context.chance, order.pickup_date)
            after = after._replace(
                attempts=order.attempts,
                failing_since=order.failing_since,
                error_code=order.error_code,
                error_message=order.error_message,
                unchanged_polls=order.unchanged_polls,
                track_due_at=due_at if order.track_due_at is None else min(order.track_due_at, due_at),
            )
        return decision._replace(order=scheduled(after))

    return remap


def may_be_asked_about(order: ReturnOrder) -> Refusal | None:
    """Why the carrier cannot, or should not, be asked about it; None: it can."""
    if order.unreadable is not None:
        return Refusal(order.unreadable)
    if order.state is State.NEEDS_ATTENTION and order.carrier_ref is not None:
        return Refusal("it needs attention: `retry` follows it again, from now on")
    if order.state not in (State.TRACKING, State.COMPLETED):
        return Refusal(f"it is {order.state}: there is nothing to ask the carrier about")
    if order.cancel_requested_at is not None:
        return Refusal("its withdrawal has been asked for")
    return None


def may_be_erased(order: ReturnOrder) -> Refusal | None:
    """Why its personal data is still needed, and what comes first; None: it may be erased."""
    if order.unreadable is not None:
        return Refusal(order.unreadable)
    if order.state is State.NEEDS_ATTENTION:
        return Refusal("it needs attention: `retry`, `resolve` or `cancel` it first (`show` says about what)")
    if order.state in (State.PENDING, State.TRACKING):
        return Refusal(f"it is {order.state}: only what is over is erased; `cancel` withdraws it")
    if order.state is State.REJECTED and order.in_doubt:
        return Refusal("its creation may have happened: look for it at the carrier, then `resolve` or `cancel` it")
    if order.due_at is not None:
        return Refusal("something was asked of it, which a worker has to answer first: try again")
    return None


def _seeking_label(order: ReturnOrder, now: datetime) -> ReturnOrder:
    return without_label_trouble(order, label_due_at=now)


def _looked_up(order: ReturnOrder, now: datetime, policy: Policy) -> ReturnOrder:
    """With its intent, so that the next step is a look-up; both look-ups are made once more."""
    return with_intent(Context(order, now, policy, 0.0)).order._replace(lookups=0)


def _made(before: ReturnOrder, after: ReturnOrder, person: Person, what: str, outcome: StepOutcome) -> Decision:
    line = Transition("state", before.state, after.state, before.carrier_status, reason=person.signed(what))
    return Decision(scheduled(after), outcome, (line,))
