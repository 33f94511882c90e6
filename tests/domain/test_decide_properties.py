"""What holds for every row, every outcome and every policy."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.cases import (
    NOW,
    OPEN_STATUSES,
    chances,
    every_meeting,
    meetings,
    pending,
    policies,
    problems,
    tracking,
    updates,
)
from worker.domain.cadence import Ladder
from worker.domain.circuits import Breaker, Health, after, is_well
from worker.domain.decide import decide
from worker.domain.decision import StepOutcome
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import MAY_BECOME, State, Step
from worker.domain.next_action import action_for
from worker.domain.outcomes import (
    Absent,
    Created,
    Failed,
    FailureKind,
    Interrupted,
    NotCancelled,
    Outcome,
    SendingStopped,
    Tracked,
)
from worker.domain.policy import Policy
from worker.domain.ramp import Ramp
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

Meeting = tuple[ReturnOrder, Outcome]
SAFE_TO_SEND_AGAIN = {FailureKind.NETWORK, FailureKind.THROTTLED, FailureKind.UNAUTHORIZED}


@given(meetings(), policies, chances)
@settings(max_examples=60)
def test_no_decision_breaks_a_check_of_the_database(meeting: Meeting, policy: Policy, chance: float) -> None:
    assert problems(decide(*meeting, NOW, policy, chance)) == []


@given(meetings(), policies, chances)
@settings(max_examples=60)
def test_a_state_changes_only_as_the_lifecycle_says_and_the_history_says_so(
    meeting: Meeting, policy: Policy, chance: float
) -> None:
    before, _ = meeting
    decision = decide(*meeting, NOW, policy, chance)
    after = decision.order
    assert after.state is before.state or after.state in MAY_BECOME[before.state]
    changes = [(t.old_value, t.new_value) for t in decision.transitions if t.field == "state"]
    if after.state is before.state:
        assert all(old == new for old, new in changes)
    else:
        assert changes == [(before.state, after.state)]


@given(meetings(), policies, chances)
@settings(max_examples=60)
def test_the_history_of_the_tracking_status_has_no_gap(meeting: Meeting, policy: Policy, chance: float) -> None:
    before, _ = meeting
    decision = decide(*meeting, NOW, policy, chance)
    value: str | None = before.tracking_status
    for transition in decision.transitions:
        if transition.field == "tracking_status":
            assert transition.old_value == value
            value = transition.new_value
    assert value == decision.order.tracking_status


@given(meetings(), policies, chances)
@settings(max_examples=60)
def test_a_creation_that_may_have_been_sent_is_never_sent_again(
    meeting: Meeting, policy: Policy, chance: float
) -> None:
    """Pending with the intent cleared is what the loop sends; only an answer that proves nothing leads there."""
    before, outcome = meeting
    after = decide(*meeting, NOW, policy, chance).order
    if before.state is not State.PENDING or after.state is not State.PENDING or after.create_started_at is not None:
        return
    if before.create_started_at is None:
        refused = isinstance(outcome, Failed) and outcome.kind in SAFE_TO_SEND_AGAIN
        harmless = refused or isinstance(outcome, SendingStopped)  # which is known before anything is sent
        only_asked = before.to_adopt is not None  # nothing is ever sent for it
        assert harmless or only_asked or before.retry_requested_at is not None
        return
    assert isinstance(outcome, Absent)
    assert before.lookups >= 1
    assert policy.resend_after is not None
    assert before.due_at is not None
    assert before.due_at >= before.create_started_at + policy.resend_after


@given(meetings(), policies, chances)
@settings(max_examples=60)
def test_a_due_moment_never_goes_back(meeting: Meeting, policy: Policy, chance: float) -> None:
    before, outcome = meeting
    decision = decide(*meeting, NOW, policy, chance)
    if decision.outcome in (StepOutcome.RETRYING, StepOutcome.UNCHANGED, StepOutcome.CHANGED):
        # A withdrawal's own clock is the poll's, whatever step the row was claimed for.
        label = before.next_step is Step.LABEL and not isinstance(outcome, NotCancelled)
        clock = "label_due_at" if label else "track_due_at"
        moved = decision.order.due_at if before.state is State.PENDING else getattr(decision.order, clock)
        assert moved is not None
        assert before.due_at is not None
        assert moved >= NOW >= before.due_at
    elif decision.hold is not None and decision.hold.until is not None:
        assert decision.hold.until > NOW


@given(meetings(), policies, chances)
@settings(max_examples=50)
def test_every_decision_counts_as_progress(meeting: Meeting, policy: Policy, chance: float) -> None:
    assert decide(*meeting, NOW, policy, chance).order.claims == 0


@given(updates, policies, chances, st.timedeltas(timedelta(0), timedelta(days=3650)))
@settings(max_examples=80)
def test_a_poll_is_never_scheduled_beyond_max_age(
    update: TrackingUpdate, policy: Policy, chance: float, age: timedelta
) -> None:
    order = tracking(followed_since=NOW - age)
    decision = decide(order, Tracked(update), NOW, policy, chance)
    oldest = NOW - age + policy.ladder(update.status).max_age
    waits = update.status in policy.open_ended and not update.link_over
    if decision.order.state is State.TRACKING and not waits:
        assert decision.order.track_due_at is not None
        assert decision.order.track_due_at <= oldest
    else:
        assert update.status.is_terminal or waits or oldest <= NOW


@given(policies, chances)
@settings(max_examples=50)
def test_the_first_poll_is_not_scheduled_beyond_max_age(policy: Policy, chance: float) -> None:
    order = decide(pending(), Created("9RET2", None), NOW, policy, chance).order
    assert order.track_due_at is not None
    assert order.track_due_at <= NOW + policy.ladder(TrackingStatus.PRE_TRANSIT).max_age


@pytest.mark.parametrize("known", [True, False], ids=["creation known", "resolved by a person"])
def test_a_return_of_which_nothing_is_heard_expires_exactly_once(known: bool) -> None:
    policy = Policy(default_ladder=Ladder(max_age=timedelta(days=10)))
    row, now, expired, polls = tracking(followed_since=NOW if known else None), NOW, 0, 0
    while row.state is State.TRACKING:
        decision = decide(row, Tracked(TrackingUpdate(TrackingStatus.PRE_TRANSIT, "Created")), now, policy, 0.5)
        expired += sum(t.new_value == TrackingStatus.EXPIRED for t in decision.transitions)
        row, polls = decision.order, polls + 1
        assert polls < 1000
        now = row.due_at or now
    assert (row.state, row.tracking_status, expired) == (State.COMPLETED, TrackingStatus.EXPIRED, 1)
    assert now - NOW == timedelta(days=10)
    assert row.due_at is row.label_due_at is row.track_due_at is None


@pytest.mark.parametrize("status", OPEN_STATUSES)
def test_a_cadence_walks_from_first_to_cap_and_starts_again_after_a_change(status: TrackingStatus) -> None:
    row, waits, now = tracking(tracking_status=status, carrier_status="w"), [], NOW
    for _ in range(12):
        row = decide(row, Tracked(TrackingUpdate(status, "w")), now, Policy(), 0.5).order
        assert row.track_due_at is not None
        waits.append(row.track_due_at - now)
        now = row.track_due_at
        row = row._replace(followed_since=now)
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(hours=6)
    row = decide(row, Tracked(TrackingUpdate(status, "another word")), now, Policy(), 0.5).order
    assert row.unchanged_polls == 0
    assert row.track_due_at == now + timedelta(minutes=15)


def test_the_lifecycle_and_decide_agree() -> None:
    """Everything decide does is in the picture, and everything in the picture that is not a person's, decide does."""
    seen = set()
    for before, outcome in every_meeting():
        after = decide(before, outcome, NOW, Policy(), 0.5).order
        assert after.state is before.state or after.state in MAY_BECOME[before.state], (before, outcome)
        seen |= {(before.state, after.state)} if after.state is not before.state else set()
    held = State.NEEDS_ATTENTION
    only_a_person = {(held, State.PENDING), (held, State.TRACKING), (State.REJECTED, State.TRACKING)}
    only_a_person |= {(State.COMPLETED, State.TRACKING)}
    assert seen == {(old, new) for old, following in MAY_BECOME.items() for new in following} - only_a_person


def test_the_picture_names_every_state_and_every_way_on() -> None:
    from worker.domain import lifecycle

    picture = lifecycle.__doc__ or ""
    assert [state for state in State if state.value not in picture] == []
    assert set(MAY_BECOME) == set(State)
    stuck = {state for state, following in MAY_BECOME.items() if not following}
    assert stuck == {State.CANCELLED}  # every other state has an exit


def test_an_interrupted_creation_keeps_its_intent() -> None:
    started = NOW - timedelta(minutes=3)
    order = decide(pending(create_started_at=started), Interrupted(), NOW, Policy(), 0.5).order
    assert (order.state, order.error_code) == (State.NEEDS_ATTENTION, ErrorCode.CREATE_OUTCOME_UNKNOWN)
    assert order.create_started_at == started


def test_what_says_retry_or_wait_is_not_due_again_at_once() -> None:
    """Whatever was done: the same action comes at a later moment, or the whole account is held until a person acts."""
    walked = set()
    for before, outcome in every_meeting():
        decision = decide(before, outcome, NOW, Policy(), 0.5)
        row, held = decision.order, decision.hold is not None and decision.hold.until is None
        if decision.outcome not in (StepOutcome.RETRYING, StepOutcome.WAITING) or held:
            continue
        walked.add((before.state, before.next_step, type(outcome)))
        at_once = row.due_at is not None and row.due_at <= NOW
        for can_cancel in (False, True):
            again = action_for(row, can_cancel=can_cancel) == action_for(before, can_cancel=can_cancel)
            assert not (at_once and again), (before, outcome)
    assert (State.TRACKING, Step.LABEL, NotCancelled) in walked
    assert (State.NEEDS_ATTENTION, Step.CREATE, NotCancelled) in walked


def test_a_failure_counts_for_the_circuit_once_for_each_return_whatever_was_done() -> None:
    """A withdrawal has the poll's clock and the poll's count, also where its row was claimed for a label."""
    for before, outcome in every_meeting():
        if is_well(before, outcome) is not False:
            continue
        first = before._replace(attempts=0, failing_since=None, label_attempts=0)
        closed = Health(ramp=Ramp(64, NOW, NOW))
        counted = after(closed, first, outcome, Breaker(), NOW, probe=False)
        assert counted != closed, (before, outcome)
        failed = decide(first, outcome, NOW, Policy(), 0.5).order
        if failed.state is before.state:
            again = after(closed, failed._replace(next_step=first.next_step), outcome, Breaker(), NOW, probe=False)
            assert again.circuits == closed.circuits, (before, outcome)
