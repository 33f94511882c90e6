"""What an account's open returns ask for in requests a minute, the arithmetic for people, and what would fit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from worker.domain.cadence import Ladder, spoken
from worker.domain.forecast import asking_hours, polls_per_minute
from worker.domain.policy import Policy
from worker.domain.tracking import TrackingStatus

POLLED = tuple(status for status in TrackingStatus if not status.is_terminal)

_SECONDS = (1, 2, 5, 10, 15, 30)
_MINUTES = (1, 2, 5, 10, 15, 20, 30, 45)
_HOURS = (*range(1, 25), 36, 48, 72)
_CAPS = (
    *(timedelta(seconds=number) for number in _SECONDS),
    *(timedelta(minutes=number) for number in _MINUTES),
    *(timedelta(hours=number) for number in _HOURS),
)
_WORTH_NAMING = 0.01  # of the whole


@dataclass(frozen=True, slots=True)
class Share:
    """The returns in one status, and what each of them asks for a minute."""

    status: TrackingStatus
    returns: int
    each: float

    @property
    def per_minute(self) -> float:
        """What all of them ask for."""
        return self.returns * self.each

    def __str__(self) -> str:
        return f"{self.status} {self.returns} x one each {spoken(timedelta(minutes=1 / self.each))}"


@dataclass(frozen=True, slots=True)
class Demand:
    """What open returns ask for, one by one, the greatest share first."""

    shares: tuple[Share, ...]

    @property
    def per_minute(self) -> float:
        """Polls a minute."""
        return sum(share.per_minute for share in self.shares)

    @property
    def arithmetic(self) -> str:
        """How that comes about; what is less than a hundredth of it is left out."""
        least = self.per_minute * _WORTH_NAMING
        return " + ".join(str(share) for share in self.shares if share.per_minute >= least)


def demand_of(policy: Policy, returns: Mapping[TrackingStatus, int]) -> Demand:
    """What so many open returns by status ask for; with quiet nights in the daytime, when all of it comes."""
    shares = (Share(status, count, _each(policy.ladder(status))) for status, count in returns.items() if count)
    return Demand(tuple(sorted(shares, key=lambda share: -share.per_minute)))


def fitting_cap(policy: Policy, returns: Mapping[TrackingStatus, int], limit: float) -> timedelta | None:
    """The least cap, for every status that has a lesser one, with which they ask for at most `limit` polls a minute.

    None where no cap helps: the waits after a change, or a factor of 1, are what costs.
    """
    for cap in _CAPS:
        slowed = {status: _slowed(policy.ladder(status), cap) for status in returns}
        if demand_of(replace(policy, ladders=slowed), returns).per_minute <= limit:
            return cap
    return None


def _slowed(ladder: Ladder, cap: timedelta) -> Ladder:
    return replace(ladder, cap=max(ladder.cap, cap))


def _each(ladder: Ladder) -> float:
    return polls_per_minute(ladder) / asking_hours(ladder)
