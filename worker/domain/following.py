"""What follows from an answer about a return that the carrier has: where it is, until nothing further is expected.

A late answer can meet the next question on the same connection, and a gateway can mix answers up. Where a status names
label codes (Izipack's does), those of another return's creation show it. Codes that no creation brought show nothing:
nothing documents that a status repeats the creation's. They are kept as the packages' tracking numbers, and known from
then on.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from worker.domain.cadence import spoken
from worker.domain.decision import Decision, StepOutcome, Transition
from worker.domain.error_codes import SET_ASIDE, ErrorCode
from worker.domain.lifecycle import State
from worker.domain.outcomes import Failed, Tracked
from worker.domain.policy import LOST_AFTER
from worker.domain.retrying import Context, for_a_person, healthy, is_young, retrying
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

REOPENED = "the carrier says that it is still under way"


def tracked(context: Context, seen: Tracked) -> Decision:
    """The carrier said where it is; what changed is recorded, and the next look depends on that."""
    before, now = context.order, context.now
    # Without news it stays where it is; a return that never had a status is where its creation left it.
    stays = TrackingUpdate(before.tracking_status or TrackingStatus.PRE_TRANSIT, before.carrier_status)
    update = seen.update or stays
    if before.state is State.COMPLETED and _says_nothing_new(before, update):
        return Decision(before, StepOutcome.UNCHANGED)
    changed = (update.status, update.carrier_status) != (before.tracking_status, before.carrier_status)
    order = healthy(
        _with_labels(context, seen, update.status),
        return_url=before.return_url or seen.return_url,
        tracking_status=update.status,
        carrier_status=update.carrier_status,
        unchanged_polls=0 if changed else before.unchanged_polls + (0 if _is_early(context) else 1),
        followed_since=_followed_since(context, update.status),
        # An older version did not say when it got its status: its stay must not end too early.
        status_since=(before.status_since or now) if update.status is before.tracking_status else now,
    )
    decision = _followed_on(context._replace(order=order), before, update, changed=changed)
    news = tuple(package for package in seen.packages if package not in before.packages)
    strange = strange_codes(before, seen)
    return decision._replace(packages=news + _packages_with(before, strange), unknown_codes=tuple(strange.values()))


def strange_codes(order: ReturnOrder, seen: Tracked) -> Mapping[int, str]:
    """The codes that the answer names and the return has not on record, by the place of their package in the answer."""
    own = {code for each in order.packages for code in (each.label_code, each.tracking_number) if code}
    if all(code in own for _, code in seen.codes):  # nearly always
        return {}
    known = {_folded(code) for code in own}
    return {position: code for position, code in seen.codes if _folded(code) not in known}


def _folded(code: str) -> str:
    return "".join(code.split()).casefold()


def _packages_with(order: ReturnOrder, strange: Mapping[int, str]) -> tuple[PackageInfo, ...]:
    """The packages that get a strange code as their tracking number, by their place; where there is none, a new one."""
    known = {package.position: package for package in order.packages}
    return tuple(
        replace(known.get(position) or PackageInfo(position), tracking_number=code)
        for position, code in strange.items()
    )


def not_found(context: Context, failed: Failed) -> Decision:
    """The carrier does not know it: not yet, while it is young; later it is asked again slowly; then a person looks."""
    order, now, backoff = context.order, context.now, context.policy.backoff
    if order.state is State.COMPLETED or _is_early(context):  # asked out of turn: that counts for nothing
        return Decision(order, StepOutcome.UNCHANGED)
    if is_young(context):
        ladder = context.policy.ladder(order.tracking_status)
        due_at = ladder.next_at(now, order.unchanged_polls, context.chance, order.pickup_date)
        return Decision(order._replace(failing_since=None, track_due_at=due_at), StepOutcome.UNCHANGED)
    code = ErrorCode.CARRIER_LOST_IT
    times = order.attempts + 1 if order.error_code is code else 1
    context = context.having(attempts=times)  # failing in between must come to an end as well
    if times >= LOST_AFTER:
        return for_a_person(context, code, f"asked {times} times: {failed.message}", failed.raw)
    return retrying(context, code, failed.message, backoff.not_found_again(context.chance))


def _is_early(context: Context) -> bool:
    """Seen in passing, or because a person asks, before its time: no step up the ladder, which would make it late.

    Where polls wait for each other, one whose time has nearly come is asked about with the others.
    """
    order, due_at = context.order, context.order.track_due_at
    nearly = context.policy.ladder(order.tracking_status).company(order.unchanged_polls)
    return order.state is State.COMPLETED or (due_at is not None and due_at > context.now + nearly)


def _says_nothing_new(before: ReturnOrder, update: TrackingUpdate) -> bool:
    """Whether an answer about a completed return leaves all as it is: we, not the carrier, call a return expired."""
    if before.tracking_status is TrackingStatus.EXPIRED and update.status.is_terminal:
        return update.status is TrackingStatus.EXPIRED
    if update.carrier_status != before.carrier_status:
        return False
    return before.tracking_status is TrackingStatus.EXPIRED or update.status is before.tracking_status


def _followed_on(context: Context, before: ReturnOrder, update: TrackingUpdate, *, changed: bool) -> Decision:
    order, now, status = context.order, context.now, update.status
    transitions = (_observation(before, update),) if changed else ()
    if status.is_terminal:
        return _completed(order, transitions, update.reason or f"the carrier says {update.carrier_status}")
    if before.state is State.COMPLETED:
        reopened = Transition("state", before.state, State.TRACKING, update.carrier_status, reason=REOPENED)
        seeking = order.label_due_at if order.labels else now
        order = order._replace(state=State.TRACKING, label_due_at=seeking)
        transitions = (*transitions, reopened)
    ladder = context.policy.ladder(status)
    # Before there is a shipment only the customer's link can run out.
    ends = context.policy.judges_ages and (status not in context.policy.open_ended or update.link_over)
    too_old = (order.followed_since or now) + ladder.max_age
    stayed = (order.status_since or now) + ladder.max_stay if ladder.max_stay is not None else too_old
    ends_at = min(too_old, stayed) if ends else None
    if ends_at is not None and now >= ends_at:
        beginning = "its first shipment" if order.return_url is not None else "creation"
        why = f"nothing terminal within {spoken(ladder.max_age)} of {beginning}"
        if ladder.max_stay is not None and stayed < too_old:
            why = f"{status} for longer than {spoken(ladder.max_stay)}"
        expired = Transition("tracking_status", status, TrackingStatus.EXPIRED, update.carrier_status, reason=why)
        order = order._replace(tracking_status=TrackingStatus.EXPIRED, status_since=now)
        return _completed(order, (*transitions, expired), "expired")
    due = ladder.next_at(now, order.unchanged_polls, context.chance, order.pickup_date, latest=ends_at)
    outcome = StepOutcome.CHANGED if changed else StepOutcome.UNCHANGED
    return Decision(order._replace(track_due_at=due), outcome, transitions)


def _followed_since(context: Context, status: TrackingStatus) -> datetime:
    """Since when `max_age` runs: before there is a shipment only the customer's link can run out."""
    before, now, open_ended = context.order, context.now, context.policy.open_ended
    if before.followed_since is None or before.state is State.COMPLETED:  # resolved by a person, or reopened
        return now
    sets_out = before.tracking_status in open_ended and status not in open_ended
    return now if sets_out and not before.packages else before.followed_since  # once, even if it goes back and forth


def _with_labels(context: Context, seen: Tracked, status: TrackingStatus) -> ReturnOrder:
    """Labels that appeared since are sought from now on; but not again one that was set aside."""
    order = context.order
    if order.label_error_code in SET_ASIDE:
        return order
    if status in context.policy.open_ended:  # no shipment, so no label: one that a person resolved seeks it
        return order._replace(label_due_at=None, label_error_code=None, label_error_message=None)
    if order.label_due_at is not None or seen.labels <= order.labels:
        return order
    return order._replace(label_due_at=context.now, label_attempts=0)


def _observation(before: ReturnOrder, update: TrackingUpdate) -> Transition:
    went_back = f"after {before.tracking_status}" if update.status.goes_back_from(before.tracking_status) else None
    return Transition(
        "tracking_status",
        before.tracking_status,
        update.status,
        update.carrier_status,
        update.carrier_time,
        reason="; ".join(filter(None, (update.reason, went_back))) or None,
        raw=update.raw,
    )


def _completed(order: ReturnOrder, transitions: tuple[Transition, ...], reason: str) -> Decision:
    if order.state is State.COMPLETED:  # a person asked about it again, and it came to another end
        return Decision(order, StepOutcome.CHANGED, transitions)
    done = Transition("state", order.state, State.COMPLETED, order.carrier_status, reason=reason)
    order = order._replace(state=State.COMPLETED, label_due_at=None, track_due_at=None)
    return Decision(order, StepOutcome.COMPLETED, (*transitions, done))
