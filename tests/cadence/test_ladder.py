"""The ladder over simulated months: how often, near the pickup, by night, and when clocks change."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grids import diagonal
from worker.domain.cadence import Daytime, Ladder, meeting_width
from worker.domain.tracking import TrackingStatus
from worker.from_settings import meeting_of, policy_of
from worker.settings import AccountSettings, Settings, key_source

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
DAYTIME = Daytime(zone=AMSTERDAM)
POLICY = policy_of(Settings(accounts={"default": AccountSettings()}), "default")
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
CAPPED = 9  # so many same answers, and the wait is the cap
PICKUP = date(2026, 3, 10)
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)  # when clocks change, at 02:00 and at 03:00


def local(day: date, clock: str) -> datetime:
    """A wall time in Amsterdam."""
    return datetime.combine(day, time.fromisoformat(clock), AMSTERDAM).astimezone(UTC)


def walk(
    ladder: Ladder, begin: datetime, end: datetime, chance: random.Random | None = None, pickup: date | None = None
) -> list[datetime]:
    """When a return is asked about whose status changed at `begin` and not again until `end`."""
    polls, at, unchanged = [], begin, 0
    while (at := ladder.next_at(at, unchanged, chance.random() if chance else 0.5, pickup)) < end:
        polls.append(at)
        unchanged += 1
    return polls


def busiest_minute(moments: list[datetime]) -> int:
    """The most of them within a minute of the clock."""
    return max(Counter(at.replace(second=0, microsecond=0) for at in moments).values())


def wall(at: datetime) -> time:
    """What the clock on the wall says."""
    return at.astimezone(AMSTERDAM).time()


@pytest.mark.parametrize(
    ("status", "stay", "polls"),
    [
        *((status, stay, polls) for status in ("pending", "pre_transit", "unknown") for stay, polls in (
            (HOUR, 2), (DAY, 9), (7 * DAY, 33), (60 * DAY, 245)
        )),
        *(("in_transit", stay, polls) for stay, polls in ((HOUR, 1), (DAY, 8), (7 * DAY, 32), (60 * DAY, 244))),
    ],
)  # fmt: skip
def test_a_stay_of_so_long_takes_so_many_polls(status: str, stay: timedelta, polls: int) -> None:
    assert len(walk(POLICY.ladder(TrackingStatus(status)), NOON, NOON + stay)) == polls


@pytest.mark.parametrize("status", ["pending", "pre_transit", "in_transit", "unknown"])
def test_jitter_changes_the_number_of_polls_of_two_months_by_little(status: str) -> None:
    ladder = POLICY.ladder(TrackingStatus(status))
    counts = [len(walk(ladder, NOON, NOON + 60 * DAY, random.Random(seed))) for seed in range(20)]
    assert all(240 <= count <= 250 for count in counts)


def test_quiet_nights_ask_less_than_every_second_time() -> None:
    assert len(walk(Ladder(quiet_nights=True, daytime=DAYTIME), NOON, NOON + 60 * DAY)) in range(120, 190)


@pytest.mark.parametrize(
    ("day", "clock", "then"),
    [
        (-3, "10:00", "16:00"),  # long before: the cap
        (-1, "22:00", "04:00"),  # the night before, and back before the day begins
        (0, "02:00", "07:30"),  # in that night, and on the day: spread over its first hour
        (0, "06:50", "07:50"),  # shortly before the day, which must not make it sooner than the hour
        (0, "07:00", "08:00"),
        (0, "10:00", "11:00"),  # on the day
        (0, "20:59", "21:59"),
        (0, "21:00", "03:00"),  # the night in between
        (1, "04:00", "07:30"),
        (1, "20:30", "21:30"),  # the day after
        (1, "21:00", "03:00"),
        (2, "10:00", "16:00"),  # it is over
        (300, "10:00", "16:00"),  # inserted long after its pickup
    ],
)
def test_near_the_pickup_it_is_asked_each_hour_by_day(day: int, clock: str, then: str) -> None:
    at = Ladder(daytime=DAYTIME).next_at(local(PICKUP + day * DAY, clock), CAPPED, 0.5, PICKUP)
    assert wall(at) == time.fromisoformat(then)


@pytest.mark.parametrize(
    ("created", "quiet_nights"),
    diagonal([(-1, "23:30"), (0, "00:10"), (0, "06:59"), (0, "12:00"), (1, "03:00"), (1, "20:00")], [True, False]),
)
def test_whenever_it_is_created_no_wait_is_longer_in_the_daytime_of_the_pickup(
    created: tuple[int, str], quiet_nights: bool
) -> None:
    ladder, begin = Ladder(daytime=DAYTIME, quiet_nights=quiet_nights), local(PICKUP + created[0] * DAY, created[1])
    for seed in range(30):
        polls = [begin, *walk(ladder, begin, local(PICKUP + 2 * DAY, "12:00"), random.Random(seed), PICKUP)]
        assert longest_in_the_daytime(polls) <= ladder.near_pickup * (1 + ladder.jitter)


@pytest.mark.parametrize(("quiet_nights", "unchanged"), diagonal([True, False], [0, 4, CAPPED]))
def test_of_one_that_was_last_asked_the_day_before_the_pickup_morning_is_not_missed(
    quiet_nights: bool, unchanged: int
) -> None:
    ladder = Ladder(daytime=DAYTIME, quiet_nights=quiet_nights)
    for minutes in range(0, 14 * 60, 7):
        polls = [local(PICKUP - DAY, "07:00") + minutes * MINUTE]
        chance = random.Random(minutes)
        while polls[-1] < local(PICKUP + DAY, "21:00"):
            polls.append(ladder.next_at(polls[-1], unchanged, chance.random(), PICKUP))
        assert longest_in_the_daytime(polls) <= ladder.near_pickup * (1 + ladder.jitter)


def longest_in_the_daytime(polls: list[datetime]) -> timedelta:
    """The longest time between two polls that lies within the daytime of the pickup's date, or of the day after."""
    days = [DAYTIME.of(PICKUP), DAYTIME.of(PICKUP + DAY)]
    overlaps = [min(after, end) - max(before, begin) for before, after in pairwise(polls) for begin, end in days]
    return max(overlaps)


def test_a_near_pickup_of_nothing_makes_no_difference() -> None:
    ladder = Ladder(daytime=DAYTIME, near_pickup=timedelta(0))
    noon = local(PICKUP, "12:00")
    assert ladder.next_at(noon, CAPPED, 0.5, PICKUP) == ladder.next_at(noon, CAPPED, 0.5) == noon + 6 * HOUR


def test_all_that_are_fetched_on_one_day_are_not_asked_about_at_once() -> None:
    chance = random.Random(1)
    ladder = Ladder(daytime=DAYTIME)
    polls = [ladder.next_at(local(PICKUP, "03:00"), CAPPED, chance.random(), PICKUP) for _ in range(10_000)]
    assert busiest_minute(polls) <= 1.5 * 10_000 / 60


@pytest.mark.parametrize("pickup", [date.min, date(1900, 12, 31), date(9998, 12, 31), date(9999, 1, 1), date.max])
@pytest.mark.parametrize("quiet_nights", [False, True])
def test_a_pickup_at_the_far_end_of_the_calendar_changes_nothing(pickup: date, quiet_nights: bool) -> None:
    ladder = Ladder(daytime=DAYTIME, quiet_nights=quiet_nights)
    assert ladder.next_at(NOON, CAPPED, 0.5, pickup) == ladder.next_at(NOON, CAPPED, 0.5)


DAYTIMES = {
    "a day": DAYTIME,
    "to the next day": Daytime(5 * HOUR, 20 * HOUR, AMSTERDAM),
    "an evening": Daytime(22 * HOUR, 4 * HOUR, AMSTERDAM),
    "the whole day": Daytime(timedelta(0), DAY, AMSTERDAM),
    "a whole day from half past two": Daytime(2.5 * HOUR, DAY, AMSTERDAM),
    "from an hour that is left out in spring": Daytime(2.5 * HOUR, 10 * HOUR, AMSTERDAM),
}


@pytest.mark.parametrize(
    ("daytime", "change", "unchanged"), diagonal(DAYTIMES, {"spring": SPRING, "autumn": AUTUMN}, [0, 5, CAPPED])
)
def test_with_quiet_nights_nothing_is_asked_outside_the_daytime_though_clocks_change(
    daytime: Daytime, change: date, unchanged: int
) -> None:
    ladder, chance = Ladder(quiet_nights=True, daytime=daytime), random.Random(1)
    now = local(change - 2 * DAY, "00:00")
    for step in range(4 * 24 * 12):
        at = ladder.next_at(now + step * 5 * MINUTE, unchanged, chance.random())
        day = at.astimezone(AMSTERDAM).date()
        assert any(begin <= at < end for begin, end in (daytime.of(day - DAY), daytime.of(day))), at


@pytest.mark.parametrize(
    ("day", "unchanged"), diagonal({"any night": PICKUP, "spring": SPRING, "autumn": AUTUMN}, [0, 1, 4, CAPPED])
)
def test_what_would_come_by_night_is_spread_over_one_wait_after_it(day: date, unchanged: int) -> None:
    """10,000 returns that were asked about, evenly, in the last wait of the evening: no minute sees many of them."""
    ladder, chance = Ladder(quiet_nights=True, daytime=DAYTIME), random.Random(1)
    wait = ladder.steady_wait(unchanged)
    evening = local(day - DAY, "21:00")
    polls = [ladder.next_at(evening - wait * index / 10_000, unchanged, chance.random()) for index in range(10_000)]
    morning = [at for at in polls if at >= evening]
    assert all(local(day, "07:00") <= at < local(day, "07:00") + wait for at in morning)
    assert len(morning) > 9_000
    assert busiest_minute(morning) <= 1.5 * 10_000 / (wait / MINUTE)


def test_what_a_shop_inserts_at_midnight_is_not_asked_about_at_one_moment_of_the_morning() -> None:
    ladder, chance = Ladder(quiet_nights=True, daytime=DAYTIME), random.Random(1)
    polls = [ladder.next_at(local(PICKUP, "00:00"), 0, chance.random()) for _ in range(10_000)]
    assert busiest_minute(polls) <= 1.5 * 10_000 / 15


@pytest.mark.parametrize(("day", "hours"), [(PICKUP, 24), (SPRING, 23), (AUTUMN, 25)])
def test_a_daytime_begins_at_its_wall_time_however_long_the_day_is(day: date, hours: int) -> None:
    begin, end = DAYTIME.of(day)
    assert (wall(begin), wall(end)) == (time(7), time(21))
    assert begin - DAYTIME.of(day - DAY)[0] == hours * HOUR


spans = st.timedeltas(SECOND, 30 * DAY)
daytimes = st.builds(
    Daytime,
    st.integers(0, 24 * 60 - 1).map(lambda minutes: minutes * MINUTE),
    st.integers(1, 24 * 60).map(lambda minutes: minutes * MINUTE),
    st.sampled_from([UTC, AMSTERDAM, ZoneInfo("Pacific/Chatham"), ZoneInfo("America/New_York")]),
)
ladders = st.builds(
    Ladder,
    first=spans,
    factor=st.floats(1, 10),
    cap=spans,
    jitter=st.floats(0, 0.99),
    near_pickup=st.one_of(st.just(timedelta(0)), spans),
    quiet_nights=st.booleans(),
    daytime=daytimes,
    meets=st.one_of(st.none(), st.timedeltas(timedelta(0), timedelta(hours=2))),
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
pickups = st.one_of(st.none(), st.dates(), st.dates(date(2026, 1, 1), date(2027, 12, 31)))
chances = st.floats(0, 1, exclude_max=True)
counts = st.integers(0, 40)


def days_from(moment: datetime, days: int) -> date:
    """A date near a moment, so that pickups meet polls."""
    return moment.date() + days * DAY


@given(ladders, moments, counts, chances, pickups, st.one_of(st.none(), st.integers(-3, 33)))
@settings(max_examples=300)
def test_the_next_poll_is_never_now_and_never_outside_what_the_ladder_allows(
    ladder: Ladder, now: datetime, unchanged: int, chance: float, pickup: date | None, near: int | None
) -> None:
    pickup = pickup if near is None else days_from(now, near)
    at, steady = ladder.next_at(now, unchanged, chance, pickup), ladder.steady_wait(unchanged)
    assert at > now
    sooner = min(steady, ladder.near_pickup or steady) if pickup is not None else steady
    assert at - now >= sooner * (1 - ladder.jitter) - SECOND
    night = DAY - ladder.daytime.length + HOUR if ladder.quiet_nights else timedelta(0)  # an hour: clocks change
    spread = min(steady, ladder.daytime.length / 2) if ladder.quiet_nights else timedelta(0)
    # Where polls wait for each other they have no jitter; a night is followed by a wait for company of its own.
    early = steady * (1.2 if ladder.quiet_nights else 1.1) if ladder.meets is not None else steady * (1 + ladder.jitter)
    assert at - now <= early + night + spread + SECOND


@given(ladders, moments, counts, chances, st.integers(-3, 33))
@settings(max_examples=200)
def test_by_day_and_night_alike_a_pickup_makes_no_poll_later(
    ladder: Ladder, now: datetime, unchanged: int, chance: float, near: int
) -> None:
    ladder = replace(ladder, quiet_nights=False)
    assert ladder.next_at(now, unchanged, chance, days_from(now, near)) <= ladder.next_at(now, unchanged, chance)


@given(ladders, moments, chances, st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=200)
def test_the_more_often_nothing_is_new_the_later_the_next_poll(
    ladder: Ladder, now: datetime, chance: float, some: int, more: int
) -> None:
    """But for the spread over a morning, of what would have come in the night before it."""
    some, more = sorted((some, more))
    spread = ladder.daytime.length / 2 if ladder.quiet_nights else timedelta(0)
    assert ladder.next_at(now, some, chance) <= ladder.next_at(now, more, chance) + spread


def test_the_last_look_too_waits_for_the_morning() -> None:
    ladder = Ladder(daytime=DAYTIME, quiet_nights=True, jitter=0, first=HOUR, cap=6 * HOUR)
    evening = local(PICKUP, "19:30")
    early, late = local(PICKUP, "20:00"), local(PICKUP, "23:00")
    assert ladder.next_at(evening, CAPPED, 0.5, latest=early) == early
    assert ladder.next_at(evening, CAPPED, 0.5, latest=late) == local(PICKUP + DAY, "10:00")


# --- at a carrier that lists


MEETING = replace(POLICY.ladder(TrackingStatus.PENDING), meets=timedelta(seconds=5), near_pickup=timedelta(0))


@given(ladders, moments, counts, chances)
@settings(max_examples=200)
def test_polls_that_wait_for_each_other_come_a_tenth_of_their_wait_later_at_most(
    ladder: Ladder, now: datetime, unchanged: int, chance: float
) -> None:
    ladder = replace(ladder, meets=timedelta(seconds=5), quiet_nights=False)
    wait = ladder.steady_wait(unchanged)
    assert wait <= ladder.next_at(now, unchanged, chance) - now <= wait * 1.1


@pytest.mark.parametrize("unchanged", range(10))
def test_polls_of_one_tenth_of_a_wait_become_due_at_two_moments_at_most(unchanged: int) -> None:
    tenth = MEETING.steady_wait(unchanged) / 20
    due = {MEETING.next_at(NOON + tenth * index / 100, unchanged, index / 100) for index in range(100)}
    assert len(due) <= 2


@given(moments, moments, st.integers(0, 12), st.integers(0, 12))
def test_polls_of_different_waits_meet(now: datetime, then: datetime, some: int, more: int) -> None:
    """Each moment at which the longer wait ends is one at which the shorter may end too."""
    some, more = sorted((some, more))
    width = meeting_width(MEETING.steady_wait(some))
    apart = MEETING.next_at(now, more, 0.5) - MEETING.next_at(then, some, 0.5)
    assert apart % width == timedelta(0)


@pytest.mark.parametrize("wait", [timedelta(microseconds=1), timedelta(milliseconds=200), MINUTE, 6 * HOUR, 365 * DAY])
def test_moments_lie_a_tenth_of_the_wait_apart_at_most_and_a_twentieth_at_least(wait: timedelta) -> None:
    assert (
        min(wait / 20, wait - timedelta(microseconds=1)) <= meeting_width(wait) <= max(wait / 10, timedelta.resolution)
    )


def test_the_last_look_waits_for_no_company() -> None:
    latest = NOON + 15 * MINUTE + SECOND
    assert MEETING.next_at(NOON, 0, 0.5, latest=latest) == latest


def test_no_poll_waits_for_company_into_a_quiet_night() -> None:
    ladder, dusk = replace(MEETING, quiet_nights=True, daytime=DAYTIME), local(PICKUP, "21:00")
    for second in range(1, 7200, 7):
        at = ladder.next_at(dusk - 6 * HOUR - second * SECOND, CAPPED, 0.5)
        assert dusk - second * SECOND <= at < dusk


def test_accounts_meet_at_moments_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("a secret")
    accounts = {name: AccountSettings(carrier="returnpilot", api_key_file=file) for name in ("a", "b")}
    accounts["parcels"] = AccountSettings(api_key_file=file)
    configured = Settings(accounts=accounts)
    meets = {name: meeting_of(name, key_source(configured, name)) for name in accounts}
    assert meets["a"] != meets["b"]
    ladders = {name: policy_of(configured, name, meets[name]).ladder(TrackingStatus.PENDING) for name in accounts}
    assert (ladders["a"].meets, ladders["parcels"].meets) == (meets["a"], None)
    file.unlink()
    assert meeting_of("a", key_source(configured, "a")) == timedelta(0)
