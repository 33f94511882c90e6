"""What an account's open returns ask for in requests a minute, the arithmetic for people, and what would fit.

All of these are means in closed form, since waits of 200 ms would be a million steps; a test holds them to what
`worker/domain/forecast.py` walks.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from worker.domain.cadence import Ladder, meeting_width, spoken
from worker.domain.policy import LARGEST_FACTOR, Policy
from worker.domain.tracking import TrackingStatus

_TYPICAL = timedelta(days=3)  # that a return has a status, more or less; longer, and its polls would seem too rare
_DAY, _MINUTE, _SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)
_SECONDS, _MINUTES, _HOURS = (1, 2, 5, 10, 15, 30), (1, 2, 5, 10, 15, 20, 30, 45), (*range(1, 25), 36, 48, 72)
_CAPS = (*_SECONDS, *(60 * minutes for minutes in _MINUTES), *(3600 * hours for hours in _HOURS))  # in seconds


class Demand(NamedTuple):
    """Polls a minute that open returns ask for, one by one, and how that comes about, the greatest share first."""

    per_minute: float
    arithmetic: str


def demand_of(policy: Policy, returns: Mapping[TrackingStatus, int]) -> Demand:
    """What so many open returns by status ask for; with quiet nights in the daytime, when all of it comes.

    The arithmetic leaves out what is less than a hundredth of it.
    """
    ladders = {status: policy.ladder(status) for status, count in returns.items() if count}
    each = {status: polls_per_minute(ladder) / asking_hours(ladder) for status, ladder in ladders.items()}
    shares = {status: returns[status] * one for status, one in each.items()}
    whole = sum(shares.values())
    named = (status for status in sorted(shares, key=lambda status: -shares[status]) if shares[status] >= whole / 100)
    parts = (f"{status} {returns[status]} x one each {spoken(_MINUTE / each[status])}" for status in named)
    return Demand(whole, " + ".join(parts))


def fitting_cap(policy: Policy, returns: Mapping[TrackingStatus, int], limit: float) -> timedelta | None:
    """The least cap, for every status that has a lesser one, with which they ask for at most `limit` polls a minute.

    None where no cap helps: the waits after a change, or a factor of 1, are what costs.
    """
    for cap in (timedelta(seconds=seconds) for seconds in _CAPS):
        ladders = {status: policy.ladder(status) for status in returns}
        slowed = {status: replace(ladder, cap=max(ladder.cap, cap)) for status, ladder in ladders.items()}
        if demand_of(replace(policy, ladders=slowed), returns).per_minute <= limit:
            return cap
    return None


@lru_cache(maxsize=256)
def polls_per_minute(ladder: Ladder) -> float:
    """What one return asks for on average, by day and by night, while nothing changes in a typical stay.

    Days near a pickup date are not counted: few returns are in them at a time.
    """
    stay = min(_TYPICAL, ladder.max_age, ladder.max_stay or _TYPICAL)
    return polls_within(ladder, stay) / (stay / _MINUTE)


def asking_hours(ladder: Ladder) -> float:
    """The part of a day in which polls are made: they must fit into the limit then."""
    return min(ladder.daytime.length / _DAY, 1.0) if ladder.quiet_nights else 1.0


def polls_within(ladder: Ladder, span: timedelta) -> float:
    """So many polls follow a change within `span`, on average; between two polls a part of one."""
    whole, cap = span / _SECOND, _around_nights(ladder, ladder.cap) / _SECOND
    first = min(_around_nights(ladder, ladder.first) / _SECOND, cap)
    factor = min(ladder.factor, LARGEST_FACTOR)
    growth = math.log(factor)
    if first >= cap or growth <= 0:
        return whole / first
    steps = max(1, math.ceil(math.log(cap / first) / growth))  # waits that are less than the cap
    growing = first * math.expm1(growth * steps) / (factor - 1)  # how long those take
    if whole <= growing:
        return math.log1p(whole * (factor - 1) / first) / growth
    return steps + (whole - growing) / cap


def _around_nights(ladder: Ladder, wait: timedelta) -> timedelta:
    """A wait with the company that it waits for, and the quiet nights that it meets: of a day or more it meets few."""
    if ladder.meets is not None:  # from one moment of the grid to another
        width = meeting_width(wait)
        wait = -(-wait // width) * width
    return max(wait, min(wait / asking_hours(ladder), _DAY))
