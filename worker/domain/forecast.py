"""When a return would be polled over its life, and what one return in a status asks for a minute.

The moments are those of `Ladder.next_at` without jitter; `decide` schedules the same ones when its chance is a half.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from worker.domain.cadence import Ladder
from worker.domain.policy import Policy
from worker.domain.tracking import TrackingStatus

Journey = Sequence[tuple[TrackingStatus, timedelta]]
"""The statuses that a parcel goes through and how long it has each; then it is delivered."""

BY_PARCEL: Journey = (
    (TrackingStatus.PRE_TRANSIT, timedelta(days=2)),
    (TrackingStatus.IN_TRANSIT, timedelta(days=3)),
)
BY_LINK: Journey = (
    (TrackingStatus.PENDING, timedelta(days=5)),
    (TrackingStatus.PRE_TRANSIT, timedelta(days=2)),
    (TrackingStatus.IN_TRANSIT, timedelta(days=4)),
)

TYPICAL_STAY = timedelta(days=3)
"""How long a return has a status, more or less: longer, and its polls would seem rarer than they are."""

MOST_POLLS = 20_000
"""A forecast is cut here: a ladder for tests asks so often in an hour."""

_EVEN = 0.5  # the chance that is no jitter
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_FEW = 500  # polls in a stay that are walked through one by one, from each of these hours:
_BEGINNINGS = tuple(datetime(2024, 1, 10, hour, tzinfo=UTC) for hour in range(0, 24, 3))
_LARGEST_FACTOR = 1e9  # beyond it every wait but the first is the cap


@dataclass(frozen=True, slots=True)
class Poll:
    """One question: the status that it finds, and how many polls in a row have now brought nothing new."""

    at: datetime
    status: TrackingStatus
    unchanged: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """The polls of a return that is created at `start`; `ending` is None when they were cut."""

    start: datetime
    polls: tuple[Poll, ...]
    ending: TrackingStatus | None

    @property
    def ends_at(self) -> datetime:
        """When the last poll is."""
        return self.polls[-1].at

    @property
    def life(self) -> timedelta:
        """From creation to the last poll."""
        return self.ends_at - self.start


@dataclass(frozen=True, slots=True)
class _Followed:
    """What the row would hold; `shipped`: there is a shipment, so that `max_age` runs."""

    status: TrackingStatus
    unchanged: int
    followed_since: datetime
    status_since: datetime
    shipped: bool

    def seen(self, status: TrackingStatus, now: datetime) -> "_Followed":
        """After a poll."""
        if status is self.status:
            return replace(self, unchanged=self.unchanged + 1)
        sets_out = not self.shipped and status is not TrackingStatus.PENDING
        since = now if sets_out else self.followed_since
        return _Followed(status, 0, since, now, self.shipped or sets_out)

    def ends_at(self, ladder: Ladder) -> datetime | None:
        """When it expires; without a shipment only the customer's link can run out."""
        if self.status is TrackingStatus.PENDING:
            return None
        whole = self.followed_since + ladder.max_age
        return whole if ladder.max_stay is None else min(whole, self.status_since + ladder.max_stay)


def forecast(
    policy: Policy, journey: Journey, start: datetime, pickup: date | None = None, most: int = MOST_POLLS
) -> Forecast:
    """Every poll of a return that is created at `start`, up to `most` of them; `journey` must not be empty."""
    now = start = start.astimezone(UTC)  # in a zone with DST a sum would be wall time
    first = journey[0][0]
    row = _Followed(first, 0, start, start, first is not TrackingStatus.PENDING)
    ladder, polls = policy.ladder(first), list[Poll]()
    now = ladder.next_at(start, 0, _EVEN, pickup, latest=start + ladder.max_age)
    while len(polls) < most:
        status = _status_at(journey, now - start)
        row, ladder = row.seen(status, now), policy.ladder(status)
        polls.append(Poll(now, status, row.unchanged))
        if status.is_terminal:
            return Forecast(start, tuple(polls), status)
        ends_at = row.ends_at(ladder)
        if ends_at is not None and now >= ends_at:
            return Forecast(start, tuple(polls), TrackingStatus.EXPIRED)
        now = ladder.next_at(now, row.unchanged, _EVEN, pickup, latest=ends_at)
    return Forecast(start, tuple(polls), None)


def _status_at(journey: Journey, age: timedelta) -> TrackingStatus:
    for status, stay in journey:
        if age < stay:
            return status
        age -= stay
    return TrackingStatus.DELIVERED


@lru_cache(maxsize=256)
def polls_per_minute(ladder: Ladder) -> float:
    """What one return asks for on average, by day and by night, while nothing changes in a typical stay.

    Days near a pickup date are not counted: few returns are in them at a time.
    """
    stay = min(TYPICAL_STAY, ladder.max_age, ladder.max_stay or TYPICAL_STAY)
    polls = polls_within(ladder, stay)
    if ladder.quiet_nights and polls < _FEW:
        polls = sum(_walked(ladder, stay, begin) for begin in _BEGINNINGS) / len(_BEGINNINGS)
    elif ladder.quiet_nights:
        polls *= asking_hours(ladder)
    return polls / (stay / _MINUTE)


def asking_hours(ladder: Ladder) -> float:
    """The part of a day in which polls are made: they must fit into the limit then."""
    return min(ladder.daytime.length / _DAY, 1.0) if ladder.quiet_nights else 1.0


def polls_within(ladder: Ladder, span: timedelta) -> float:
    """So many polls follow a change within `span`, by day and by night alike; between two polls a part of one.

    In closed form, since waits of 200 ms would be a million steps.
    """
    whole, cap = span.total_seconds(), ladder.cap.total_seconds()
    first = min(ladder.first.total_seconds(), cap)
    factor = min(ladder.factor, _LARGEST_FACTOR)
    growth = math.log(factor)
    if first >= cap or growth <= 0:
        return whole / first
    steps = max(1, math.ceil(math.log(cap / first) / growth))  # waits that are less than the cap
    growing = first * math.expm1(growth * steps) / (factor - 1)  # how long those take
    if whole <= growing:
        return math.log1p(whole * (factor - 1) / first) / growth
    return steps + (whole - growing) / cap


def _walked(ladder: Ladder, stay: timedelta, begin: datetime) -> float:
    """Polls within `stay`, one by one as `next_at` has them; of the last wait the part that lies within."""
    now, polls = begin, 0
    while True:
        due = ladder.next_at(now, polls, _EVEN)
        if due > begin + stay:
            return polls + (begin + stay - now) / (due - now)
        now, polls = due, polls + 1
