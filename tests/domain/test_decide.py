"""`decide` as tables: what becomes of a row after each outcome, in each state that can meet it."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from tests.domain.cases import (
    LABEL,
    LABEL_CODES,
    NOW,
    PAST,
    POLICY,
    every_meeting,
    labelling,
    pending,
    problems,
    resting,
    sent,
    tracking,
)
from worker.domain.decide import decide
from worker.domain.decision import Decision, Hold, StepOutcome, Transition
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.next_action import NOT_TOLD
from worker.domain.outcomes import (
    Created,
    Failed,
    FailureKind,
    Interrupted,
    Invalid,
    LabelReady,
    LabelTrouble,
    NothingToDo,
    Outcome,
    Poisoned,
    PutBack,
    RefTaken,
    RequestRefused,
    SendingStopped,
    Tracked,
    Withdrawn,
)
from worker.domain.policy import Backoff, Policy
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

K, E, S = FailureKind, ErrorCode, StepOutcome
HALF = 0.5  # the middle of every jitter: a ladder's own wait, half of a back-off's
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LONG_AGO = NOW - timedelta(days=3)
STARTED = NOW - 2 * MINUTE


def after(order: ReturnOrder, outcome: Outcome, policy: Policy | None = None, now: datetime = NOW) -> Decision:
    decision = decide(order, outcome, now, policy or POLICY, HALF)
    assert problems(decision) == []
    return decision


class Row(NamedTuple):
    """What is looked at of a row that was decided on, and what the step is said to have come to."""

    state: State
    step: Step
    said: StepOutcome
    due_at: datetime | None = None
    attempts: int = 0
    code: ErrorCode | None = None


class Case(NamedTuple):
    """A row that meets an outcome, and what becomes of it."""

    name: str
    order: ReturnOrder
    outcome: Outcome
    becomes: Row


def seen(decision: Decision) -> Row:
    row = decision.order
    return Row(row.state, row.next_step, decision.outcome, row.due_at, row.attempts, row.error_code)


def update(status: TrackingStatus, word: str = "w", **more: Any) -> Tracked:
    return Tracked(TrackingUpdate(status, word, **more))


PENDING, TRACKING, HELD, REJECTED = State.PENDING, State.TRACKING, State.NEEDS_ATTENTION, State.REJECTED
CREATE, LABEL_STEP, TRACK = Step.CREATE, Step.LABEL, Step.TRACK

TABLE = [
    # a creation
    Case(
        "created", pending(), Created("9RET2", None), Row(state=TRACKING, step=LABEL_STEP, due_at=NOW, said=S.CREATED)
    ),
    Case(
        "created, no label yet",
        pending(attempts=4, error_code=E.CARRIER_UNREACHABLE, failing_since=LONG_AGO),
        Created("9RET2", None, has_label=False),
        Row(state=TRACKING, step=TRACK, due_at=NOW + 15 * MINUTE, said=S.CREATED),
    ),
    Case(
        "invalid",
        pending(),
        Invalid(("a: b", "c: d")),
        Row(state=REJECTED, step=CREATE, code=E.INVALID_PAYLOAD, said=S.REJECTED),
    ),
    Case(
        "refused",
        pending(),
        Failed(K.REFUSED, "no"),
        Row(state=REJECTED, step=CREATE, code=E.CARRIER_REFUSED, said=S.REJECTED),
    ),
    Case(
        "not sent",
        pending(),
        Failed(K.NETWORK, "refused"),
        Row(state=PENDING, step=CREATE, due_at=NOW + timedelta(seconds=1), code=E.CARRIER_UNREACHABLE, said=S.RETRYING),
    ),
    Case(
        "not sent for an hour",
        pending(failing_since=NOW - HOUR, attempts=2),
        Failed(K.NETWORK, "refused"),
        Row(
            state=PENDING,
            step=CREATE,
            due_at=NOW + 7.5 * MINUTE,
            attempts=2,
            code=E.CARRIER_UNREACHABLE,
            said=S.RETRYING,
        ),
    ),
    Case(
        "not sent for three days",
        pending(failing_since=LONG_AGO),
        Failed(K.NETWORK, "refused"),
        Row(state=HELD, step=CREATE, code=E.CARRIER_UNREACHABLE, said=S.NEEDS_ATTENTION),
    ),
    Case(
        "throttled, no time named",
        pending(attempts=3),
        Failed(K.THROTTLED, "busy"),
        Row(state=PENDING, step=CREATE, due_at=NOW + MINUTE, attempts=3, said=S.WAITING),
    ),
    Case(
        "throttled for 7 s",
        pending(),
        Failed(K.THROTTLED, "busy", timedelta(seconds=7)),
        Row(state=PENDING, step=CREATE, due_at=NOW + timedelta(seconds=7), said=S.WAITING),
    ),
    Case(
        "throttled for a year",
        pending(),
        Failed(K.THROTTLED, "busy", timedelta(days=365)),
        Row(state=PENDING, step=CREATE, due_at=NOW + HOUR, said=S.WAITING),
    ),
    Case(
        "throttled until now",
        pending(),
        Failed(K.THROTTLED, "busy", timedelta(0)),
        Row(state=PENDING, step=CREATE, due_at=NOW + timedelta(seconds=1), said=S.WAITING),
    ),
    Case(
        "throttled until yesterday",
        pending(),
        Failed(K.THROTTLED, "busy", -DAY),
        Row(state=PENDING, step=CREATE, due_at=NOW + timedelta(seconds=1), said=S.WAITING),
    ),
    Case(
        "key refused",
        pending(),
        Failed(K.UNAUTHORIZED, "401"),
        Row(state=PENDING, step=CREATE, due_at=PAST, said=S.WAITING),
    ),
    *(
        Case(
            f"in doubt: {kind}",
            pending(attempts=1),
            Failed(kind, "?"),
            Row(state=HELD, step=CREATE, attempts=1, code=E.CREATE_OUTCOME_UNKNOWN, said=S.NEEDS_ATTENTION),
        )
        for kind in (K.OUTCOME_UNKNOWN, K.TIMEOUT, K.SERVER_ERROR, K.UNINTELLIGIBLE, K.NOT_FOUND)
    ),
    Case(
        "the sending is stopped",
        pending(created_at=PAST),
        SendingStopped(),
        Row(state=PENDING, step=CREATE, due_at=NOW + timedelta(minutes=1), code=E.CARRIER_UNREACHABLE, said=S.WAITING),
    ),
    Case(
        "interrupted",
        sent(),
        Interrupted(),
        Row(state=HELD, step=CREATE, code=E.CREATE_OUTCOME_UNKNOWN, said=S.NEEDS_ATTENTION),
    ),
    Case(
        "number taken",
        pending(),
        RefTaken("9RET1"),
        Row(state=HELD, step=CREATE, code=E.CARRIER_REF_TAKEN, said=S.NEEDS_ATTENTION),
    ),
    Case(
        "poisoned",
        pending(claims=6),
        Poisoned(),
        Row(state=HELD, step=CREATE, code=E.WORKER_CRASHED, said=S.NEEDS_ATTENTION),
    ),
    Case(
        "poisoned while it was created",
        sent(claims=6),
        Poisoned(),
        Row(state=HELD, step=CREATE, code=E.CREATE_OUTCOME_UNKNOWN, said=S.NEEDS_ATTENTION),
    ),
    # a poll
    Case(
        "unchanged",
        tracking(attempts=5, unchanged_polls=1, error_code=E.CARRIER_ERROR),
        update(TrackingStatus.PRE_TRANSIT, "Created"),
        Row(state=TRACKING, step=TRACK, due_at=NOW + 33.75 * MINUTE, said=S.UNCHANGED),
    ),
    Case(
        "changed",
        tracking(unchanged_polls=9),
        update(TrackingStatus.IN_TRANSIT),
        Row(state=TRACKING, step=TRACK, due_at=NOW + 15 * MINUTE, said=S.CHANGED),
    ),
    Case(
        "another word, same status",
        tracking(unchanged_polls=9),
        update(TrackingStatus.PRE_TRANSIT, "Planned"),
        Row(state=TRACKING, step=TRACK, due_at=NOW + 15 * MINUTE, said=S.CHANGED),
    ),
    Case(
        "unknown word",
        tracking(),
        update(TrackingStatus.UNKNOWN, "AtDepot7"),
        Row(state=TRACKING, step=TRACK, due_at=NOW + 15 * MINUTE, said=S.CHANGED),
    ),
    *(
        Case(
            f"terminal: {status}", tracking(), update(status), Row(state=State.COMPLETED, step=TRACK, said=S.COMPLETED)
        )
        for status in TrackingStatus
        if status.is_terminal
    ),
    Case(
        "too old",
        tracking(followed_since=NOW - 60 * DAY),
        update(TrackingStatus.PRE_TRANSIT, "Created"),
        Row(state=State.COMPLETED, step=TRACK, said=S.COMPLETED),
    ),
    Case(
        "no shipment yet never grows too old",
        tracking(followed_since=NOW - 90 * DAY),
        update(TrackingStatus.PENDING),
        Row(state=TRACKING, step=TRACK, due_at=NOW + 15 * MINUTE, said=S.CHANGED),
    ),
    *(
        Case(
            f"{kind} at a poll",
            tracking(attempts=3),
            Failed(kind, "?"),
            Row(state=TRACKING, step=TRACK, due_at=NOW + timedelta(seconds=8), attempts=4, code=code, said=S.RETRYING),
        )
        for kind, code in (
            (K.UNINTELLIGIBLE, E.UNINTELLIGIBLE_ANSWER),
            (K.REFUSED, E.CARRIER_REFUSED),
        )
    ),
    *(
        Case(
            f"{kind} at the last poll",
            tracking(attempts=11),
            Failed(kind, "?"),
            Row(state=HELD, step=TRACK, attempts=12, code=code, said=S.NEEDS_ATTENTION),
        )
        for kind, code in (
            (K.UNINTELLIGIBLE, E.UNINTELLIGIBLE_ANSWER),
            (K.REFUSED, E.CARRIER_REFUSED),
        )
    ),
    *(
        Case(
            f"{kind} at a poll",
            tracking(attempts=11),
            Failed(kind, "?"),
            Row(state=TRACKING, step=TRACK, due_at=NOW + timedelta(seconds=1), attempts=11, code=code, said=S.RETRYING),
        )
        for kind, code in (
            (K.NETWORK, E.CARRIER_UNREACHABLE),
            (K.TIMEOUT, E.CARRIER_TIMEOUT),
            (K.SERVER_ERROR, E.CARRIER_ERROR),
        )
    ),
    *(
        Case(
            f"{kind} for three days",
            tracking(failing_since=LONG_AGO),
            Failed(kind, "?"),
            Row(state=HELD, step=TRACK, code=code, said=S.NEEDS_ATTENTION),
        )
        for kind, code in (
            (K.NETWORK, E.CARRIER_UNREACHABLE),
            (K.TIMEOUT, E.CARRIER_TIMEOUT),
            (K.SERVER_ERROR, E.CARRIER_ERROR),
        )
    ),
    Case(
        "throttled at a poll",
        tracking(attempts=2, unchanged_polls=3),
        Failed(K.THROTTLED, "busy"),
        Row(state=TRACKING, step=TRACK, due_at=NOW + MINUTE, attempts=2, said=S.WAITING),
    ),
    Case(
        "key refused at a poll",
        tracking(),
        Failed(K.UNAUTHORIZED, "401"),
        Row(state=TRACKING, step=TRACK, due_at=PAST, said=S.WAITING),
    ),
    Case(
        "poisoned at a poll",
        tracking(claims=6),
        Poisoned(),
        Row(state=HELD, step=TRACK, code=E.WORKER_CRASHED, said=S.NEEDS_ATTENTION),
    ),
    # a label
    Case(
        "poisoned at a label: it is parked, the return is followed on",
        labelling(claims=6),
        Poisoned(),
        Row(state=TRACKING, step=TRACK, due_at=NOW + HOUR, said=S.NEEDS_ATTENTION),
    ),
    Case(
        "label stored",
        labelling(),
        LabelReady(LABEL),
        Row(state=TRACKING, step=TRACK, due_at=NOW + HOUR, said=S.STORED),
    ),
    Case(
        "label stored, the poll's clock unset",
        labelling(track_due_at=None),
        LabelReady(LABEL),
        Row(state=TRACKING, step=TRACK, due_at=PAST, said=S.STORED),
    ),
    Case(
        "throttled at a label",
        labelling(),
        Failed(K.THROTTLED, "busy", timedelta(seconds=30)),
        Row(state=TRACKING, step=LABEL_STEP, due_at=NOW + timedelta(seconds=30), said=S.WAITING),
    ),
    Case(
        "key refused at a label",
        labelling(),
        Failed(K.UNAUTHORIZED, "401"),
        Row(state=TRACKING, step=LABEL_STEP, due_at=PAST, said=S.WAITING),
    ),
    # requests
    Case("withdrawn", pending(), Withdrawn("why"), Row(state=State.CANCELLED, step=CREATE, said=S.CANCELLED)),
    Case(
        "withdrawn under way", tracking(), Withdrawn(NOT_TOLD), Row(state=State.CANCELLED, step=TRACK, said=S.CANCELLED)
    ),
    Case(
        "withdrawn rejected",
        resting(REJECTED),
        Withdrawn("w"),
        Row(state=State.CANCELLED, step=CREATE, attempts=3, said=S.CANCELLED),
    ),
    Case("withdrawn held", resting(HELD), Withdrawn("why"), Row(state=State.CANCELLED, step=CREATE, said=S.CANCELLED)),
    Case("put back", resting(REJECTED), PutBack(), Row(state=PENDING, step=CREATE, due_at=NOW, said=S.PUT_BACK)),
    Case(
        "retry refused",
        tracking(),
        RequestRefused("no", cancel=False),
        Row(state=TRACKING, step=TRACK, due_at=PAST, said=S.REFUSED),
    ),
    Case(
        "withdrawal refused",
        resting(State.COMPLETED),
        RequestRefused("no", cancel=True),
        Row(state=State.COMPLETED, step=CREATE, said=S.REFUSED),
    ),
    Case(
        "nothing to do",
        resting(HELD),
        NothingToDo(),
        Row(state=HELD, step=CREATE, code=E.CREATE_OUTCOME_UNKNOWN, said=S.WAITING),
    ),
]


@pytest.mark.parametrize("case", TABLE, ids=[case.name for case in TABLE])
def test_an_outcome_leads_where_the_table_says(case: Case) -> None:
    assert seen(after(case.order, case.outcome)) == case.becomes


def test_every_outcome_is_met_somewhere() -> None:
    from typing import get_args

    assert {type(outcome) for _, outcome in every_meeting()} | {NothingToDo} == set(get_args(Outcome))


@pytest.mark.parametrize(
    "outcome",
    [
        LabelReady(LABEL),
        *(LabelTrouble(code, "no") for code in LABEL_CODES),
        *(Failed(kind, "no") for kind in FailureKind),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "trouble", [{}, {"label_attempts": 10_000, "attempts": 11, "failing_since": LONG_AGO}], ids=["first", "endless"]
)
def test_a_label_never_changes_the_state_nor_the_trouble_of_the_return(
    outcome: Outcome, trouble: dict[str, Any]
) -> None:
    before = labelling(error_code=E.CARRIER_ERROR, error_message="x", **trouble)
    decision = after(before, outcome)
    assert decision.order.state is TRACKING
    assert decision.transitions == ()
    assert (decision.order.attempts, decision.order.error_code) == (before.attempts, E.CARRIER_ERROR)
    assert decision.order.track_due_at == before.track_due_at


@pytest.mark.parametrize(("attempts", "wait"), [(0, 1), (1, 2), (8, 256), (9, 450), (500, 450), (2**31, 450)])
def test_a_label_is_sought_again_and_again_at_growing_distance(attempts: int, wait: float) -> None:
    young = labelling(label_attempts=attempts, followed_since=NOW - HOUR)
    row = after(young, LabelTrouble(E.LABEL_UNUSABLE, "m" * 5000)).order
    assert row.label_due_at == NOW + timedelta(seconds=wait)
    assert (row.label_attempts, row.label_error_code) == (attempts + 1, E.LABEL_UNUSABLE)
    assert len(row.label_error_message or "") == 2000


@pytest.mark.parametrize(
    ("age", "cap"),
    [(HOUR, 15 * MINUTE), (2 * HOUR, 15 * MINUTE), (DAY, 3 * HOUR), (2 * DAY, 6 * HOUR), (50 * DAY, 6 * HOUR)],
)
def test_a_label_that_never_comes_is_asked_for_ever_more_slowly(age: timedelta, cap: timedelta) -> None:
    row = after(labelling(label_attempts=99, followed_since=NOW - age), LabelTrouble(E.LABEL_UNREACHABLE, "dead")).order
    assert row.label_due_at == NOW + cap / 2


def test_a_label_that_appeared_a_moment_ago_is_not_asked_for_as_slowly_as_its_return_is_old() -> None:
    new = labelling(label_attempts=99, followed_since=NOW - 20 * DAY, label_sought_since=NOW - HOUR)
    assert after(new, LabelTrouble(E.LABEL_NOT_READY, "not yet")).order.label_due_at == NOW + 7.5 * MINUTE


def test_a_label_that_we_could_not_store_does_not_wait_longer_for_being_old() -> None:
    row = after(labelling(label_attempts=99), LabelTrouble(E.LABEL_NOT_STORED, "disk full")).order
    assert row.label_due_at == NOW + 7.5 * MINUTE


@pytest.mark.parametrize(("age", "code"), [(0.99 * HOUR, E.LABEL_NOT_READY), (HOUR, E.CARRIER_LOST_IT)])
def test_a_young_404_of_a_label_means_not_yet(age: timedelta, code: ErrorCode) -> None:
    row = after(labelling(followed_since=NOW - age), Failed(K.NOT_FOUND, "404")).order
    assert (row.state, row.label_error_code, row.error_code) == (TRACKING, code, None)


def test_a_stored_label_is_handed_over_and_its_trouble_forgotten() -> None:
    decision = after(labelling(label_attempts=3, label_error_code=E.LABEL_NOT_READY), LabelReady(LABEL))
    assert decision.labels == (LABEL,)
    row = decision.order
    assert (row.label_due_at, row.label_attempts, row.label_error_code) == (None, 0, None)


def test_a_poll_leaves_the_search_for_the_label_alone() -> None:
    before = tracking(label_due_at=NOW + 3 * MINUTE, label_attempts=4, label_error_code=E.LABEL_NOT_READY)
    row = after(before, update(TrackingStatus.PRE_TRANSIT, "Created")).order
    assert (row.next_step, row.due_at) == (Step.LABEL, NOW + 3 * MINUTE)
    assert (row.label_attempts, row.label_error_code) == (4, E.LABEL_NOT_READY)


def test_a_completed_return_no_longer_seeks_its_label() -> None:
    row = after(tracking(label_due_at=NOW + MINUTE), update(TrackingStatus.DELIVERED)).order
    assert row.label_due_at is row.track_due_at is row.due_at is None


@pytest.mark.parametrize("kind", [K.OUTCOME_UNKNOWN, K.TIMEOUT, K.SERVER_ERROR, K.UNINTELLIGIBLE, K.NOT_FOUND])
def test_a_lost_answer_never_takes_the_intent_back(kind: FailureKind) -> None:
    """The row was read before the intent was committed: recorded as it was read, it would look unsent."""
    assert after(pending(), Failed(kind, "?")).order.create_started_at == NOW
    assert after(sent(), Failed(kind, "?")).order.create_started_at == STARTED


def test_a_number_that_another_return_has_never_takes_the_intent_back() -> None:
    row = after(pending(), RefTaken("9RET1", '{"a":1}')).order
    assert row.create_started_at == NOW
    assert row.carrier_ref is None
    assert "9RET1" in (row.error_message or "")


@pytest.mark.parametrize(
    "outcome", [Failed(K.NETWORK, ""), Failed(K.THROTTLED, ""), Failed(K.UNAUTHORIZED, ""), Failed(K.REFUSED, "")]
)
def test_an_answer_that_proves_nothing_was_made_takes_the_intent_back(outcome: Outcome) -> None:
    assert after(pending(), outcome).order.create_started_at is None


def test_a_creation_keeps_everything_the_carrier_said() -> None:
    packages = (PackageInfo(1, "7RET1"),)
    decision = after(sent(), Created("9RET2", None, packages, return_url="https://x", raw='{"a":1}'))
    row = decision.order
    assert decision.packages == packages
    assert (row.carrier_ref, row.return_url, row.followed_since) == ("9RET2", "https://x", NOW)
    assert (row.tracking_status, row.carrier_status) == (TrackingStatus.PRE_TRANSIT, None)
    assert row.create_started_at == STARTED
    assert decision.transitions == (
        Transition("state", PENDING, TRACKING, reason="created at the carrier", raw='{"a":1}'),
        Transition("tracking_status", None, TrackingStatus.PRE_TRANSIT, None),
    )


def test_an_observation_keeps_the_word_the_time_and_the_answer() -> None:
    decision = after(tracking(), update(TrackingStatus.DELIVERED, "Bezorgd", carrier_time=PAST, raw="{}"))
    assert decision.transitions == (
        Transition(
            "tracking_status", TrackingStatus.PRE_TRANSIT, TrackingStatus.DELIVERED, "Bezorgd", PAST, None, "{}"
        ),
        Transition("state", TRACKING, State.COMPLETED, "Bezorgd", reason="the carrier says Bezorgd"),
    )


def test_another_word_with_the_same_meaning_is_recorded_too() -> None:
    (transition,) = after(tracking(), update(TrackingStatus.PRE_TRANSIT, "Planned")).transitions
    assert (transition.old_value, transition.new_value) == (TrackingStatus.PRE_TRANSIT, TrackingStatus.PRE_TRANSIT)
    assert transition.carrier_status == "Planned"


def test_an_expiry_says_what_was_last_heard_first() -> None:
    decision = after(tracking(followed_since=NOW - 61 * DAY), update(TrackingStatus.IN_TRANSIT, "OnTheWay"))
    assert [(t.field, t.old_value, t.new_value) for t in decision.transitions] == [
        ("tracking_status", TrackingStatus.PRE_TRANSIT, TrackingStatus.IN_TRANSIT),
        ("tracking_status", TrackingStatus.IN_TRANSIT, TrackingStatus.EXPIRED),
        ("state", TRACKING, State.COMPLETED),
    ]


@pytest.mark.parametrize("order", [pending(), tracking(), labelling()], ids=["create", "track", "label"])
def test_a_throttled_request_holds_the_account_and_nothing_else(order: ReturnOrder) -> None:
    decision = after(order, Failed(K.THROTTLED, "busy", timedelta(seconds=9)))
    assert decision.hold == Hold(NOW + timedelta(seconds=9), E.CARRIER_BUSY, "busy")
    assert decision.transitions == ()
    assert decision.order.attempts == order.attempts
    assert decision.order.label_attempts == order.label_attempts


@pytest.mark.parametrize("order", [pending(), tracking(), labelling()], ids=["create", "track", "label"])
def test_a_refused_key_holds_the_account_until_a_person_acts(order: ReturnOrder) -> None:
    decision = after(order, Failed(K.UNAUTHORIZED, "401"))
    assert decision.hold == Hold(None, E.CARRIER_KEY_REFUSED, "401")
    assert decision.transitions == ()


@pytest.mark.parametrize("kind", [K.THROTTLED, K.UNAUTHORIZED])
def test_time_spent_on_hold_is_not_held_against_the_return(kind: FailureKind) -> None:
    """One failure on Friday, the key refused until Monday, one more failure: that is no outage of three days."""
    held = after(tracking(failing_since=LONG_AGO), Failed(kind, "")).order
    assert after(held, Failed(K.NETWORK, "")).order.state is TRACKING


def test_an_outage_is_forgotten_once_the_carrier_answers() -> None:
    before = tracking(failing_since=LONG_AGO, attempts=3, error_code=E.CARRIER_ERROR, error_message="x")
    row = after(before, update(TrackingStatus.PRE_TRANSIT, "Created")).order
    assert (row.failing_since, row.attempts, row.error_code, row.error_message) == (None, 0, None, None)


def test_an_outage_is_given_up_at_its_time_and_not_before() -> None:
    policy = Policy(backoff=Backoff(give_up_after=HOUR))
    first = after(pending(), Failed(K.NETWORK, ""), policy).order
    assert first.failing_since == NOW
    almost = after(first, Failed(K.NETWORK, ""), policy, NOW + HOUR - timedelta(microseconds=1))
    assert almost.order.state is PENDING
    assert after(almost.order, Failed(K.NETWORK, ""), policy, NOW + HOUR).order.state is HELD


def test_a_rejection_names_every_problem_up_to_a_limit() -> None:
    assert after(pending(), Invalid(("a: b", "c: d"))).order.error_message == "a: b; c: d"
    assert len(after(pending(), Invalid(("x" * 1500, "y" * 1500))).order.error_message or "") == 2000


def test_a_return_put_back_starts_afresh() -> None:
    before = resting(REJECTED, retry_requested_at=PAST, failing_since=LONG_AGO)
    decision = after(before, PutBack())
    row = decision.order
    assert (row.attempts, row.failing_since, row.error_code, row.error_message, row.retry_requested_at) == (0,) + (
        None,
    ) * 4
    assert [(t.old_value, t.new_value) for t in decision.transitions] == [(REJECTED, PENDING)]


def test_a_refused_request_is_said_once_and_forgotten() -> None:
    before = resting(State.COMPLETED, cancel_requested_at=PAST, retry_requested_at=PAST)
    decision = after(before, RequestRefused("no", cancel=True))
    assert decision.order.cancel_requested_at is decision.order.retry_requested_at is None
    assert decision.transitions == (Transition("state", State.COMPLETED, State.COMPLETED, None, reason="no"),)


def test_a_refused_retry_leaves_a_withdrawal_standing() -> None:
    row = after(resting(HELD, cancel_requested_at=PAST), RequestRefused("no", cancel=False)).order
    assert row.cancel_requested_at == PAST


def test_a_withdrawal_says_whether_the_carrier_was_told() -> None:
    (transition,) = after(tracking(), Withdrawn(NOT_TOLD)).transitions
    assert transition.reason == NOT_TOLD
    assert transition.new_value == State.CANCELLED
