"""Back-off and pace for any settings and any luck: within bounds, growing, spread, and never above the limit."""

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cadence.ledger import busiest
from tests.domain.cases import NOW
from worker.domain.pacing import TOKEN_LIFE, Pace
from worker.domain.policy import Backoff

SECOND, HOUR, NOTHING = timedelta(seconds=1), timedelta(hours=1), timedelta(0)
TRANSIT = 2.0

spans = st.timedeltas(timedelta(milliseconds=1), timedelta(days=30))
backoffs = st.builds(Backoff, first=spans, factor=st.floats(1, 10), cap=spans, not_found_wait=spans)
chances = st.floats(0, 1, exclude_max=True)
counts = st.integers(0, 60)


@given(backoffs, counts, st.timedeltas(timedelta(days=-1), timedelta(days=400)), chances)
def test_no_wait_after_a_failure_is_negative_or_longer_than_its_cap(
    backoff: Backoff, attempts: int, since: timedelta, chance: float
) -> None:
    assert NOTHING <= backoff.wait(attempts, chance) <= backoff.cap
    assert NOTHING <= backoff.outage_wait(since, chance) <= backoff.cap
    assert NOTHING <= backoff.label_wait(attempts, since, chance) <= max(backoff.cap, 6 * HOUR)
    slow = backoff.not_found_again(chance)
    assert backoff.not_found_wait * 0.9 - SECOND <= slow <= backoff.not_found_wait * 1.1 + SECOND


@given(backoffs, counts, counts, spans, spans, chances)
def test_with_the_same_luck_the_next_wait_is_never_shorter(
    backoff: Backoff, some: int, more: int, sooner: timedelta, later: timedelta, chance: float
) -> None:
    some, more = sorted((some, more))
    sooner, later = sorted((sooner, later))
    assert backoff.wait(some, chance) <= backoff.wait(more, chance)
    assert backoff.outage_wait(sooner, chance) <= backoff.outage_wait(later, chance)
    assert backoff.label_wait(some, sooner, chance) <= backoff.label_wait(more, later, chance)


@pytest.mark.parametrize("seed", range(10))
def test_an_outage_of_six_hours_costs_a_return_some_sixty_questions(seed: int) -> None:
    backoff, chance, lost, tries = Backoff(), random.Random(seed), NOTHING, 0
    while lost < 6 * HOUR:
        lost += max(backoff.outage_wait(lost, chance.random()), SECOND / 5)  # no request takes less
        tries += 1
    assert 25 <= tries <= 100


def test_those_who_failed_at_one_moment_do_not_come_back_at_one_moment() -> None:
    backoff, chance = Backoff(), random.Random(1)
    for attempts, least_apart in ((1, 2), (5, 32), (12, 900)):
        times = sorted(backoff.wait(attempts, chance.random()).total_seconds() for _ in range(10_000))
        assert busiest(times, least_apart / 20) <= 10_000 / 20 * 1.3


@given(st.one_of(st.integers(1, 30), st.integers(1, 1_000)), st.integers(0, 2**32))
@settings(max_examples=40)
def test_whenever_tokens_are_used_and_requests_arrive_no_minute_sees_more_than_the_limit(rate: int, seed: int) -> None:
    """Tokens are taken in chunks of any size, used at any moment of their life, and requests overtake each other."""
    pace, chance, spent, at = Pace(rate), random.Random(seed), None, 0.0
    arrived: list[float] = []
    while at < 200 and len(arrived) < 4 * rate:
        grant = pace.take(spent, NOW + timedelta(seconds=at), chance.choice([1, 1, 3, rate]))
        spent = grant.spent_until if grant.tokens else spent
        for _ in range(grant.tokens):
            used = chance.choice([0.0, TOKEN_LIFE.total_seconds(), chance.uniform(0, TOKEN_LIFE.total_seconds())])
            arrived.append(at + used + chance.choice([0.0, TRANSIT, chance.uniform(0, TRANSIT)]))
        at += chance.choice([grant.wait.total_seconds(), 0.001, chance.uniform(0, 3), chance.uniform(0, 40)])
    assert busiest(sorted(arrived), 60.0) <= rate
