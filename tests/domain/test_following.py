"""Following a return whose shipments come later than itself, alone or seen in passing."""

from datetime import timedelta

import pytest

from tests.domain.cases import NOW, POLICY, labelling, problems, resting, tracking
from worker.domain.decide import decide
from worker.domain.decision import Decision, StepOutcome
from worker.domain.errors import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Failed, FailureKind, LabelReady, NotCancelled, Outcome, StoredLabel, Tracked
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.shipments import order_status
from worker.domain.tracking import TrackingStatus, TrackingUpdate

S = TrackingStatus
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def after(order: ReturnOrder, outcome: Outcome) -> Decision:
    decision = decide(order, outcome, NOW, POLICY, 0.5)
    assert problems(decision) == []
    return decision


def seen(status: TrackingStatus, word: str | None = "1", labels: tuple[int, ...] = ()) -> Tracked:
    return Tracked(TrackingUpdate(status, word), labels=frozenset(labels))


ROLL_UP = [
    ((), False, False, S.PENDING),
    ((), False, True, S.EXPIRED),
    ((), True, True, S.EXPIRED),
    ((S.PRE_TRANSIT,), True, False, S.PRE_TRANSIT),
    ((S.IN_TRANSIT, S.PRE_TRANSIT), True, False, S.IN_TRANSIT),
    ((S.DELIVERED, S.PRE_TRANSIT), True, False, S.IN_TRANSIT),
    ((S.DELIVERED, S.UNKNOWN, S.IN_TRANSIT), True, True, S.UNKNOWN),
    ((S.PENDING,), True, False, S.PENDING),
    ((S.DELIVERED,), True, False, S.DELIVERED),
    ((S.DELIVERED, S.CANCELLED), True, False, S.DELIVERED),
    ((S.DELIVERED, S.FAILED), True, False, S.FAILED),
    ((S.DELIVERED,), False, False, S.PENDING),  # more may come until the link has run out
    ((S.DELIVERED,), False, True, S.DELIVERED),
    ((S.CANCELLED,), True, False, S.PENDING),  # its label was refunded: the customer may schedule it anew
    ((S.CANCELLED, S.CANCELLED), False, True, S.CANCELLED),
    ((S.CANCELLED, S.IN_TRANSIT), True, True, S.IN_TRANSIT),
    ((S.PRE_TRANSIT,), False, True, S.PRE_TRANSIT),  # under way when the link ran out
]


@pytest.mark.parametrize(("statuses", "all_returned", "link_over", "expected"), ROLL_UP)
def test_shipments_roll_up_to_the_order_and_end_it_only_when_no_more_can_come(
    statuses: tuple[TrackingStatus, ...], all_returned: bool, link_over: bool, expected: TrackingStatus
) -> None:
    for order in (statuses, statuses[::-1]):
        assert order_status(order, all_returned=all_returned, link_over=link_over) is expected


def test_a_return_seen_before_its_time_is_asked_for_later_but_climbs_no_step() -> None:
    early = tracking(track_due_at=NOW + HOUR, unchanged_polls=3, tracking_status=S.IN_TRANSIT, carrier_status="2")
    decision = after(early, seen(S.IN_TRANSIT, "2"))
    assert decision.outcome is StepOutcome.UNCHANGED
    assert decision.order.unchanged_polls == 3
    assert decision.order.track_due_at == NOW + timedelta(minutes=15) * 1.5**3


def test_news_seen_before_its_time_is_recorded() -> None:
    early = tracking(track_due_at=NOW + HOUR, unchanged_polls=3, tracking_status=S.IN_TRANSIT, carrier_status="2")
    decision = after(early, seen(S.DELIVERED, "3"))
    assert decision.order.state is State.COMPLETED


def test_age_counts_from_the_first_shipment() -> None:
    """A link may be open for a year: the return that it leads to must not expire the moment it begins."""
    waiting = tracking(tracking_status=S.PENDING, carrier_status=None, followed_since=NOW - 200 * DAY)
    row = after(waiting, seen(S.PRE_TRANSIT)).order
    assert (row.state, row.followed_since) == (State.TRACKING, NOW)
    assert after(tracking(followed_since=NOW - 61 * DAY), seen(S.IN_TRANSIT)).order.tracking_status is S.EXPIRED


def test_a_label_that_appears_is_sought_at_once() -> None:
    row = after(tracking(labels=frozenset({1})), seen(S.PRE_TRANSIT, labels=(1, 2))).order
    assert (row.next_step, row.label_due_at) == (Step.LABEL, NOW)


@pytest.mark.parametrize(
    "order",
    [
        tracking(labels=frozenset({1, 2})),
        tracking(label_error_code=ErrorCode.WORKER_CRASHED),
        tracking(label_due_at=NOW + 6 * HOUR, label_attempts=4),
    ],
    ids=["all stored", "one that killed its workers", "sought already"],
)
def test_labels_that_need_no_search_start_none(order: ReturnOrder) -> None:
    row = after(order, seen(S.PRE_TRANSIT, labels=(1, 2))).order
    assert row.label_due_at == order.label_due_at
    assert row.label_attempts == order.label_attempts


def test_one_label_after_another_is_sought_until_there_is_none_missing() -> None:
    label = StoredLabel(1, "file:x", "image/png", 1, None, "ab")
    assert after(labelling(), LabelReady(label, more=True)).order.label_due_at == NOW
    assert after(labelling(), LabelReady(label)).order.label_due_at is None


def test_a_package_is_written_when_it_is_new_or_has_changed() -> None:
    known, grown = PackageInfo(1, "7", tracking_number="A"), PackageInfo(2, "8")
    order = tracking(packages=(known, PackageInfo(2, "8", "Box")))
    update = TrackingUpdate(S.IN_TRANSIT, "2")
    assert after(order, Tracked(update, (known, grown))).packages == (grown,)


def test_an_end_without_a_word_of_the_carrier_says_why() -> None:
    update = TrackingUpdate(S.EXPIRED, None, reason="the customer's link ran out")
    decision = after(tracking(tracking_status=S.PENDING, carrier_status=None), Tracked(update))
    assert [line.reason for line in decision.transitions] == ["the customer's link ran out"] * 2


FAILED = [kind for kind in FailureKind if kind is not FailureKind.OUTCOME_UNKNOWN]


@pytest.mark.parametrize("kind", FAILED)
def test_a_withdrawal_that_does_not_get_through_is_neither_forgotten_nor_repeated_at_once(kind: FailureKind) -> None:
    asked = tracking(cancel_requested_at=NOW, track_due_at=NOW)
    decision = after(asked, NotCancelled(Failed(kind, "no")))
    assert decision.step is Step.CANCEL
    row = decision.order
    assert row.state is State.TRACKING
    if kind is FailureKind.REFUSED:
        assert row.cancel_requested_at is None
        assert "refuses the withdrawal" in (decision.transitions[0].reason or "")
    elif kind is FailureKind.UNAUTHORIZED:
        assert decision.hold is not None
    else:
        assert row.cancel_requested_at == NOW
        assert row.due_at is not None
        assert row.due_at > NOW


def test_a_withdrawal_of_a_held_return_is_asked_for_again_too() -> None:
    held = resting(State.NEEDS_ATTENTION, carrier_ref="1", cancel_requested_at=NOW, error_code=None)
    row = after(held, NotCancelled(Failed(FailureKind.NETWORK, "no"))).order
    assert (row.state, row.cancel_requested_at) == (State.NEEDS_ATTENTION, NOW)
    assert row.due_at is not None
    assert row.due_at > NOW
    long_since = resting(State.NEEDS_ATTENTION, carrier_ref="1", cancel_requested_at=NOW, failing_since=NOW - 3 * DAY)
    given_up = after(long_since, NotCancelled(Failed(FailureKind.NETWORK, "no")))
    assert (given_up.order.cancel_requested_at, given_up.order.due_at) == (None, None)
    assert given_up.transitions


@pytest.mark.parametrize("kind", FAILED)
@pytest.mark.parametrize("step", [Step.LABEL, Step.TRACK, Step.CREATE])
def test_a_withdrawal_of_a_held_return_is_neither_lost_nor_repeated_in_a_tight_loop(
    kind: FailureKind, step: Step
) -> None:
    held = resting(State.NEEDS_ATTENTION, carrier_ref="1", cancel_requested_at=NOW, next_step=step)
    for before in (held, after(held, NotCancelled(Failed(FailureKind.NETWORK, "no"))).order):
        row = after(before, NotCancelled(Failed(kind, "no"))).order
        assert (row.due_at is not None) == (row.cancel_requested_at is not None)
        assert row.due_at == row.track_due_at
        if row.due_at is not None and kind is not FailureKind.UNAUTHORIZED:  # then the account waits, and is not asked
            assert row.due_at > NOW
