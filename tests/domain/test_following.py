"""Following a return whose shipments come later than itself, alone or seen in passing."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest

from tests.domain.cases import LABEL, NOW, POLICY, labelling, problems, resting, tracking
from worker.domain.cadence import Ladder
from worker.domain.decide import decide
from worker.domain.decision import Decision, StepOutcome
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import (
    Failed,
    FailureKind,
    LabelReady,
    LabelTrouble,
    NotCancelled,
    Outcome,
    Poisoned,
    StoredLabel,
    Tracked,
)
from worker.domain.policy import Policy
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


class Shipments(NamedTuple):
    """Where an order's shipments are, whether more may come, and what the order then is."""

    statuses: tuple[TrackingStatus, ...]
    all_returned: bool
    link_over: bool
    order: TrackingStatus


ROLL_UP = [
    Shipments((), all_returned=False, link_over=False, order=S.PENDING),
    Shipments((), all_returned=False, link_over=True, order=S.EXPIRED),
    Shipments((), all_returned=True, link_over=True, order=S.EXPIRED),
    Shipments((S.PRE_TRANSIT,), all_returned=True, link_over=False, order=S.PRE_TRANSIT),
    Shipments((S.IN_TRANSIT, S.PRE_TRANSIT), all_returned=True, link_over=False, order=S.IN_TRANSIT),
    Shipments((S.DELIVERED, S.PRE_TRANSIT), all_returned=True, link_over=False, order=S.IN_TRANSIT),
    Shipments((S.DELIVERED, S.UNKNOWN, S.IN_TRANSIT), all_returned=True, link_over=True, order=S.UNKNOWN),
    Shipments((S.PENDING,), all_returned=True, link_over=False, order=S.PENDING),
    Shipments((S.DELIVERED,), all_returned=True, link_over=False, order=S.DELIVERED),
    Shipments((S.DELIVERED, S.CANCELLED), all_returned=True, link_over=False, order=S.DELIVERED),
    Shipments((S.DELIVERED, S.FAILED), all_returned=True, link_over=False, order=S.FAILED),
    Shipments(
        (S.DELIVERED,), all_returned=False, link_over=False, order=S.PENDING
    ),  # more may come until the link has run out
    Shipments((S.DELIVERED,), all_returned=False, link_over=True, order=S.DELIVERED),
    Shipments(
        (S.CANCELLED,), all_returned=True, link_over=False, order=S.PENDING
    ),  # its label was refunded: the customer may schedule it anew
    Shipments((S.CANCELLED, S.CANCELLED), all_returned=False, link_over=True, order=S.CANCELLED),
    Shipments((S.CANCELLED, S.IN_TRANSIT), all_returned=True, link_over=True, order=S.IN_TRANSIT),
    Shipments(
        (S.PRE_TRANSIT,), all_returned=False, link_over=True, order=S.PRE_TRANSIT
    ),  # under way when the link ran out
]


@pytest.mark.parametrize("each", ROLL_UP, ids=str)
def test_shipments_roll_up_to_the_order_and_end_it_only_when_no_more_can_come(each: Shipments) -> None:
    for found in (each.statuses, each.statuses[::-1]):
        assert order_status(found, all_returned=each.all_returned, link_over=each.link_over) is each.order


def test_a_return_seen_before_its_time_is_asked_for_later_but_climbs_no_step() -> None:
    early = tracking(track_due_at=NOW + HOUR, unchanged_polls=3, tracking_status=S.IN_TRANSIT, carrier_status="2")
    decision = after(early, seen(S.IN_TRANSIT, "2"))
    assert decision.outcome is StepOutcome.UNCHANGED
    assert decision.order.unchanged_polls == 3
    assert decision.order.track_due_at == NOW + timedelta(minutes=15) * 1.5**3


@pytest.mark.parametrize(("minutes", "unchanged"), [(5, 4), (5.07, 3)])
def test_where_polls_wait_for_each_other_a_look_a_tenth_of_its_wait_before_its_time_is_its_own(
    minutes: float, unchanged: int
) -> None:
    """After three same answers the wait is 50.6 minutes."""
    policy = Policy(default_ladder=Ladder(meets=timedelta(0)))
    due_at = NOW + timedelta(minutes=minutes)
    early = tracking(track_due_at=due_at, unchanged_polls=3, tracking_status=S.IN_TRANSIT, carrier_status="2")
    decision = decide(early, seen(S.IN_TRANSIT, "2"), NOW, policy, 0.5)
    assert decision.order.unchanged_polls == unchanged
    wait = timedelta(minutes=15) * 1.5**unchanged
    assert decision.order.track_due_at is not None
    assert wait <= decision.order.track_due_at - NOW <= wait * 1.1


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


def test_a_label_is_missing_since_it_was_first_sought_however_often_it_was_asked_for() -> None:
    row = after(tracking(), seen(S.PRE_TRANSIT, labels=(1,))).order
    assert row.label_sought_since == NOW
    later = NOW + 20 * DAY
    row = decide(row, LabelTrouble(ErrorCode.LABEL_NOT_READY, "not yet"), later, POLICY, 0.5).order
    assert (row.label_sought_since, row.label_due_at) == (NOW, later + timedelta(seconds=1))
    assert decide(row, seen(S.IN_TRANSIT, "2", labels=(1,)), later, POLICY, 0.5).order.label_sought_since == NOW
    assert decide(row, LabelReady(LABEL), later, POLICY, 0.5).order.label_sought_since is None
    assert decide(row, seen(S.DELIVERED, "3"), later, POLICY, 0.5).order.label_sought_since is None


def test_a_label_that_appears_on_day_20_is_not_20_days_missing() -> None:
    first = tracking(labels=frozenset({1}), packages=(PackageInfo(1),), followed_since=NOW - 20 * DAY)
    assert after(first, seen(S.PRE_TRANSIT, labels=(1, 2))).order.label_sought_since == NOW


@pytest.mark.parametrize(("stored", "since"), [(1, NOW), (2, NOW - 20 * DAY)], ids=["the older one", "the newer one"])
def test_of_two_labels_that_are_missing_the_one_that_is_left_is_as_old_as_it_is(stored: int, since: datetime) -> None:
    both = labelling(packages=(PackageInfo(1), PackageInfo(2)), label_sought_since=NOW - 20 * DAY)
    row = after(both, LabelReady(replace(LABEL, position=stored), more=True)).order
    assert row.label_sought_since == since


def test_a_label_that_killed_its_workers_is_still_missing() -> None:
    row = after(labelling(claims=6, label_sought_since=NOW - DAY), Poisoned()).order
    assert (row.label_due_at, row.label_sought_since) == (None, NOW - DAY)


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


LOST = Failed(FailureKind.NOT_FOUND, "404")


def test_a_young_404_means_not_yet_and_is_polled_on_like_any_other_answer() -> None:
    decision = after(tracking(followed_since=NOW - 0.99 * HOUR, unchanged_polls=1, failing_since=NOW), LOST)
    row = decision.order
    assert (decision.outcome, decision.transitions, row.error_code, row.attempts) == (
        StepOutcome.UNCHANGED,
        (),
        None,
        0,
    )
    assert row.track_due_at == NOW + timedelta(minutes=22.5)
    assert row.failing_since is None  # it did answer


def test_a_return_that_the_carrier_lost_is_asked_for_three_times_at_a_distance_and_then_a_person_looks() -> None:
    row, now, asked = tracking(followed_since=NOW - HOUR, attempts=7), NOW, []
    while row.state is State.TRACKING:
        asked.append(now)
        row = decide(row, LOST, now, POLICY, 0.5).order
        now = row.track_due_at or now
    assert [later - earlier for earlier, later in pairwise(asked)] == [6 * HOUR, 6 * HOUR]
    assert (row.state, row.error_code, row.due_at) == (State.NEEDS_ATTENTION, ErrorCode.CARRIER_LOST_IT, None)


def test_only_404s_in_a_row_count() -> None:
    row = after(tracking(), LOST).order
    row = decide(row, seen(S.PRE_TRANSIT, "Created"), NOW, POLICY, 0.5).order
    assert (row.attempts, row.error_code) == (0, None)
    assert decide(row, LOST, NOW, POLICY, 0.5).order.attempts == 0  # it was not due
    assert decide(row._replace(track_due_at=NOW), LOST, NOW, POLICY, 0.5).order.attempts == 1


def test_a_404_that_a_person_asked_for_out_of_turn_counts_for_nothing() -> None:
    row = tracking(track_due_at=NOW + HOUR, attempts=2, error_code=ErrorCode.CARRIER_LOST_IT)
    decision = after(row, LOST)
    assert (decision.order.attempts, decision.order.track_due_at) == (2, NOW + HOUR)
    assert decision.order.state is State.TRACKING


def test_a_return_that_is_now_not_known_and_now_fails_is_not_tried_for_ever() -> None:
    row, now = tracking(tracking_status=S.IN_TRANSIT, followed_since=NOW - 2 * DAY), NOW
    answers = [LOST, Failed(FailureKind.SERVER_ERROR, "the carrier answered 500")]
    for number in range(40):
        row = decide(row._replace(claims=1), answers[number % 2], now, POLICY, 0.5).order
        if row.due_at is None:
            break
        now = row.due_at
    assert row.state is State.NEEDS_ATTENTION
    assert now - NOW < 3 * DAY


def test_a_step_back_is_recorded_as_one() -> None:
    row = tracking(tracking_status=S.IN_TRANSIT, carrier_status="InTransit")
    (line,) = after(row, seen(S.PRE_TRANSIT, "Created")).transitions
    assert (line.old_value, line.new_value, line.reason) == (S.IN_TRANSIT, S.PRE_TRANSIT, "after in_transit")
    (line,) = after(row, seen(S.UNKNOWN, "?")).transitions
    assert line.reason is None


def test_a_return_that_goes_back_and_forth_still_grows_old() -> None:
    row = tracking(tracking_status=S.PENDING, packages=(PackageInfo(1),), return_url="https://x", status_since=NOW)
    after_it = after(row, seen(S.PRE_TRANSIT)).order
    assert after_it.followed_since == row.followed_since
    assert after(row._replace(packages=()), seen(S.PRE_TRANSIT)).order.followed_since == NOW


STAY = Policy(default_ladder=Ladder(max_stay=5 * DAY))


@pytest.mark.parametrize(("days", "over"), [(4.9, False), (5, True)])
def test_a_status_that_lasts_too_long_expires(days: float, over: bool) -> None:
    row = tracking(
        tracking_status=S.UNKNOWN, carrier_status="?", status_since=NOW - days * DAY, followed_since=NOW - 9 * DAY
    )
    decision = decide(row, seen(S.UNKNOWN, "?"), NOW, STAY, 0.5)
    assert (decision.order.state is State.COMPLETED) is over
    if over:
        assert decision.transitions[0].reason == "unknown for longer than 5d"
    else:
        assert decision.order.due_at is not None and decision.order.due_at <= NOW + 0.1 * DAY + HOUR / 60


def test_a_status_begins_anew_when_it_is_another() -> None:
    row = tracking(tracking_status=S.UNKNOWN, carrier_status="?", status_since=NOW - 9 * DAY)
    assert decide(row, seen(S.IN_TRANSIT), NOW, STAY, 0.5).order.status_since == NOW
    assert decide(row, seen(S.IN_TRANSIT), NOW, STAY, 0.5).order.state is State.TRACKING


def test_a_stay_that_an_older_version_did_not_note_begins_at_the_next_poll_and_ends_no_return_early() -> None:
    row = tracking(tracking_status=S.UNKNOWN, carrier_status="?", status_since=None, followed_since=NOW - 20 * DAY)
    decision = decide(row, seen(S.UNKNOWN, "?"), NOW, STAY, 0.5)
    assert (decision.order.state, decision.order.status_since) == (State.TRACKING, NOW)


def finished(status: TrackingStatus, word: str) -> ReturnOrder:
    values = {"tracking_status": status, "carrier_status": word, "due_at": None, "label_due_at": None}
    return resting(State.COMPLETED, **values, followed_since=NOW - 90 * DAY)


def test_a_completed_return_that_the_carrier_has_under_way_is_followed_again() -> None:
    decision = after(finished(S.DELIVERED, "Delivered"), seen(S.IN_TRANSIT, "InTransit"))
    row = decision.order
    assert (row.state, row.tracking_status, row.followed_since) == (State.TRACKING, S.IN_TRANSIT, NOW)
    assert row.label_due_at == NOW  # it was no longer sought
    assert [(line.field, line.old_value, line.new_value) for line in decision.transitions] == [
        ("tracking_status", S.DELIVERED, S.IN_TRANSIT),
        ("state", State.COMPLETED, State.TRACKING),
    ]


def test_a_completed_return_that_came_to_another_end_stays_completed_with_that() -> None:
    decision = after(finished(S.DELIVERED, "Delivered"), seen(S.FAILED, "Lost"))
    assert (decision.order.state, decision.order.tracking_status, decision.order.due_at) == (
        State.COMPLETED,
        S.FAILED,
        None,
    )
    assert [line.field for line in decision.transitions] == ["tracking_status"]


@pytest.mark.parametrize(
    ("before", "word", "now", "said"),
    [
        (S.DELIVERED, "Delivered", S.DELIVERED, "Delivered"),
        (S.EXPIRED, "InTransit", S.IN_TRANSIT, "InTransit"),  # we gave it up, and nothing has changed since
        (S.EXPIRED, "1", S.EXPIRED, "1"),
    ],
)
def test_a_completed_return_about_which_nothing_is_new_stays_as_it_is(
    before: TrackingStatus, word: str, now: TrackingStatus, said: str
) -> None:
    decision = after(finished(before, word), seen(now, said))
    assert (decision.order.state, decision.order.tracking_status, decision.transitions) == (State.COMPLETED, before, ())


def test_an_expired_return_that_moves_again_is_followed_again() -> None:
    row = after(finished(S.EXPIRED, "InTransit"), seen(S.IN_TRANSIT, "OutForDelivery")).order
    assert (row.state, row.due_at) == (State.TRACKING, NOW)  # for its label


LABEL_SOUGHT = tracking(label_due_at=NOW + HOUR, label_attempts=2)


def test_a_word_that_means_pending_at_a_carrier_without_links_ages_as_every_other() -> None:
    old = tracking(tracking_status=S.PENDING, carrier_status="Aangemeld", followed_since=NOW - 61 * DAY)
    decision = decide(old, seen(S.PENDING, "Aangemeld"), NOW, Policy(), 0.5)
    assert (decision.order.state, decision.order.tracking_status) == (State.COMPLETED, S.EXPIRED)
    assert decision.transitions[0].reason == "nothing terminal within 60d of creation"
    waits = decide(old, seen(S.PENDING, "Aangemeld"), NOW, POLICY, 0.5)
    assert waits.order.state is State.TRACKING


def test_a_link_that_is_over_is_waited_for_no_longer_whatever_a_word_is_mapped_to() -> None:
    old = tracking(tracking_status=S.PENDING, followed_since=NOW - 61 * DAY)
    over = Tracked(TrackingUpdate(S.PENDING, "1", link_over=True))
    assert after(old, over).order.tracking_status is S.EXPIRED


def test_there_it_keeps_its_age_when_it_moves_and_its_label_is_sought_on() -> None:
    young = LABEL_SOUGHT._replace(tracking_status=S.PENDING, followed_since=NOW - 9 * DAY)
    moved = decide(young, seen(S.IN_TRANSIT, "2"), NOW, Policy(), 0.5).order
    assert moved.followed_since == NOW - 9 * DAY
    assert decide(LABEL_SOUGHT, seen(S.PENDING), NOW, Policy(), 0.5).order.label_due_at == NOW + HOUR


@pytest.mark.parametrize("status", [status for status in S if status.is_terminal])
def test_no_news_of_a_completed_return_changes_nothing(status: TrackingStatus) -> None:
    done = resting(State.COMPLETED, carrier_ref="1", tracking_status=status, carrier_status="3")
    decision = after(done, Tracked(None))
    assert (decision.outcome, decision.transitions) == (StepOutcome.UNCHANGED, ())
    assert decision.order.tracking_status is status


def test_no_news_climbs_the_ladder_and_ends_what_failed_and_grows_old_all_the_same() -> None:
    failing = tracking(attempts=5, failing_since=NOW - HOUR, unchanged_polls=3, error_code=ErrorCode.CARRIER_ERROR)
    row = after(failing, Tracked(None)).order
    assert (row.attempts, row.failing_since, row.error_code, row.unchanged_polls) == (0, None, None, 4)
    assert (row.tracking_status, row.carrier_status) == (S.PRE_TRANSIT, "Created")
    assert after(tracking(followed_since=NOW - 61 * DAY), Tracked(None)).order.tracking_status is S.EXPIRED
