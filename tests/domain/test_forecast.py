"""A forecast walks a whole life by the worker's own rules, and the means of many returns are held to it."""

import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.cases import OPEN_STATUSES
from worker.domain.cadence import Daytime, Ladder, spoken
from worker.domain.demand import demand_of, fitting_cap, polls_per_minute, polls_within
from worker.domain.forecast import BY_LINK, BY_PARCEL, Forecast, Journey, forecast
from worker.domain.outcomes import Created
from worker.domain.policy import Policy
from worker.domain.returns import PackageInfo
from worker.domain.tracking import POLLED, TrackingStatus, TrackingUpdate

S = TrackingStatus
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
BY_DAY = Ladder(daytime=Daytime(zone=AMSTERDAM))
QUIET = replace(BY_DAY, quiet_nights=True)
MONDAY = datetime(2026, 6, 1, 8, tzinfo=UTC)
PARCEL = Created("9RET1", None, (PackageInfo(1),))
LINK = Created("10011", TrackingUpdate(S.PENDING, None), has_label=False)


def policy_of(ladder: Ladder) -> Policy:
    return Policy(
        ladders={S.IN_TRANSIT: replace(ladder, first=min(2 * ladder.first, ladder.cap))}, default_ladder=ladder
    )


def moments(found: Forecast) -> list[datetime]:
    return [poll.at for poll in found.polls]


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
_creations = st.sampled_from([PARCEL, LINK])


@given(_journeys, _ladders, _starts, st.none() | st.integers(-2, 6), _creations)
@settings(max_examples=40, deadline=None)
def test_whatever_is_set_a_life_is_walked_to_its_end(
    journey: Journey, ladder: Ladder, start: datetime, days: int | None, created: Created
) -> None:
    found = forecast(policy_of(ladder), created, journey, start, None if days is None else start.date() + days * DAY)
    assert not found.is_cut
    assert [start, *moments(found)] == sorted({start, *moments(found)})
    assert found.ending in (S.DELIVERED, S.EXPIRED)
    assert sum(found.by_status.values()) == len(found.polls)
    assert [poll.before for poll in found.polls[1:]] == [poll.status for poll in found.polls[:-1]]


@given(_journeys, _ladders, _starts, _creations)
@settings(max_examples=40, deadline=None)
def test_every_wait_is_the_ladders_after_so_many_same_answers(
    journey: Journey, ladder: Ladder, start: datetime, created: Created
) -> None:
    policy = policy_of(replace(ladder, near_pickup=timedelta(0), quiet_nights=False, max_age=365 * DAY, max_stay=None))
    said, same, since = created.update and created.update.status, 0, start
    for poll in forecast(policy, created, journey, start).polls:
        assert poll.at - since == policy.ladder(poll.before).steady_wait(same)
        said, same, since = poll.status, same + 1 if poll.status is said else 0, poll.at


@given(_ladders, _starts)
@settings(max_examples=20, deadline=None)
def test_with_quiet_nights_no_forecast_has_a_poll_at_night(ladder: Ladder, start: datetime) -> None:
    ladder = replace(ladder, quiet_nights=True, max_age=365 * DAY, max_stay=None, near_pickup=timedelta(0))
    for at in moments(forecast(policy_of(ladder), PARCEL, BY_PARCEL, start)):
        begin, end = ladder.daytime.around(at)
        assert begin <= at < end


def test_the_same_question_has_the_same_answer_whatever_the_zone_it_is_asked_in() -> None:
    """In the night in which the clock goes forward, and a sum of local times would be an hour off."""
    start = datetime(2026, 3, 28, 23, 59, 59, 999999, tzinfo=UTC)
    policy = policy_of(BY_DAY)
    there, here = (forecast(policy, LINK, BY_LINK, moment) for moment in (start.astimezone(AMSTERDAM), start))
    assert there == here


def test_a_pickup_date_is_asked_about_each_hour_of_two_days() -> None:
    found = forecast(policy_of(BY_DAY), PARCEL, BY_PARCEL, MONDAY, date(2026, 6, 2))
    per_day = [
        sum(at.astimezone(AMSTERDAM).date() == date(2026, 6, day) for at in moments(found)) for day in range(1, 8)
    ]
    assert per_day[1] >= 14
    assert per_day[2] >= 14
    assert max(per_day[3:]) <= 6


def test_a_label_is_fetched_once_there_is_a_shipment() -> None:
    policy = policy_of(BY_DAY)
    assert forecast(policy, PARCEL, BY_PARCEL, MONDAY).labels == 1
    assert forecast(policy, LINK, BY_LINK, MONDAY).labels == 1
    assert forecast(policy, LINK, [(S.PENDING, 5 * DAY)], MONDAY).labels == 0  # seen when it is over already


def test_age_counts_from_the_first_shipment_and_a_stay_from_its_first_sight() -> None:
    aged = Policy(default_ladder=replace(BY_DAY, max_age=4 * DAY), open_ended=frozenset({S.PENDING}))
    found = forecast(aged, LINK, [(S.PENDING, 9 * DAY), (S.PRE_TRANSIT, 90 * DAY)], MONDAY)
    shipped = next(poll.at for poll in found.polls if poll.status is S.PRE_TRANSIT)
    assert (found.ending, found.ends_at) == (S.EXPIRED, shipped + 4 * DAY)
    stays = Policy(default_ladder=BY_DAY, ladders={S.UNKNOWN: replace(BY_DAY, max_stay=3 * DAY)})
    found = forecast(stays, PARCEL, [(S.PRE_TRANSIT, DAY), (S.UNKNOWN, 90 * DAY)], MONDAY)
    seen = next(poll.at for poll in found.polls if poll.status is S.UNKNOWN)
    assert (found.ending, found.ends_at) == (S.EXPIRED, seen + 3 * DAY)


@pytest.mark.parametrize(("months", "polls"), [(1, 131), (2, 251), (12, 1471)])
def test_the_number_of_polls_over_months(months: int, polls: int) -> None:
    """The first status is news; eight growing waits of 12.3 hours, four polls a day, and the one that sees the end."""
    policy = Policy(default_ladder=replace(BY_DAY, max_age=3650 * DAY))
    days = {1: 31, 2: 61, 12: 366}[months]
    found = forecast(policy, PARCEL, ((S.PRE_TRANSIT, days * DAY),), MONDAY)
    assert found.ending is S.DELIVERED
    assert len(found.polls) == polls
    assert found.life - days * DAY < 6 * HOUR


def test_hundreds_of_polls_are_walked_at_once() -> None:
    spent = []
    for _ in range(3):
        begin = time.perf_counter()
        polls = forecast(Policy(default_ladder=BY_DAY), PARCEL, [(S.UNKNOWN, 99 * DAY)], MONDAY).polls
        spent.append(time.perf_counter() - begin)
    assert len(polls) > 200
    assert min(spent) < 0.1  # some 5 ms


FAST = Ladder(first=SECOND / 5, factor=1.0, cap=SECOND / 5)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.domain.forecast.MOST_POLLS", 2000)


@pytest.mark.usefixtures("short")
def test_a_life_of_a_million_polls_is_cut_and_its_polls_are_reckoned() -> None:
    """Only one status is asked about so often."""
    policy = Policy(default_ladder=BY_DAY, ladders={S.PRE_TRANSIT: FAST})
    found = forecast(policy, PARCEL, BY_PARCEL, MONDAY, date(2026, 6, 2))
    assert (len(found.polls), found.is_cut, found.ending, found.labels) == (2000, True, S.DELIVERED, 1)
    assert found.life == pytest.approx(5 * DAY, rel=0.05)
    assert found.by_status[S.PRE_TRANSIT] == pytest.approx(2 * 86400 * 5, rel=0.01)
    assert found.by_status[S.IN_TRANSIT] == pytest.approx(polls_within(BY_DAY, 3 * DAY), rel=0.1)


@pytest.mark.usefixtures("short")
def test_a_life_of_too_many_polls_expires_when_it_would() -> None:
    found = forecast(Policy(default_ladder=FAST), PARCEL, [(S.PRE_TRANSIT, 40 * DAY), (S.UNKNOWN, 40 * DAY)], MONDAY)
    assert (found.ending, found.life) == (S.EXPIRED, 60 * DAY)


@pytest.mark.usefixtures("short")
def test_of_polls_that_are_many_only_near_the_pickup_none_that_was_walked_is_left_out() -> None:
    policy = Policy(default_ladder=replace(BY_DAY, near_pickup=SECOND))
    found = forecast(policy, PARCEL, BY_PARCEL, MONDAY, MONDAY.date())
    assert found.is_cut
    assert sum(found.by_status.values()) >= 2000


def walked(ladder: Ladder, span: timedelta, start: datetime) -> float:
    """Polls of a return within a time after a change, while nothing changes; of the last wait the part within."""
    news = Created("10011", TrackingUpdate(S.UNKNOWN, "unknown"))
    endless = Policy(default_ladder=replace(ladder, max_age=3650 * DAY, max_stay=None))
    found, end = [start, *moments(forecast(endless, news, [(S.UNKNOWN, span)], start))], start + span
    return len(found) - 2 + (end - found[-2]) / (found[-1] - found[-2])


@given(st.timedeltas(5 * MINUTE, DAY), st.floats(1, 5), st.timedeltas(5 * MINUTE, DAY), st.timedeltas(HOUR, 20 * DAY))
@settings(max_examples=40, deadline=None)
def test_polls_within_a_span_are_those_that_a_walk_counts(
    first: timedelta, factor: float, cap: timedelta, span: timedelta
) -> None:
    ladder = Ladder(first=first, factor=factor, cap=cap)
    assert polls_within(ladder, span) == pytest.approx(walked(ladder, span, MONDAY), abs=1.001)


@pytest.mark.parametrize(("first", "factor", "cap"), [(0.25, 1.5, 6), (0.5, 1.5, 17), (1, 1, 1), (3, 1, 3), (1, 4, 24)])
def test_where_polls_wait_for_each_other_the_mean_is_what_walks_count(first: float, factor: float, cap: float) -> None:
    ladder = Ladder(first=first * HOUR, factor=factor, cap=cap * HOUR, meets=timedelta(seconds=5))
    assert polls_within(ladder, 20 * DAY) == pytest.approx(walked(ladder, 20 * DAY, MONDAY), rel=0.02)


@pytest.mark.parametrize(
    ("first", "factor", "cap"),
    [(0.25, 1.5, 6), (0.5, 1.5, 6), (0.25, 1.5, 17), (0.25, 1.5, 1), (1, 1, 1), (3, 1, 3), (5, 1, 5), (24, 1, 24)],
)
@pytest.mark.parametrize("daytime", [QUIET.daytime, Daytime(22 * HOUR, 8 * HOUR, AMSTERDAM)])
def test_with_quiet_nights_the_mean_is_near_to_what_walks_count(
    first: float, factor: float, cap: float, daytime: Daytime
) -> None:
    """Walks that begin at all hours: how many polls a day has depends on how waits meet the nights."""
    ladder = replace(QUIET, first=first * HOUR, factor=factor, cap=cap * HOUR, daytime=daytime)
    counts = [walked(ladder, 3 * DAY, MONDAY + hours * HOUR) for hours in range(0, 24, 3)]
    near = 0.1 if factor > 1 else 0.25  # a steady wait can miss the same part of each day
    assert polls_within(ladder, 3 * DAY) == pytest.approx(sum(counts) / len(counts), rel=near)


@pytest.mark.parametrize(
    ("ladder", "in_three_days"),
    [
        (BY_DAY, 17.95),
        (replace(BY_DAY, first=HOUR, factor=1.0, cap=HOUR), 72),
        (FAST, 1_296_000),
        (replace(BY_DAY, first=HOUR, cap=MINUTE), 4320),
        (replace(BY_DAY, factor=float("inf")), 12.96),
        (replace(QUIET, first=MINUTE, factor=1.0, cap=MINUTE), 2520),
        (replace(QUIET, first=HOUR, factor=1.0, cap=HOUR), 42),
        (replace(QUIET, first=DAY, factor=1.0, cap=DAY), 3),
    ],
)
def test_what_one_return_asks_for_while_nothing_changes(ladder: Ladder, in_three_days: float) -> None:
    assert polls_per_minute(ladder) * 3 * 24 * 60 == pytest.approx(in_three_days, rel=0.01)


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
