"""The forecast tells the truth: each of its moments is one that `decide` would schedule."""

import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.cases import OPEN_STATUSES, pending
from worker.domain.cadence import Daytime, Ladder, spoken
from worker.domain.decide import decide
from worker.domain.demand import POLLED, demand_of, fitting_cap
from worker.domain.forecast import (
    BY_LINK,
    BY_PARCEL,
    Forecast,
    Journey,
    forecast,
    polls_per_minute,
    polls_within,
)
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Created, Tracked
from worker.domain.policy import Policy
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

S = TrackingStatus
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
BY_DAY = Ladder(daytime=Daytime(zone=AMSTERDAM))
QUIET = replace(BY_DAY, quiet_nights=True)
MONDAY = datetime(2026, 6, 1, 8, tzinfo=UTC)
PACKAGE = (PackageInfo(1),)


def policy_of(ladder: Ladder) -> Policy:
    return Policy(
        ladders={S.IN_TRANSIT: replace(ladder, first=min(2 * ladder.first, ladder.cap))}, default_ladder=ladder
    )


def status_at(journey: Journey, age: timedelta) -> TrackingStatus:
    """Where a parcel is so long after its creation, found from the end for a change."""
    reached = [
        (sum((stay for _, stay in journey[:number]), timedelta(0)), journey[number][0])
        for number in range(len(journey))
    ]
    whole = sum((stay for _, stay in journey), timedelta(0))
    return S.DELIVERED if age >= whole else [status for begin, status in reached if begin <= age][-1]


def as_decided(
    policy: Policy, journey: Journey, start: datetime, pickup: date | None
) -> tuple[list[datetime], TrackingStatus]:
    """The polls of the same return as the worker's own `decide` schedules them, and how it ends."""

    def packages(status: TrackingStatus) -> tuple[PackageInfo, ...]:
        return () if status is S.PENDING else PACKAGE

    first = journey[0][0]
    made = Created("9RET1", TrackingUpdate(first, first), packages(first), has_label=False)
    decision = decide(pending(pickup_date=pickup), made, start, policy, 0.5)
    order: ReturnOrder = decision.order._replace(packages=packages(first))
    polls = []
    while order.state is State.TRACKING:
        assert order.next_step is Step.TRACK
        assert order.due_at is not None
        now = order.due_at
        polls.append(now)
        status = status_at(journey, now - start)
        order = decide(order, Tracked(TrackingUpdate(status, status), packages(status)), now, policy, 0.5).order
        order = order._replace(packages=order.packages or packages(status))
    assert order.tracking_status is not None
    return polls, order.tracking_status


def moments(found: Forecast) -> list[datetime]:
    return [poll.at for poll in found.polls]


JOURNEYS: dict[str, Journey] = {
    "parcel": BY_PARCEL,
    "link": BY_LINK,
    "there and back": ((S.PENDING, 9 * DAY), (S.PRE_TRANSIT, DAY), (S.PENDING, DAY), (S.UNKNOWN, 12 * DAY)),
    "never ends": ((S.PRE_TRANSIT, 3000 * DAY),),
    "too short to be seen": ((S.PRE_TRANSIT, HOUR), (S.UNKNOWN, SECOND), (S.IN_TRANSIT, DAY)),
}
LADDERS = {
    "default": BY_DAY,
    "quiet nights": QUIET,
    "never near": replace(BY_DAY, near_pickup=timedelta(0)),
    "stays are limited": replace(QUIET, max_stay=10 * DAY, cap=13 * HOUR),
    "over midnight": replace(QUIET, daytime=Daytime(22 * HOUR, 8 * HOUR, AMSTERDAM)),
    "old soon": replace(BY_DAY, max_age=7 * MINUTE),
    "old in five days": replace(BY_DAY, max_age=5 * DAY),
}
# The clock goes forward on 29 March and back on 25 October 2026.
STARTS = [
    MONDAY,
    datetime(2026, 3, 27, 22, 17, tzinfo=UTC),
    datetime(2026, 10, 23, 23, 59, 59, 999999, tzinfo=AMSTERDAM),
]


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=JOURNEYS)
def test_a_forecast_is_what_the_worker_would_schedule(journey: Journey, ladder: Ladder) -> None:
    policy = policy_of(ladder)
    for start in STARTS:
        utc = start.astimezone(UTC)
        for pickup in (None, utc.date() - DAY, utc.date() + DAY, date.max):
            found = forecast(policy, journey, start, pickup)
            assert (moments(found), found.ending) == as_decided(policy, journey, utc, pickup)


_spans = st.timedeltas(10 * MINUTE, 30 * DAY)
_ladders = st.builds(
    Ladder,
    first=st.timedeltas(10 * MINUTE, 2 * DAY),
    factor=st.floats(1, 5),
    cap=st.timedeltas(10 * MINUTE, 3 * DAY),
    max_age=_spans,
    max_stay=st.none() | _spans,
    near_pickup=st.just(timedelta(0)) | st.timedeltas(10 * MINUTE, 8 * HOUR),
    quiet_nights=st.booleans(),
    daytime=st.builds(Daytime, st.timedeltas(timedelta(0), 23 * HOUR), st.timedeltas(MINUTE, DAY), st.just(AMSTERDAM)),
)
_journeys = st.lists(st.tuples(st.sampled_from(OPEN_STATUSES), st.timedeltas(SECOND, 4 * DAY)), min_size=1, max_size=3)
_starts = st.integers(0, 365 * 24 * 3600).map(lambda second: datetime(2026, 1, 1, tzinfo=UTC) + second * SECOND)


@given(_journeys, _ladders, _starts, st.none() | st.integers(-2, 6))
@settings(max_examples=60, deadline=None)
def test_whatever_is_set_a_forecast_is_what_the_worker_would_schedule(
    journey: Journey, ladder: Ladder, start: datetime, days: int | None
) -> None:
    policy, pickup = policy_of(ladder), None if days is None else start.date() + days * DAY
    found = forecast(policy, journey, start, pickup)
    assert (moments(found), found.ending) == as_decided(policy, journey, start, pickup)


@given(_journeys, _ladders, _starts)
@settings(max_examples=40, deadline=None)
def test_no_two_polls_are_closer_than_the_ladder_allows(journey: Journey, ladder: Ladder, start: datetime) -> None:
    policy = policy_of(replace(ladder, near_pickup=timedelta(0), quiet_nights=False, max_age=365 * DAY, max_stay=None))
    found = forecast(policy, journey, start)
    status, unchanged, before = journey[0][0], 0, start
    for poll in found.polls:
        assert poll.at - before == policy.ladder(status).steady_wait(unchanged)
        status, unchanged, before = poll.status, poll.unchanged, poll.at


@given(_ladders, _starts)
@settings(max_examples=40, deadline=None)
def test_with_quiet_nights_no_forecast_has_a_poll_at_night(ladder: Ladder, start: datetime) -> None:
    ladder = replace(ladder, quiet_nights=True, max_age=365 * DAY, max_stay=None, near_pickup=timedelta(0))
    for at in moments(forecast(policy_of(ladder), BY_PARCEL, start)):
        begin, end = ladder.daytime.around(at)
        assert begin <= at < end


def test_the_same_question_has_the_same_answer_whatever_the_zone_it_is_asked_in() -> None:
    policy = policy_of(BY_DAY)
    assert forecast(policy, BY_LINK, MONDAY.astimezone(AMSTERDAM)) == forecast(policy, BY_LINK, MONDAY)


def test_a_pickup_date_is_asked_about_each_hour_of_two_days() -> None:
    found = forecast(policy_of(BY_DAY), BY_PARCEL, MONDAY, date(2026, 6, 2))
    per_day = [
        sum(at.astimezone(AMSTERDAM).date() == date(2026, 6, day) for at in moments(found)) for day in range(1, 8)
    ]
    assert per_day[1] >= 14
    assert per_day[2] >= 14
    assert max(per_day[3:]) <= 6


@pytest.mark.parametrize(("months", "polls"), [(1, 130), (2, 250), (12, 1470)])
def test_the_number_of_polls_over_months(months: int, polls: int) -> None:
    """Eight growing waits of 12.3 hours in all, then four polls a day, and one that finds it delivered or expired."""
    policy = Policy(default_ladder=replace(BY_DAY, max_age=3650 * DAY))
    days = {1: 31, 2: 61, 12: 366}[months]
    found = forecast(policy, ((S.PRE_TRANSIT, days * DAY),), MONDAY)
    assert found.ending is S.DELIVERED
    assert len(found.polls) == polls
    assert found.life - days * DAY < 6 * HOUR


def test_a_forecast_of_a_million_polls_is_cut() -> None:
    fast = Policy(default_ladder=Ladder(first=SECOND / 5, factor=1.0, cap=SECOND / 5))
    found = forecast(fast, BY_PARCEL, MONDAY, most=1000)
    assert (len(found.polls), found.ending) == (1000, None)


@given(st.timedeltas(MINUTE, DAY), st.floats(1, 5), st.timedeltas(MINUTE, DAY), st.timedeltas(HOUR, 20 * DAY))
@settings(max_examples=100, deadline=None)
def test_polls_within_a_span_are_those_that_a_walk_counts(
    first: timedelta, factor: float, cap: timedelta, span: timedelta
) -> None:
    ladder = Ladder(first=first, factor=factor, cap=cap)
    polls, walked = 0, timedelta(0)
    while polls < 5000 and walked + ladder.steady_wait(polls) <= span:
        walked += ladder.steady_wait(polls)
        polls += 1
    if polls < 5000:
        assert polls - 0.001 <= polls_within(ladder, span) <= polls + 1.001


@pytest.mark.parametrize(
    ("ladder", "in_three_days"),
    [
        (BY_DAY, 17.95),
        (replace(BY_DAY, first=HOUR, factor=1.0, cap=HOUR), 72),
        (replace(BY_DAY, first=SECOND / 5, factor=1.0, cap=SECOND / 5), 1_296_000),
        (replace(BY_DAY, first=HOUR, cap=MINUTE), 4320),
        (replace(BY_DAY, factor=float("inf")), 12.96),
        (replace(QUIET, first=MINUTE, factor=1.0, cap=MINUTE), 2520),
        (replace(QUIET, first=HOUR, factor=1.0, cap=HOUR), 42),
        (replace(QUIET, first=DAY, factor=1.0, cap=DAY), 2.86),
    ],
)
def test_what_one_return_asks_for_while_nothing_changes(ladder: Ladder, in_three_days: float) -> None:
    assert polls_per_minute(ladder) * 3 * 24 * 60 == pytest.approx(in_three_days, rel=0.02)


def test_a_stay_that_may_not_last_three_days_is_counted_as_long_as_it_may() -> None:
    hours = replace(BY_DAY, max_stay=2 * HOUR)
    assert polls_per_minute(hours) == pytest.approx(polls_within(hours, 2 * HOUR) / 120)
    assert polls_per_minute(replace(BY_DAY, max_age=2 * HOUR)) == polls_per_minute(hours)


def test_what_one_return_asks_for_is_reckoned_at_once() -> None:
    begin = time.perf_counter()
    for number in range(1, 200):
        polls_per_minute(replace(QUIET, first=SECOND / 5, factor=1 + 1e-7 * number, cap=HOUR))
        polls_per_minute(replace(BY_DAY, first=SECOND / 5, factor=1 + 1e-7 * number, cap=HOUR))
    assert time.perf_counter() - begin < 1


def test_the_demand_of_many_returns_is_the_sum_of_what_each_asks_for_and_says_how_it_comes_about() -> None:
    hourly, daily = (replace(BY_DAY, first=span, factor=1.0, cap=span) for span in (2 * HOUR, DAY))
    policy = Policy(ladders={S.IN_TRANSIT: hourly, S.PRE_TRANSIT: hourly}, default_ladder=daily)
    demand = demand_of(policy, {S.PRE_TRANSIT: 3000, S.IN_TRANSIT: 9000, S.UNKNOWN: 5, S.PENDING: 0})
    assert demand.per_minute == pytest.approx(100 + 5 / 1440)
    assert demand.arithmetic == "in_transit 9000 x one each 2h + pre_transit 3000 x one each 2h"


def test_with_quiet_nights_all_of_it_has_to_fit_into_the_daytime() -> None:
    minutely = replace(QUIET, first=5 * MINUTE, factor=1.0, cap=5 * MINUTE)
    assert demand_of(Policy(default_ladder=minutely), {S.PENDING: 100}).per_minute == pytest.approx(20, rel=0.001)


@pytest.mark.parametrize("limit", [20, 60, 80])
def test_the_cap_that_is_named_fits_and_the_next_lesser_one_would_not(limit: int) -> None:
    returns = {S.IN_TRANSIT: 20_000, S.PRE_TRANSIT: 3000, S.UNKNOWN: 1}
    policy = policy_of(BY_DAY)
    cap = fitting_cap(policy, returns, limit)
    assert (cap is None) == (limit == 20)
    if cap is not None:
        assert demand_of(policy_of(replace(BY_DAY, cap=cap)), returns).per_minute <= limit
        assert demand_of(policy_of(replace(BY_DAY, cap=cap - HOUR)), returns).per_minute > limit


def test_where_waits_do_not_grow_no_cap_is_named() -> None:
    steady = Policy(default_ladder=Ladder(first=MINUTE, factor=1.0, cap=MINUTE))
    assert fitting_cap(steady, {S.IN_TRANSIT: 100}, 60) is None


def test_every_status_that_is_polled_has_its_demand() -> None:
    assert set(POLLED) == set(OPEN_STATUSES)


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0.0033, "0.198s"), (1, "1m"), (60, "1h"), (119, "119m"), (264.6, "4.41h"), (60 * 1440, "60d")],
)
def test_times_are_spoken_as_people_do(minutes: float, text: str) -> None:
    assert spoken(timedelta(minutes=minutes)) == text
