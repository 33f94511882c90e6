"""A creation whose answer was lost, where the carrier can be searched: looked up, and never sent again too early."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.domain.cases import NOW, PAST, SEARCHABLE, pending, problems, sent
from worker.domain.decide import decide
from worker.domain.decision import Decision, StepOutcome
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Absent, Ambiguous, Created, Failed, FailureKind, Outcome
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

STARTED = NOW - timedelta(minutes=2)
LATE = STARTED + timedelta(seconds=110)
FOUND = Created("77", TrackingUpdate(TrackingStatus.PENDING, None), has_label=False, adopted=True, raw="{}")
IN_DOUBT = [
    FailureKind.OUTCOME_UNKNOWN,
    FailureKind.TIMEOUT,
    FailureKind.SERVER_ERROR,
    FailureKind.UNINTELLIGIBLE,
    FailureKind.NOT_FOUND,
]


def after(order: ReturnOrder, outcome: Outcome, now: datetime = NOW) -> Decision:
    decision = decide(order, outcome, now, SEARCHABLE, 0.5)
    assert problems(decision) == []
    return decision


@pytest.mark.parametrize("kind", IN_DOUBT)
def test_a_lost_answer_is_looked_up_soon_and_the_history_says_so(kind: FailureKind) -> None:
    decision = after(pending(), Failed(kind, "?", raw="{}"))
    row = decision.order
    assert (row.state, row.create_started_at, row.attempts) == (State.PENDING, NOW, 1)
    assert row.error_code is ErrorCode.CREATE_OUTCOME_UNKNOWN
    assert row.due_at is not None
    assert row.due_at - NOW < timedelta(seconds=5)
    (line,) = decision.transitions
    assert (line.old_value, line.new_value, line.raw) == ("pending", "pending", "{}")
    assert "looked up" in (line.reason or "")


def test_what_is_found_is_adopted_and_asked_for_at_once() -> None:
    decision = after(sent(lookups=1, attempts=3, error_code=ErrorCode.CREATE_OUTCOME_UNKNOWN), FOUND)
    row = decision.order
    assert (row.state, row.carrier_ref, row.next_step, row.due_at) == (State.TRACKING, "77", Step.TRACK, NOW)
    assert (row.error_code, row.attempts, row.lookups) == (None, 0, 0)
    assert decision.outcome is StepOutcome.ADOPTED
    assert "adopted" in (decision.transitions[0].reason or "")


@pytest.mark.parametrize("lookups", [0, 1, 5])
@pytest.mark.parametrize("due_at", [PAST - timedelta(minutes=2), LATE - timedelta(milliseconds=1)])
def test_a_look_up_made_before_nobody_can_send_any_more_allows_nothing(lookups: int, due_at: datetime) -> None:
    row = after(sent(lookups=lookups, due_at=due_at), Absent()).order
    assert row.create_started_at == STARTED
    assert row.due_at is not None
    assert row.due_at > LATE


def test_one_look_up_alone_allows_nothing_however_late_it_is() -> None:
    row = after(sent(lookups=0, due_at=LATE + timedelta(hours=9)), Absent(), NOW + timedelta(hours=9)).order
    assert (row.create_started_at, row.lookups) == (STARTED, 1)


def test_what_two_look_ups_do_not_find_is_sent_again_and_the_history_says_so() -> None:
    decision = after(sent(lookups=1, due_at=LATE, attempts=1), Absent())
    row = decision.order
    assert (row.state, row.create_started_at, row.lookups, row.due_at) == (State.PENDING, None, 0, NOW)
    assert decision.outcome is StepOutcome.ABSENT
    assert "sent again" in (decision.transitions[0].reason or "")
    assert row.attempts == 1  # it goes on counting: a creation that is lost again and again goes to a person


def test_a_creation_that_is_lost_again_and_again_goes_to_a_person() -> None:
    row, now, sends = pending(), NOW, 0
    while row.state is State.PENDING:
        if row.create_started_at is None:
            sends += 1
            row = after(row, Failed(FailureKind.OUTCOME_UNKNOWN, "?"), now).order
        else:
            row = after(row, Absent(), now).order
        now = row.due_at or now
        assert sends < 50
    assert (row.state, row.error_code, sends) == (State.NEEDS_ATTENTION, ErrorCode.CREATE_OUTCOME_UNKNOWN, 12)
    assert row.create_started_at is not None


def test_several_of_the_same_reference_go_to_a_person() -> None:
    row = after(sent(), Ambiguous("orders 1, 2", "[]")).order
    assert (row.state, row.error_code) == (State.NEEDS_ATTENTION, ErrorCode.REFERENCE_NOT_UNIQUE)
    assert row.create_started_at == STARTED


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.OUTCOME_UNKNOWN])
def test_a_look_up_that_fails_never_takes_the_intent_back(kind: FailureKind) -> None:
    """Above all not a 429, a refused key or a refused connection, which of a creation prove that nothing was made."""
    row = after(sent(), Failed(kind, "?")).order
    assert row.create_started_at == STARTED
    assert row.state is State.PENDING


def test_a_carrier_that_cannot_be_asked_for_days_leaves_the_doubt_to_a_person() -> None:
    row = after(sent(failing_since=NOW - timedelta(days=3)), Failed(FailureKind.NETWORK, "?")).order
    assert (row.state, row.error_code) == (State.NEEDS_ATTENTION, ErrorCode.CREATE_OUTCOME_UNKNOWN)


def test_a_withdrawal_that_waited_for_the_look_up_is_seen_to_at_once() -> None:
    created = replace(FOUND, adopted=False)
    for outcome in (FOUND, created):
        assert after(sent(cancel_requested_at=PAST), outcome).order.due_at == NOW
