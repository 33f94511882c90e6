"""How many creations may be in flight: one, then twice as many with each success, and one again after a pause."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.cases import NOW
from worker.domain.ramp import Ramp, begun

SECOND = timedelta(seconds=1)


def test_one_is_in_flight_after_a_start_and_twice_as_many_with_each_success_until_nobody_counts() -> None:
    ramp, allowed = begun(NOW), []
    for number in range(8):
        allowed.append(ramp.allowed(NOW + number * SECOND))
        ramp = ramp.succeeded(NOW + number * SECOND, NOW + number * SECOND)
    assert allowed == [1, 2, 4, 8, 16, 32, None, None]


def test_what_was_sent_before_it_began_with_one_proves_nothing() -> None:
    ramp = begun(NOW)
    for _ in range(10):
        ramp = ramp.succeeded(NOW + SECOND, NOW - SECOND)
    assert ramp.allowed(NOW + SECOND) == 1


@pytest.mark.parametrize("ramp", [Ramp(), Ramp(64, NOW), Ramp(8, NOW, NOW), Ramp(64, NOW, NOW)])
def test_after_a_pause_of_creations_there_is_one_in_flight_again(ramp: Ramp) -> None:
    assert ramp.allowed(NOW + 61 * SECOND) == 1
    assert ramp.succeeded(NOW + 61 * SECOND, NOW + 60 * SECOND).allowed(NOW + 61 * SECOND) == 2


def test_at_full_speed_a_success_is_written_down_now_and_then_and_often_enough() -> None:
    ramp, writes = Ramp(64, NOW, NOW), 0
    for second in range(300):
        now = NOW + second * SECOND
        assert ramp.allowed(now) is None
        after = ramp.succeeded(now, now)
        writes += after is not ramp
        ramp = after
    assert 10 <= writes <= 20


@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from(["well", "lost"])), max_size=60))
def test_no_more_are_ever_allowed_than_twice_for_each_success_since_the_last_doubt(
    events: list[tuple[int, str]],
) -> None:
    ramp, now, well = begun(NOW), NOW, 0
    for pause, event in events:
        now += pause * SECOND
        if event == "lost":
            ramp, well = begun(now), 0
        else:
            ramp, well = ramp.succeeded(now, now), well + 1
        allowed = ramp.allowed(now)
        assert (allowed or 64) <= 2**well
