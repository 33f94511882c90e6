"""The pace: never more than the limit in any minute at the carrier, whoever asks; and never a standstill."""

from bisect import bisect_left
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.cases import NOW
from worker.domain.pacing import TOKEN_LIFE, Pace

MINUTE = timedelta(seconds=60)
TRANSIT = timedelta(seconds=2)
WINDOW = MINUTE + TOKEN_LIFE + TRANSIT
RATES = [1, 2, 3, 9, 10, 11, 19, 20, 50, 60, 100, 999, 6000, 10_000]
MILLISECOND = timedelta(milliseconds=1)

arrivals = st.lists(
    st.tuples(
        st.one_of(
            st.integers(0, 2_000_000),
            st.integers(0, 90_000_000),
            st.sampled_from([0, 1, 65_000_000, 3600 * 10**6]),
        ),
        st.one_of(st.integers(0, 5), st.sampled_from([1, 50, 10**6])),
    ),
    max_size=80,
)


@given(st.one_of(st.sampled_from(RATES), st.integers(1, 10_000)), arrivals, st.booleans())
@settings(max_examples=60)
def test_no_window_ever_sees_more_requests_than_the_limit(
    rate: int, asked: list[tuple[int, int]], milliseconds: bool
) -> None:
    """Whoever asks, from however many workers: they share one moment, on SQLite cut to milliseconds."""
    pace, spent, now = Pace(rate), None, NOW
    at, counts = [], [0]
    for pause, want in asked:
        now += timedelta(microseconds=pause)
        clock = now - timedelta(microseconds=now.microsecond % 1000) if milliseconds else now
        grant = pace.take(spent, clock, want)
        assert 0 <= grant.tokens <= min(want, pace.burst)
        if grant.tokens:
            spent = grant.spent_until
            if milliseconds:
                spent -= timedelta(microseconds=spent.microsecond % 1000)
            at.append(clock)
            counts.append(counts[-1] + grant.tokens)
    for index, end in enumerate(at):
        since = bisect_left(at, end - WINDOW)
        assert counts[index + 1] - counts[since] <= rate


@pytest.mark.parametrize("rate", [1, 2, 9, 10, 19, 20, 60, 999, 5000])
@pytest.mark.parametrize("stored_in", [timedelta(microseconds=1), MILLISECOND], ids=["microseconds", "milliseconds"])
@pytest.mark.parametrize("want", [1, 10**6])
def test_the_greediest_worker_gets_nearly_all_and_never_more(rate: int, stored_in: timedelta, want: int) -> None:
    """It asks again exactly when the pace says that a token is there."""
    pace, spent, now = Pace(rate), None, NOW
    taken: list[tuple[timedelta, int]] = []
    while now - NOW < 2 * WINDOW:
        grant = pace.take(spent, now, want)
        if grant.tokens:
            spent = NOW + (grant.spent_until - NOW) // stored_in * stored_in
            taken.append((now - NOW, grant.tokens))
        now = max(grant.next_at, now + timedelta(microseconds=1))
    times, counts = [at for at, _ in taken], [0]
    for _, tokens in taken:
        counts.append(counts[-1] + tokens)
    windows = [counts[index + 1] - counts[bisect_left(times, at - WINDOW)] for index, (at, _) in enumerate(taken)]
    assert max(windows) <= rate
    assert counts[-1] >= rate  # two windows long, and at least one window's worth


@pytest.mark.parametrize("rate", [*range(1, 130), 999, 1000, 5000, 10_000, 10**6, 10**9, 10**12])
def test_every_limit_lets_work_go_on(rate: int) -> None:
    pace = Pace(rate)
    assert pace.interval > timedelta(0)
    first = pace.take(None, NOW, 1)
    assert first.tokens == 1
    assert first.next_at + pace.burst * pace.interval > NOW
    spent, now = first.spent_until, NOW
    for _ in range(20):
        grant = pace.take(spent, now, 10**9)
        if not grant.tokens:
            assert grant.next_at > now
            assert pace.take(spent, grant.next_at, 1).tokens == 1
        spent, now = grant.spent_until, max(now, grant.next_at)


@pytest.mark.parametrize(("rate", "burst"), [(1, 1), (9, 1), (10, 1), (19, 1), (20, 2), (60, 6), (10_000, 1000)])
def test_a_burst_is_a_tenth_of_a_minutes_worth(rate: int, burst: int) -> None:
    pace = Pace(rate)
    assert pace.burst == burst
    assert pace.take(None, NOW, 10**6).tokens == burst
    assert pace.take(NOW - timedelta(days=365), NOW, 10**6).tokens == burst


def test_a_burst_taken_is_gone() -> None:
    pace = Pace(60)
    first = pace.take(None, NOW, 100)
    again = pace.take(first.spent_until, NOW, 100)
    assert again.tokens == 0
    assert again.spent_until == first.spent_until


def test_wanting_nothing_takes_nothing() -> None:
    pace = Pace(60)
    spent = NOW - timedelta(seconds=1)
    assert pace.take(spent, NOW, 0).spent_until == spent


def test_a_clock_set_back_grants_nothing_and_breaks_nothing() -> None:
    grant = Pace(60).take(NOW + timedelta(seconds=30), NOW, 5)
    assert grant.tokens == 0
    assert grant.spent_until == NOW + timedelta(seconds=30)


def test_a_higher_limit_is_never_slower() -> None:
    intervals = [Pace(rate).interval for rate in range(1, 10_001)]
    # Where the burst grows by one the refill gives that one back, so only the rate over a window counts.
    rates = [Pace(rate).burst + WINDOW / Pace(rate).interval for rate in range(1, 10_001)]
    assert all(low <= high * 1.01 for low, high in pairwise(rates))
    assert min(intervals) > timedelta(milliseconds=5)


def test_what_is_left_for_others_is_never_taken_and_costs_no_more_than_waiting() -> None:
    pace = Pace(50)
    full = pace.take(None, NOW, 100, leave=2)
    assert full.tokens == pace.burst - 2
    assert pace.take(full.spent_until, NOW, 100, leave=2).tokens == 0
    assert pace.take(full.spent_until, NOW + 2 * MILLISECOND, 100).tokens == 2
    later = pace.take(full.spent_until, NOW + full.wait, 1, leave=2)
    assert later.tokens == 1


@pytest.mark.parametrize("rate", [1, 5, 19])
def test_an_account_with_a_small_rate_leaves_nothing_rather_than_stop(rate: int) -> None:
    assert Pace(rate).take(None, NOW, 1, leave=2).tokens == 1


@pytest.mark.parametrize(("remaining", "least", "most"), [(3, 14, 16), (1, 29, 31), (0, 59, 61)])
def test_few_requests_left_are_spread_over_the_rest_of_the_minute(remaining: int, least: float, most: float) -> None:
    pace = Pace(50)
    spent = pace.slowed(None, NOW, remaining)
    assert spent is not None
    assert least <= pace.take(spent, NOW, 1).wait.total_seconds() <= most
    assert pace.take(spent, NOW, 1).tokens == 0
    assert pace.slowed(spent, NOW, remaining) is None  # said again, it does not add up


def test_many_requests_left_slow_nobody_down() -> None:
    assert Pace(50).slowed(None, NOW, 4) is None
