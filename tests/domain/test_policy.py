"""Cadence and back-off as tables."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.cases import NOW
from worker.domain.cadence import Ladder, grown
from worker.domain.policy import Backoff, Policy
from worker.domain.tracking import TrackingStatus

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HUGE = [float("inf"), 1e300, 1e9]


def waited(ladder: Ladder, unchanged: int, chance: float) -> timedelta:
    return ladder.next_at(NOW, unchanged, chance) - NOW


@pytest.mark.parametrize(
    ("unchanged", "minutes"),
    [(-1, 15), (0, 15), (1, 22.5), (2, 33.75), (7, 256.2890625), (8, 360), (9, 360), (10**6, 360), (2**63, 360)],
)
def test_a_cadence_grows_from_first_to_cap(unchanged: int, minutes: float) -> None:
    assert waited(Ladder(), unchanged, 0.5) == timedelta(minutes=minutes)


@pytest.mark.parametrize(("times", "seconds"), [(-1, 0.1), (0, 0.1), (1, 0.2), (3, 0.8), (9, 30.0), (10**6, 30.0)])
def test_a_back_off_is_the_same_rule_in_seconds_and_never_overflows(times: int, seconds: float) -> None:
    assert grown(0.1, 2.0, times, 30.0) == pytest.approx(seconds)
    assert grown(SECOND / 10, 2.0, times, 30 * SECOND) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("chance", "minutes"), [(0.0, 13.5), (0.25, 14.25), (0.5, 15), (0.75, 15.75)])
def test_jitter_gives_or_takes_its_part(chance: float, minutes: float) -> None:
    assert waited(Ladder(), 0, chance) == timedelta(minutes=minutes)


@given(st.integers(0, 2**40), st.floats(0, 1, exclude_max=True), st.floats(0, 0.99))
def test_jitter_never_leaves_its_bounds(unchanged: int, chance: float, jitter: float) -> None:
    steady = waited(Ladder(jitter=0), unchanged, chance)
    wait = waited(Ladder(jitter=jitter), unchanged, chance)
    assert steady * (1 - jitter) - SECOND <= wait <= steady * (1 + jitter) + SECOND


def test_without_jitter_chance_does_not_matter() -> None:
    assert waited(Ladder(jitter=0), 3, 0.0) == waited(Ladder(jitter=0), 3, 0.99)


@pytest.mark.parametrize("factor", [1.0, 1.0000001])
def test_a_cadence_that_does_not_grow_is_reckoned_at_once(factor: float) -> None:
    assert waited(Ladder(factor=factor, jitter=0), 2**31, 0.5) >= 15 * MINUTE


@pytest.mark.parametrize("factor", HUGE)
@pytest.mark.parametrize("count", [0, 1, 2, 10**9])
def test_a_huge_factor_does_not_overflow(factor: float, count: int) -> None:
    assert timedelta(0) < waited(Ladder(factor=factor), count, 0.5) <= 6 * HOUR
    assert timedelta(0) < Backoff(factor=factor).wait(count, 0.5) <= 15 * MINUTE
    assert timedelta(0) < Backoff(factor=factor).outage_wait(count * SECOND, 0.5) <= 15 * MINUTE


def test_a_cap_below_first_holds() -> None:
    assert waited(Ladder(first=HOUR, cap=MINUTE, jitter=0), 0, 0.5) == MINUTE


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 2), (1, 2), (2, 4), (3, 8), (9, 512), (10, 900), (11, 900), (10**6, 900)]
)
def test_a_back_off_doubles_up_to_its_cap(attempts: int, seconds: float) -> None:
    assert Backoff().wait(attempts, 1.0) == seconds * SECOND
    assert Backoff().wait(attempts, 0.5) == seconds * SECOND / 2
    assert Backoff().wait(attempts, 0.0) == timedelta(0)


@pytest.mark.parametrize(
    ("failing_for", "wait"),
    [
        (-DAY, 2 * SECOND),  # the database's clock was set back
        (timedelta(0), 2 * SECOND),
        (SECOND, 2 * SECOND),
        (10 * SECOND, 10 * SECOND),
        (14 * MINUTE, 14 * MINUTE),
        (HOUR, 15 * MINUTE),
        (3650 * DAY, 15 * MINUTE),
    ],
)
def test_an_outage_is_waited_out_in_proportion_to_what_it_has_cost(failing_for: timedelta, wait: timedelta) -> None:
    assert Backoff().outage_wait(failing_for, 1.0) == wait
    assert Backoff().outage_wait(failing_for, 0.25) == wait / 4


def test_an_outage_wait_without_growth_is_the_first_one() -> None:
    assert Backoff(factor=1.0).outage_wait(DAY, 1.0) == 2 * SECOND


def test_a_status_without_a_ladder_of_its_own_has_the_general_one() -> None:
    mine, general = Ladder(first=HOUR), Ladder(first=MINUTE)
    policy = Policy(ladders={TrackingStatus.UNKNOWN: mine}, default_ladder=general)
    assert policy.ladder(TrackingStatus.UNKNOWN) is mine
    assert policy.ladder(TrackingStatus.IN_TRANSIT) is general
    assert policy.ladder(None) is general
