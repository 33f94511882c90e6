"""What a person can do about a return, for every state; and that no return can be stuck where nobody gets it out."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.cases import (
    LABEL,
    NOW,
    PAST,
    POLICY,
    SEARCHABLE,
    chances,
    labelling,
    meetings,
    orders,
    pending,
    policies,
    problems,
    resting,
    sent,
    tracking,
)
from worker.domain.by_hand import (
    Person,
    Refusal,
    WayOut,
    accepted,
    cancel,
    found,
    not_created,
    remapped,
    retired,
    retry,
)
from worker.domain.cadence import Ladder
from worker.domain.decide import decide
from worker.domain.decision import Decision
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import MAY_BECOME, State, Step
from worker.domain.outcomes import Tracked
from worker.domain.policy import Policy
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

ANNA = Person("anna@shop", "the carrier says so")
HELD = State.NEEDS_ATTENTION
LONG_AGO = NOW - timedelta(hours=3)
FOUND = found("9RET77")
COMMANDS: list[WayOut] = [retry, FOUND, not_created, cancel, retired, accepted(LABEL)]

in_doubt = resting(HELD, create_started_at=LONG_AGO)
unsent = resting(HELD, create_started_at=None, error_code=ErrorCode.CARRIER_UNREACHABLE)
lost_it = {"carrier_ref": "9RET1", "error_code": ErrorCode.CARRIER_LOST_IT, "next_step": Step.TRACK}
at_carrier = resting(HELD, **lost_it, tracking_status=TrackingStatus.IN_TRANSIT)
mistyped = resting(HELD, **lost_it)
rejected = resting(State.REJECTED)


@pytest.mark.parametrize(
    ("command", "order", "policy", "state"),
    [
        (retry, rejected, POLICY, State.PENDING),
        (retry, unsent, POLICY, State.PENDING),
        (retry, at_carrier, POLICY, State.TRACKING),
        (retry, in_doubt, POLICY, None),
        (retry, in_doubt, SEARCHABLE, State.PENDING),
        (retry, pending(), POLICY, None),
        (retry, tracking(), POLICY, None),
        (retry, labelling(label_error_code=ErrorCode.WORKER_CRASHED), POLICY, State.TRACKING),
        (retry, resting(State.COMPLETED), POLICY, None),
        (retry, resting(State.CANCELLED), POLICY, None),
        (FOUND, in_doubt, POLICY, State.TRACKING),
        (FOUND, unsent, POLICY, State.TRACKING),
        (FOUND, rejected, POLICY, State.TRACKING),
        (FOUND, sent(), POLICY, State.TRACKING),
        (FOUND, mistyped, POLICY, State.TRACKING),
        (found("9RET1"), mistyped, POLICY, None),
        (FOUND, tracking(tracking_status=None), POLICY, State.TRACKING),
        (FOUND, pending(), POLICY, None),
        (FOUND, at_carrier, POLICY, None),
        (FOUND, tracking(), POLICY, None),
        (FOUND, resting(State.COMPLETED), POLICY, None),
        (FOUND, resting(State.CANCELLED), POLICY, None),
        (not_created, in_doubt, POLICY, State.PENDING),
        (not_created, resting(HELD, create_started_at=PAST), POLICY, None),
        (not_created, sent(create_started_at=LONG_AGO), SEARCHABLE, State.PENDING),
        (not_created, unsent, POLICY, None),
        (not_created, rejected, POLICY, None),
        (not_created, pending(), POLICY, None),
        (not_created, at_carrier, POLICY, None),
        (not_created, tracking(), POLICY, None),
        (not_created, resting(State.COMPLETED), POLICY, None),
        (cancel, pending(), POLICY, State.PENDING),
        (cancel, tracking(), POLICY, State.TRACKING),
        (cancel, rejected, POLICY, State.REJECTED),
        (cancel, unsent, POLICY, HELD),
        (cancel, at_carrier, POLICY, HELD),
        (cancel, resting(HELD, **lost_it, cancel_requested_at=PAST), POLICY, HELD),
        (cancel, in_doubt, POLICY, State.CANCELLED),
        (cancel, in_doubt, SEARCHABLE, State.PENDING),
        (cancel, tracking(cancel_requested_at=PAST), POLICY, None),
        (cancel, resting(State.COMPLETED), POLICY, None),
        (cancel, resting(State.CANCELLED), POLICY, None),
    ],
)
def test_each_command_goes_where_it_makes_sense_and_refuses_elsewhere(
    command: WayOut, order: ReturnOrder, policy: Policy, state: State | None
) -> None:
    outcome = command(order, ANNA, NOW, policy)
    if state is None:
        assert isinstance(outcome, Refusal)
        assert outcome.reason
        return
    assert isinstance(outcome, Decision)
    assert outcome.order.state is state
    (line,) = outcome.transitions
    assert (line.old_value, line.new_value) == (order.state, state)
    assert line.reason is not None
    assert line.reason.endswith("; by anna@shop: the carrier says so")


@pytest.mark.parametrize(
    ("order", "state", "status"),
    [
        (pending(), State.CANCELLED, None),
        (sent(), HELD, None),
        (tracking(tracking_status=TrackingStatus.IN_TRANSIT), State.COMPLETED, TrackingStatus.EXPIRED),
        (labelling(), State.COMPLETED, TrackingStatus.EXPIRED),
        (unsent, State.CANCELLED, None),
        (at_carrier, State.CANCELLED, TrackingStatus.IN_TRANSIT),
        (in_doubt, None, None),
        (rejected, None, None),
        (resting(State.COMPLETED), None, None),
        (resting(State.CANCELLED), None, None),
    ],
)
def test_what_an_account_leaves_behind_comes_to_an_end_unless_it_may_have_been_created_unseen(
    order: ReturnOrder, state: State | None, status: TrackingStatus | None
) -> None:
    outcome = retired(order, ANNA, NOW, POLICY)
    if state is None:
        assert isinstance(outcome, Refusal)
        return
    assert isinstance(outcome, Decision)
    assert (outcome.order.state, outcome.order.tracking_status, outcome.order.due_at) == (state, status, None)
    assert {line.reason is not None and "by anna@shop" in line.reason for line in outcome.transitions} == {True}
    if state is HELD:
        assert outcome.order.error_code is ErrorCode.CREATE_OUTCOME_UNKNOWN
        assert isinstance(cancel(outcome.order, ANNA, NOW, POLICY), Decision)


def test_a_creation_in_doubt_is_sent_again_only_when_a_person_says_that_it_is_not_there() -> None:
    for command in (retry, FOUND, cancel):
        for policy in (POLICY, SEARCHABLE):
            outcome = command(in_doubt, ANNA, NOW, policy)
            if isinstance(outcome, Decision):
                assert outcome.order.create_started_at is not None
    outcome = not_created(in_doubt, ANNA, NOW, POLICY)
    assert isinstance(outcome, Decision)
    assert (outcome.order.create_started_at, outcome.order.due_at, outcome.order.error_code) == (None, NOW, None)


def test_it_is_not_sent_again_while_a_stopped_worker_may_still_send_it() -> None:
    settled_at = LONG_AGO + POLICY.settles_after
    early = not_created(in_doubt, ANNA, settled_at - timedelta(seconds=1), POLICY)
    assert isinstance(early, Refusal)
    assert f"{settled_at:%H:%M:%S}" in early.reason
    assert isinstance(not_created(in_doubt, ANNA, settled_at, POLICY), Decision)


def test_what_a_person_found_is_followed_at_once_with_its_label() -> None:
    outcome = FOUND(in_doubt, ANNA, NOW, POLICY)
    assert isinstance(outcome, Decision)
    after = outcome.order
    assert (after.carrier_ref, after.label_due_at, after.track_due_at, after.due_at) == ("9RET77", NOW, NOW, NOW)
    assert (after.error_code, after.error_message, after.attempts) == (None, None, 0)


def test_a_look_up_that_a_person_asks_for_after_a_restore_begins_with_the_restore_behind_it() -> None:
    doubtful = in_doubt._replace(doubtful_since=PAST, created_at=LONG_AGO, lookups=1)
    for command in (retry, cancel):
        outcome = command(doubtful, ANNA, NOW, SEARCHABLE)
        assert isinstance(outcome, Decision)
        assert (outcome.order.create_started_at, outcome.order.lookups) == (NOW, 0)


def test_a_retry_gives_a_return_its_whole_patience_back() -> None:
    tired = unsent._replace(failing_since=NOW - timedelta(days=3), attempts=12)
    outcome = retry(tired, ANNA, NOW, POLICY)
    assert isinstance(outcome, Decision)
    assert (outcome.order.failing_since, outcome.order.attempts, outcome.order.due_at) == (None, 0, NOW)


@given(orders(), policies, st.sampled_from(COMMANDS))
def test_a_command_makes_only_changes_that_there_are_and_rows_that_the_database_takes(
    order: ReturnOrder, policy: Policy, command: WayOut
) -> None:
    outcome = command(order, ANNA, NOW, policy)
    if isinstance(outcome, Refusal):
        return
    assert problems(outcome) == []
    after = outcome.order.state
    assert after is order.state or after in MAY_BECOME[order.state]


@given(meetings(), policies, chances)
def test_whatever_happened_a_timer_or_a_command_leads_on(
    meeting: tuple[ReturnOrder, object], policy: Policy, chance: float
) -> None:
    order, outcome = meeting
    after = decide(order, outcome, NOW, policy, chance).order  # type: ignore[arg-type]
    if after.state in (State.COMPLETED, State.CANCELLED) or after.due_at is not None:
        return
    later = NOW + timedelta(days=4000)
    assert any(isinstance(command(after, ANNA, later, policy), Decision) for command in (retry, FOUND)), after
    assert isinstance(cancel(after, ANNA, later, policy), Decision), after


def _read_as(status: TrackingStatus) -> WayOut:
    return remapped(lambda _: frozenset({status}), lambda: 0.5)


@pytest.mark.parametrize("asked", ["cancel_requested_at", "retry_requested_at"])
@pytest.mark.parametrize("status", [TrackingStatus.DELIVERED, TrackingStatus.IN_TRANSIT])
def test_what_was_asked_of_a_return_is_answered_before_its_word_is_read_anew(
    asked: str, status: TrackingStatus
) -> None:
    row = tracking(tracking_status=TrackingStatus.UNKNOWN, carrier_status="?", **{asked: PAST})
    assert isinstance(_read_as(status)(row, ANNA, NOW, POLICY), Refusal)


def test_a_changed_map_is_no_answer_of_the_carrier_s_and_lets_nothing_come_due_at_once() -> None:
    later = NOW + timedelta(hours=5)
    row = tracking(
        tracking_status=TrackingStatus.UNKNOWN,
        carrier_status="?",
        attempts=2,
        error_code=ErrorCode.CARRIER_LOST_IT,
        failing_since=LONG_AGO,
        unchanged_polls=30,
        due_at=later,
        track_due_at=later,
    )
    decision = _read_as(TrackingStatus.IN_TRANSIT)(row, ANNA, NOW, POLICY)
    assert isinstance(decision, Decision)
    after = decision.order
    assert (after.tracking_status, after.status_since) == (TrackingStatus.IN_TRANSIT, NOW)
    assert (after.due_at, after.unchanged_polls) == (later, 30)
    assert (after.attempts, after.error_code, after.failing_since) == (2, ErrorCode.CARRIER_LOST_IT, LONG_AGO)
    fast = Policy(default_ladder=Ladder(first=timedelta(minutes=1), cap=timedelta(minutes=10)))
    decision = _read_as(TrackingStatus.IN_TRANSIT)(row, ANNA, NOW, fast)
    assert isinstance(decision, Decision) and decision.order.due_at == NOW + timedelta(minutes=10)


TROUBLE = {
    "label_attempts": 9,
    "label_error_code": ErrorCode.LABEL_UNUSABLE,
    "label_error_message": "3 page(s)",
    "label_sought_since": LONG_AGO,
}


def test_an_accepted_label_is_the_label_and_its_trouble_is_over() -> None:
    order = tracking(**TROUBLE, label_due_at=NOW + timedelta(hours=6), track_due_at=NOW + timedelta(hours=1))
    decision = accepted(LABEL)(order, ANNA, NOW, POLICY)
    assert isinstance(decision, Decision)
    row = decision.order
    assert decision.labels == (LABEL,)
    assert (row.label_due_at, row.label_attempts) == (None, 0)
    assert (row.label_error_code, row.label_error_message) == (None, None)
    assert (row.label_sought_since, row.state, row.due_at) == (None, State.TRACKING, NOW + timedelta(hours=1))
    (line,) = decision.transitions
    assert line.reason == ("label 1 taken as it is (application/pdf, 1000 bytes); by anna@shop: the carrier says so")
    assert problems(decision) == []


def test_after_an_accepted_label_the_others_are_asked_for_at_once_where_a_package_has_none() -> None:
    two = (PackageInfo(1), PackageInfo(2))
    order = tracking(**TROUBLE, packages=two, label_due_at=NOW, track_due_at=NOW + timedelta(hours=1))
    row = accepted_row(accepted(LABEL), order)
    assert (row.next_step, row.track_due_at) == (Step.TRACK, NOW)
    answer = Tracked(TrackingUpdate(TrackingStatus.PRE_TRANSIT, "1"), labels=frozenset({1, 2}))
    row = decide(row, answer, NOW, POLICY, 0.5).order
    assert (row.next_step, row.label_due_at) == (Step.LABEL, NOW)
    row = accepted_row(accepted(LABEL), order._replace(labels=frozenset({2})))
    assert row.track_due_at == NOW + timedelta(hours=1)


def accepted_row(way_out: WayOut, order: ReturnOrder) -> ReturnOrder:
    decision = way_out(order, ANNA, NOW, POLICY)
    assert isinstance(decision, Decision) and problems(decision) == []
    return decision.order._replace(labels=order.labels | {label.position for label in decision.labels})


@pytest.mark.parametrize("state", [State.COMPLETED, State.NEEDS_ATTENTION], ids=str)
def test_a_label_is_accepted_in_any_state_and_changes_none(state: State) -> None:
    order = resting(state, carrier_ref="9RET1", **TROUBLE)
    row = accepted_row(accepted(LABEL), order)
    assert (row.state, row.due_at, row.error_code) == (state, None, order.error_code)
    assert row.label_error_code is None


def test_what_is_not_at_the_carrier_has_no_label_to_accept() -> None:
    for order in (pending(), in_doubt, rejected):
        refused = accepted(LABEL)(order, ANNA, NOW, POLICY)
        assert isinstance(refused, Refusal) and "not at the carrier" in refused.reason
