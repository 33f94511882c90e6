"""Moments that cannot be are over, and a clock that jumped judges no age until it has gone steadily."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.cases import NOW, POLICY, labelling, tracking
from worker.domain.cadence import Ladder
from worker.domain.circuits import Breaker, Circuit
from worker.domain.clocks import JUMP, LATEST, LONGEST_ABSENCE, LONGEST_WAIT, STEADY, Clock, lasts, seen
from worker.domain.decide import decide
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.outcomes import Failed, FailureKind, Tracked
from worker.domain.pacing import Pace
from worker.domain.policy import Policy
from worker.domain.ramp import Ramp, begun
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.store.database_clock import differing

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
YEAR = 365 * DAY
DOUBTING = Policy(judges_ages=False)
STILL_THERE = Tracked(TrackingUpdate(TrackingStatus.PRE_TRANSIT, "Created"))


@pytest.mark.parametrize(
    ("ahead", "goes_on"),
    [(-SECOND, False), (timedelta(0), False), (SECOND, True), (LATEST, True), (LATEST + SECOND, False), (DAY, False)],
)
def test_what_ends_later_than_anything_can_is_over(ahead: timedelta, goes_on: bool) -> None:
    assert lasts(NOW + ahead, NOW) is goes_on
    assert Circuit(5, NOW + ahead).is_open(NOW) is goes_on
    assert not lasts(None, NOW)


def test_clocks_that_stay_as_far_apart_are_told_of_in_the_same_words_at_each_look() -> None:
    said = {differing(timedelta(seconds=seconds)) for seconds in (90.001, 90.21, 89.7)}
    assert [line and line.partition(" of")[0] for line in said] == ["the database's clock is 90s ahead"]
    assert "5m behind" in (differing(timedelta(seconds=-300.004)) or "")


def test_whatever_the_settings_and_the_carrier_allow_is_believed() -> None:
    assert Policy().max_busy_wait == LONGEST_WAIT
    circuit = Breaker(1, LONGEST_WAIT, LONGEST_WAIT).failed(Circuit(), NOW, probe=False)
    assert circuit.is_open(NOW)


@pytest.mark.parametrize("ahead", [timedelta(minutes=3), HOUR, DAY, YEAR])
@pytest.mark.parametrize("rate", [1, 60, 999])
def test_what_was_spent_under_a_clock_that_was_ahead_keeps_nobody_waiting_and_brings_no_second_burst(
    ahead: timedelta, rate: int
) -> None:
    pace = Pace(rate)
    grant = pace.take(NOW + ahead, NOW, want=1000)
    assert (grant.tokens, grant.wait) == (0, pace.interval)
    assert pace.take(grant.spent_until, NOW + pace.interval, want=1000).tokens == 1


def test_a_carrier_s_word_is_kept_although_a_wrong_clock_wrote_a_later_one() -> None:
    assert Pace(60).slowed(NOW + DAY, NOW, remaining=0) is not None
    assert Pace(60).slowed(NOW + timedelta(seconds=70), NOW, remaining=0) is None


def test_a_success_of_a_time_to_come_proves_nothing_and_a_beginning_then_hinders_nothing() -> None:
    assert Ramp(64, None, NOW + DAY).allowed(NOW) == 1
    ramp = begun(NOW + DAY)
    assert ramp.succeeded(NOW, NOW - SECOND).allowed(NOW) == 2


def steady(clock: Clock | None, *jumps: timedelta, every: timedelta = timedelta(minutes=10)) -> Clock:
    """The clock after it was seen once for each of `jumps`, `every` apart."""
    now = clock.seen_at if clock is not None else NOW
    for jump in jumps:
        now += every + jump
        clock, _ = seen(clock, now, every)
    assert clock is not None
    return clock


@pytest.mark.parametrize("jump", [2 * JUMP, HOUR, 70 * DAY, YEAR, -2 * JUMP, -HOUR, -YEAR])
def test_a_clock_that_jumped_is_doubted_until_it_has_gone_steadily_for_an_hour(jump: timedelta) -> None:
    none = timedelta(0)
    assert steady(Clock(NOW), none, none).is_believed
    assert [steady(Clock(NOW), jump, *[none] * times).is_believed for times in range(8)] == [False] * 6 + [True] * 2
    assert not steady(Clock(NOW), jump, *[none] * 5, -jump, *[none] * 5).is_believed, "set right, it begins anew"


@given(st.lists(st.timedeltas(-JUMP, JUMP), max_size=50))
def test_a_clock_that_is_slewed_is_believed(offsets: list[timedelta]) -> None:
    assert steady(Clock(NOW), *offsets).is_believed


@pytest.mark.parametrize(
    ("later", "believed"),
    [
        (timedelta(0), True),
        (-JUMP, True),
        (-2 * JUMP, False),
        (LONGEST_ABSENCE, True),
        (LONGEST_ABSENCE + SECOND, False),
        (70 * DAY, False),
        (-YEAR, False),
    ],
)
def test_a_start_believes_a_clock_that_another_worker_saw_within_a_day(later: timedelta, believed: bool) -> None:
    assert seen(Clock(NOW), NOW + later, None)[0].is_believed is believed
    assert seen(None, NOW + later, None)[0].is_believed, "nobody knows better"


def test_a_doubt_outlives_the_worker_that_had_it() -> None:
    clock, _ = seen(Clock(NOW), NOW + 70 * DAY, timedelta(0))
    for pause, believed in ((STEADY / 2, False), (STEADY / 3, False), (STEADY / 5, True)):
        clock, _ = seen(clock, clock.seen_at + pause, None)
        assert clock.is_believed is believed


@pytest.mark.parametrize("age", [61 * DAY, 10 * YEAR])
def test_while_the_clock_is_doubted_nothing_expires_and_the_next_poll_lies_ahead(age: timedelta) -> None:
    old = tracking(followed_since=NOW - age, status_since=NOW - age, track_due_at=NOW - SECOND)
    stay = Policy(default_ladder=Ladder(max_stay=DAY), judges_ages=False)
    for policy in (DOUBTING, stay):
        decision = decide(old, STILL_THERE, NOW, policy, 0.5)
        assert decision.order.state is State.TRACKING
        assert decision.order.due_at is not None and decision.order.due_at > NOW + timedelta(minutes=1)
    assert decide(old, STILL_THERE, NOW, POLICY, 0.5).order.tracking_status is TrackingStatus.EXPIRED


@pytest.mark.parametrize("kind", [FailureKind.NETWORK, FailureKind.TIMEOUT, FailureKind.SERVER_ERROR])
def test_while_the_clock_is_doubted_nothing_is_given_up(kind: FailureKind) -> None:
    failing = tracking(failing_since=NOW - YEAR)
    assert decide(failing, Failed(kind, "down"), NOW, POLICY, 0.5).order.state is State.NEEDS_ATTENTION
    decision = decide(failing, Failed(kind, "down"), NOW, DOUBTING, 0.5)
    assert decision.order.state is State.TRACKING
    assert decision.order.due_at is not None and decision.order.due_at > NOW


def test_while_the_clock_is_doubted_a_404_means_not_yet() -> None:
    lost = Failed(FailureKind.NOT_FOUND, "404")
    assert decide(tracking(), lost, NOW, POLICY, 0.5).order.error_code is ErrorCode.CARRIER_LOST_IT
    decision = decide(tracking(), lost, NOW, DOUBTING, 0.5)
    assert (decision.order.error_code, decision.order.attempts) == (None, 0)
    assert decision.order.due_at is not None and decision.order.due_at > NOW
    assert decide(labelling(), lost, NOW, DOUBTING, 0.5).order.label_error_code is ErrorCode.LABEL_NOT_READY


@pytest.mark.parametrize("unchanged", [0, 5, 100])
@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("now", [NOW, NOW + 7 * HOUR, NOW + 15 * HOUR])
def test_no_healthy_wait_is_longer_than_the_longest(unchanged: int, quiet: bool, now: datetime) -> None:
    ladder = Ladder(jitter=0.99, quiet_nights=quiet, near_pickup=timedelta(0))
    policy = Policy(default_ladder=ladder)
    for chance in (0.0, 0.5, 0.999):
        assert ladder.next_at(now, unchanged, chance) - now < policy.longest_wait
