"""`decide` as tables: what becomes of a row after each outcome, in each state that can meet it."""

from datetime import datetime, timedelta
from typing import Any

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


def seen(decision: Decision) -> tuple[Any, ...]:
    row = decision.order
    return row.state, row.next_step, row.due_at, row.attempts, row.error_code, decision.outcome


def update(status: TrackingStatus, word: str = "w", **more: Any) -> Tracked:
    return Tracked(TrackingUpdate(status, word, **more))


PENDING, TRACKING, HELD, REJECTED = State.PENDING, State.TRACKING, State.NEEDS_ATTENTION, State.REJECTED
CREATE, LABEL_STEP, TRACK = Step.CREATE, Step.LABEL, Step.TRACK

TABLE: list[tuple[str, ReturnOrder, Outcome, tuple[Any, ...]]] = [
    # a creation
    ("created", pending(), Created("9RET2", None), (TRACKING, LABEL_STEP, NOW, 0, None, S.CREATED)),
    (
        "created, no label yet",
        pending(attempts=4, error_code=E.CARRIER_UNREACHABLE, failing_since=LONG_AGO),
        Created("9RET2", None, has_label=False),
        (TRACKING, TRACK, NOW + 15 * MINUTE, 0, None, S.CREATED),
    ),
    ("invalid", pending(), Invalid(("a: b", "c: d")), (REJECTED, CREATE, None, 0, E.INVALID_PAYLOAD, S.REJECTED)),
    ("refused", pending(), Failed(K.REFUSED, "no"), (REJECTED, CREATE, None, 0, E.CARRIER_REFUSED, S.REJECTED)),
    (
        "not sent",
        pending(),
        Failed(K.NETWORK, "refused"),
        (PENDING, CREATE, NOW + timedelta(seconds=1), 0, E.CARRIER_UNREACHABLE, S.RETRYING),
    ),
    (
        "not sent for an hour",
        pending(failing_since=NOW - HOUR, attempts=2),
        Failed(K.NETWORK, "refused"),
        (PENDING, CREATE, NOW + 7.5 * MINUTE, 2, E.CARRIER_UNREACHABLE, S.RETRYING),
    ),
    (
        "not sent for three days",
        pending(failing_since=LONG_AGO),
        Failed(K.NETWORK, "refused"),
        (HELD, CREATE, None, 0, E.CARRIER_UNREACHABLE, S.NEEDS_ATTENTION),
    ),
    (
        "throttled, no time named",
        pending(attempts=3),
        Failed(K.THROTTLED, "busy"),
        (PENDING, CREATE, NOW + MINUTE, 3, None, S.WAITING),
    ),
    (
        "throttled for 7 s",
        pending(),
        Failed(K.THROTTLED, "busy", timedelta(seconds=7)),
        (PENDING, CREATE, NOW + timedelta(seconds=7), 0, None, S.WAITING),
    ),
    (
        "throttled for a year",
        pending(),
        Failed(K.THROTTLED, "busy", timedelta(days=365)),
        (PENDING, CREATE, NOW + HOUR, 0, None, S.WAITING),
    ),
    (
        "throttled until now",
        pending(),
        Failed(K.THROTTLED, "busy", timedelta(0)),
        (PENDING, CREATE, NOW + timedelta(seconds=1), 0, None, S.WAITING),
    ),
    (
        "throttled until yesterday",
        pending(),
        Failed(K.THROTTLED, "busy", -DAY),
        (PENDING, CREATE, NOW + timedelta(seconds=1), 0, None, S.WAITING),
    ),
    ("key refused", pending(), Failed(K.UNAUTHORIZED, "401"), (PENDING, CREATE, PAST, 0, None, S.WAITING)),
    *(
        (
            f"in doubt: {kind}",
            pending(attempts=1),
            Failed(kind, "?"),
            (HELD, CREATE, None, 1, E.CREATE_OUTCOME_UNKNOWN, S.NEEDS_ATTENTION),
        )
        for kind in (K.OUTCOME_UNKNOWN, K.TIMEOUT, K.SERVER_ERROR, K.UNINTELLIGIBLE, K.NOT_FOUND)
    ),
    (
        "the sending is stopped",
        pending(created_at=PAST),
        SendingStopped(),
        (PENDING, CREATE, NOW + timedelta(minutes=1), 0, E.CARRIER_UNREACHABLE, S.WAITING),
    ),
    ("interrupted", sent(), Interrupted(), (HELD, CREATE, None, 0, E.CREATE_OUTCOME_UNKNOWN, S.NEEDS_ATTENTION)),
    ("number taken", pending(), RefTaken("9RET1"), (HELD, CREATE, None, 0, E.CARRIER_REF_TAKEN, S.NEEDS_ATTENTION)),
    ("poisoned", pending(claims=6), Poisoned(), (HELD, CREATE, None, 0, E.WORKER_CRASHED, S.NEEDS_ATTENTION)),
    (
        "poisoned while it was created",
        sent(claims=6),
        Poisoned(),
        (HELD, CREATE, None, 0, E.CREATE_OUTCOME_UNKNOWN, S.NEEDS_ATTENTION),
    ),
    # a poll
    (
        "unchanged",
        tracking(attempts=5, unchanged_polls=1, error_code=E.CARRIER_ERROR),
        update(TrackingStatus.PRE_TRANSIT, "Created"),
        (TRACKING, TRACK, NOW + 33.75 * MINUTE, 0, None, S.UNCHANGED),
    ),
    (
        "changed",
        tracking(unchanged_polls=9),
        update(TrackingStatus.IN_TRANSIT),
        (TRACKING, TRACK, NOW + 15 * MINUTE, 0, None, S.CHANGED),
    ),
    (
        "another word, same status",
        tracking(unchanged_polls=9),
        update(TrackingStatus.PRE_TRANSIT, "Planned"),
        (TRACKING, TRACK, NOW + 15 * MINUTE, 0, None, S.CHANGED),
    ),
    (
        "unknown word",
        tracking(),
        update(TrackingStatus.UNKNOWN, "AtDepot7"),
        (TRACKING, TRACK, NOW + 15 * MINUTE, 0, None, S.CHANGED),
    ),
    *(
        (f"terminal: {status}", tracking(), update(status), (State.COMPLETED, TRACK, None, 0, None, S.COMPLETED))
        for status in TrackingStatus
        if status.is_terminal
    ),
    (
        "too old",
        tracking(followed_since=NOW - 60 * DAY),
        update(TrackingStatus.PRE_TRANSIT, "Created"),
        (State.COMPLETED, TRACK, None, 0, None, S.COMPLETED),
    ),
    (
        "no shipment yet never grows too old",
        tracking(followed_since=NOW - 90 * DAY),
        update(TrackingStatus.PENDING),
        (TRACKING, TRACK, NOW + 15 * MINUTE, 0, None, S.CHANGED),
    ),
    *(
        (
            f"{kind} at a poll",
            tracking(attempts=3),
            Failed(kind, "?"),
            (TRACKING, TRACK, NOW + timedelta(seconds=8), 4, code, S.RETRYING),
        )
        for kind, code in (
            (K.UNINTELLIGIBLE, E.UNINTELLIGIBLE_ANSWER),
            (K.REFUSED, E.CARRIER_REFUSED),
        )
    ),
    *(
        (
            f"{kind} at the last poll",
            tracking(attempts=11),
            Failed(kind, "?"),
            (HELD, TRACK, None, 12, code, S.NEEDS_ATTENTION),
        )
        for kind, code in (
            (K.UNINTELLIGIBLE, E.UNINTELLIGIBLE_ANSWER),
            (K.REFUSED, E.CARRIER_REFUSED),
        )
    ),
    *(
        (
            f"{kind} at a poll",
            tracking(attempts=11),
            Failed(kind, "?"),
            (TRACKING, TRACK, NOW + timedelta(seconds=1), 11, code, S.RETRYING),
        )
        for kind, code in (
            (K.NETWORK, E.CARRIER_UNREACHABLE),
            (K.TIMEOUT, E.CARRIER_TIMEOUT),
            (K.SERVER_ERROR, E.CARRIER_ERROR),
        )
    ),
    *(
        (
            f"{kind} for three days",
            tracking(failing_since=LONG_AGO),
            Failed(kind, "?"),
            (HELD, TRACK, None, 0, code, S.NEEDS_ATTENTION),
        )
        for kind, code in (
            (K.NETWORK, E.CARRIER_UNREACHABLE),
            (K.TIMEOUT, E.CARRIER_TIMEOUT),
            (K.SERVER_ERROR, E.CARRIER_ERROR),
        )
    ),
    (
        "throttled at a poll",
        tracking(attempts=2, unchanged_polls=3),
        Failed(K.THROTTLED, "busy"),
        (TRACKING, TRACK, NOW + MINUTE, 2, None, S.WAITING),
    ),
    ("key refused at a poll", tracking(), Failed(K.UNAUTHORIZED, "401"), (TRACKING, TRACK, PAST, 0, None, S.WAITING)),
    ("poisoned at a poll", tracking(claims=6), Poisoned(), (HELD, TRACK, None, 0, E.WORKER_CRASHED, S.NEEDS_ATTENTION)),
    # a label
    (
        "poisoned at a label: it is parked, the return is followed on",
        labelling(claims=6),
        Poisoned(),
        (TRACKING, TRACK, NOW + HOUR, 0, None, S.NEEDS_ATTENTION),
    ),
    ("label stored", labelling(), LabelReady(LABEL), (TRACKING, TRACK, NOW + HOUR, 0, None, S.STORED)),
    (
        "label stored, the poll's clock unset",
        labelling(track_due_at=None),
        LabelReady(LABEL),
        (TRACKING, TRACK, PAST, 0, None, S.STORED),
    ),
    (
        "throttled at a label",
        labelling(),
        Failed(K.THROTTLED, "busy", timedelta(seconds=30)),
        (TRACKING, LABEL_STEP, NOW + timedelta(seconds=30), 0, None, S.WAITING),
    ),
    (
        "key refused at a label",
        labelling(),
        Failed(K.UNAUTHORIZED, "401"),
        (TRACKING, LABEL_STEP, PAST, 0, None, S.WAITING),
    ),
    # requests
    ("withdrawn", pending(), Withdrawn("why"), (State.CANCELLED, CREATE, None, 0, None, S.CANCELLED)),
    ("withdrawn under way", tracking(), Withdrawn(NOT_TOLD), (State.CANCELLED, TRACK, None, 0, None, S.CANCELLED)),
    ("withdrawn rejected", resting(REJECTED), Withdrawn("w"), (State.CANCELLED, CREATE, None, 3, None, S.CANCELLED)),
    ("withdrawn held", resting(HELD), Withdrawn("why"), (State.CANCELLED, CREATE, None, 0, None, S.CANCELLED)),
    ("put back", resting(REJECTED), PutBack(), (PENDING, CREATE, NOW, 0, None, S.PUT_BACK)),
    ("retry refused", tracking(), RequestRefused("no", cancel=False), (TRACKING, TRACK, PAST, 0, None, S.REFUSED)),
    (
        "withdrawal refused",
        resting(State.COMPLETED),
        RequestRefused("no", cancel=True),
        (State.COMPLETED, CREATE, None, 0, None, S.REFUSED),
    ),
    (
        "nothing to do",
        resting(HELD),
        NothingToDo(),
        (HELD, CREATE, None, 0, E.CREATE_OUTCOME_UNKNOWN, S.WAITING),
    ),
]


@pytest.mark.parametrize(("order", "outcome", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_an_outcome_leads_where_the_table_says(order: ReturnOrder, outcome: Outcome, expected: tuple[Any, ...]) -> None:
    assert seen(after(order, outcome)) == expected


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
