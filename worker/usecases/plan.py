"""What an account's cadence comes to: the polls of one return, its requests, and what many open ones cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from worker.carriers.registry import CARRIERS, returns_per_request
from worker.domain.demand import asking_hours
from worker.domain.forecast import BY_LINK, BY_PARCEL, Forecast, Journey, forecast
from worker.domain.outcomes import Created
from worker.domain.policy import Policy
from worker.domain.tracking import POLLED, TrackingStatus
from worker.from_settings import policy_of
from worker.settings import Settings

_MINUTE = timedelta(minutes=1)


class Open(NamedTuple):
    """How many returns are open at a time, and how that is known."""

    returns: int
    source: str


class Stay(NamedTuple):
    """What becomes of a return that stays in one status: polls, for how long, and whether it ends by itself then."""

    polls: int
    span: timedelta
    expires: bool


@dataclass(frozen=True)
class Plan:
    """One account's cadence over the life of a return; `page`: returns that one request can follow."""

    account: str
    carrier: str
    limit: int
    page: int
    timezone: str
    policy: Policy
    journey: Journey
    pickup: date | None
    forecast: Forecast
    stays: Mapping[TrackingStatus, Stay]
    open: Open

    @property
    def polls(self) -> int:
        """All polls of its life."""
        return round(sum(self.forecast.by_status.values()))

    @property
    def requests(self) -> int:
        """All requests of its life, each for this return alone."""
        return 1 + self.forecast.labels + self.polls

    @property
    def mean_per_minute(self) -> float:
        """What the open returns ask for one by one, spread over such a life, by day and by night."""
        return self.open.returns * self.requests / (self.forecast.life / _MINUTE)

    def per_minute(self, page: int = 1) -> float:
        """The same at the hours at which they ask; `page` of them are followed by one request."""
        by_status = self.forecast.by_status.items()
        polls = sum(count / asking_hours(self.policy.ladder(status)) for status, count in by_status)
        return self.open.returns * (1 + self.forecast.labels + polls / page) / (self.forecast.life / _MINUTE)

    def can_serve(self, page: int = 1) -> int | None:
        """So many open returns fill the limit; None without one."""
        return int(self.limit * self.open.returns / self.per_minute(page)) if self.limit else None


def plan_of(
    settings: Settings, account: str, start: datetime, journey: Journey | None, pickup: date | None, opened: Open
) -> Plan:
    """The plan of a configured account; a `start` without a zone is what a clock in the account's zone shows."""
    configured, policy = settings.accounts[account], policy_of(settings, account)
    zone = settings.polling_for(account, None).daytime.zone
    if start.tzinfo is None:
        start = start.replace(tzinfo=zone)
    kind = CARRIERS[configured.carrier]
    journey = journey or (BY_PARCEL if kind.created.has_label else BY_LINK)
    found = forecast(policy, kind.created, journey, start, pickup)
    seen = {TrackingStatus.UNKNOWN, *(status for status, _ in journey)}
    return Plan(
        account=account,
        carrier=configured.carrier,
        limit=configured.requests_per_minute,
        page=returns_per_request(configured.carrier),
        timezone=str(zone),
        policy=policy,
        journey=journey,
        pickup=pickup,
        forecast=found,
        stays={status: _stay(policy, kind.created, status, found.start, pickup) for status in POLLED if status in seen},
        open=opened,
    )


def _stay(policy: Policy, created: Created, status: TrackingStatus, start: datetime, pickup: date | None) -> Stay:
    ladder, expires = policy.ladder(status), status not in policy.open_ended
    span = min(ladder.max_age, ladder.max_stay or ladder.max_age) if expires else ladder.max_age
    found = forecast(policy, created, [(status, 2 * span if expires else span)], start, pickup)
    return Stay(round(sum(found.by_status.values())), span, expires)
