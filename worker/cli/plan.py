"""What an account's cadence comes to: the polls of one return, its requests, and what many open ones cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from worker.carriers.registry import CARRIERS, returns_per_request
from worker.configured import policy_of
from worker.domain.demand import POLLED
from worker.domain.forecast import (
    BY_LINK,
    BY_PARCEL,
    Forecast,
    Journey,
    asking_hours,
    forecast,
    polls_within,
)
from worker.domain.policy import Policy
from worker.domain.tracking import TrackingStatus
from worker.settings import Settings, format_duration

_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Open:
    """How many returns are open at a time, and how that is known."""

    returns: int
    source: str


@dataclass(frozen=True, slots=True)
class Stay:
    """Polls of a return that stays in one status, and for how long; `expires` when it ends by itself then."""

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
    label_requests: int
    open: Open

    @property
    def is_cut(self) -> bool:
        """Whether there are too many polls to walk through, so that numbers are averages."""
        return self.forecast.ending is None

    @cached_property
    def life(self) -> timedelta:
        """From creation until it is seen that the return has come to its end."""
        return sum((stay for _, stay in self._lived()), timedelta(0)) if self.is_cut else self.forecast.life

    @cached_property
    def polls_by_status(self) -> Mapping[TrackingStatus, float]:
        """Polls by what they find; the one that finds it delivered is the last status' own."""
        counts: dict[TrackingStatus, float] = {}
        if self.is_cut:
            for status, stay in self._lived():
                counts[status] = counts.get(status, 0) + self._reckoned(status, stay)
            return counts
        status = self.journey[0][0]
        for poll in self.forecast.polls:
            status = status if poll.status.is_terminal else poll.status
            counts[status] = counts.get(status, 0) + 1
        return counts

    @property
    def polls(self) -> int:
        """All polls of its life."""
        return round(sum(self.polls_by_status.values()))

    @property
    def requests(self) -> int:
        """All requests of its life, each for this return alone."""
        return 1 + self.label_requests + self.polls

    @property
    def a_day(self) -> float:
        """Requests a day."""
        return self.requests / (self.life / _DAY)

    @property
    def mean_per_minute(self) -> float:
        """What the open returns ask for one by one, spread over such a life, by day and by night."""
        return self.open.returns * self.requests / (self.life / _MINUTE)

    @property
    def is_quiet(self) -> bool:
        """Whether some of it has to fit into the daytime."""
        return any(asking_hours(self.policy.ladder(status)) < 1 for status in self.polls_by_status)

    def per_minute(self, page: int = 1) -> float:
        """The same at the hours at which they ask; `page` of them are followed by one request."""
        polls = sum(count / asking_hours(self.policy.ladder(status)) for status, count in self.polls_by_status.items())
        return self.open.returns * (1 + self.label_requests + polls / page) / (self.life / _MINUTE)

    def can_serve(self, page: int = 1) -> int | None:
        """So many open returns fill the limit; None without one."""
        return int(self.limit * self.open.returns / self.per_minute(page)) if self.limit else None

    @cached_property
    def stays(self) -> Mapping[TrackingStatus, Stay]:
        """What becomes of a return that stays in one status, for each status of the journey, and `unknown`."""
        statuses = {status for status, _ in self.journey} | {TrackingStatus.UNKNOWN}
        return {status: self._stay(status) for status in POLLED if status in statuses}

    def _lived(self) -> Journey:
        """The journey as far as the return is followed; what `forecast` finds, without a walk."""
        lived, age = [], timedelta(0)
        for status, stay in self.journey:
            ladder, span = self.policy.ladder(status), stay
            if status is not TrackingStatus.PENDING:
                span = max(min(stay, ladder.max_age - age, ladder.max_stay or stay), timedelta(0))
                age += span
            lived.append((status, span))
            if span < stay:
                break
        return lived

    def _reckoned(self, status: TrackingStatus, span: timedelta) -> float:
        """Polls in a stay of which there are too many to walk through."""
        ladder = self.policy.ladder(status)
        return polls_within(ladder, span) * asking_hours(ladder)

    def _stay(self, status: TrackingStatus) -> Stay:
        ladder = self.policy.ladder(status)
        expires = status is not TrackingStatus.PENDING
        span = min(ladder.max_age, ladder.max_stay or ladder.max_age) if expires else ladder.max_age
        found = forecast(self.policy, [(status, span)], self.forecast.start, self.pickup)
        if found.ending is None:
            return Stay(round(self._reckoned(status, span)), span, expires)
        return Stay(len(found.polls), span, expires)

    def as_json(self) -> dict[str, Any]:
        """Everything, for a program."""
        found = self.forecast
        by_pages = self.per_minute(self.page)
        return {
            "account": self.account,
            "carrier": self.carrier,
            "rate_per_minute": self.limit,
            "timezone": self.timezone,
            "journey": [{"status": status, "stay": format_duration(stay)} for status, stay in self.journey],
            "pickup_date": self.pickup.isoformat() if self.pickup else None,
            "start": found.start.isoformat(),
            "ends_at": None if self.is_cut else found.ends_at.isoformat(),
            "ending": found.ending,
            "polls": []
            if self.is_cut
            else [{"at": poll.at.isoformat(), "status": poll.status} for poll in found.polls],
            "requests": {"creation": 1, "label": self.label_requests, "polls": self.polls, "all": self.requests},
            "requests_a_day": round(self.a_day, 3),
            "if_it_stayed": {
                status: {"polls": stay.polls, "for": format_duration(stay.span), "expires": stay.expires}
                for status, stay in self.stays.items()
            },
            "open": {
                "returns": self.open.returns,
                "source": self.open.source,
                "requests_a_minute": round(self.mean_per_minute, 3),
                "requests_a_minute_when_asking": round(self.per_minute(), 3),
                "requests_a_minute_when_asking_by_pages": round(by_pages, 3) if self.page > 1 else None,
                "percent_of_limit": round(100 * self.per_minute() / self.limit, 1) if self.limit else None,
                "can_serve": self.can_serve(),
                "can_serve_by_pages": self.can_serve(self.page) if self.page > 1 else None,
            },
        }


def plan_of(
    settings: Settings, account: str, start: datetime, journey: Journey | None, pickup: date | None, opened: Open
) -> Plan:
    """The plan of a configured account; `start` is an aware moment."""
    configured, policy = settings.accounts[account], policy_of(settings, account)
    kind = CARRIERS[configured.carrier]
    journey = journey or (BY_LINK if kind.by_link else BY_PARCEL)
    return Plan(
        account=account,
        carrier=configured.carrier,
        limit=configured.requests_per_minute,
        page=returns_per_request(configured.carrier),
        timezone=settings.polling_for(account, "").timezone,
        policy=policy,
        journey=journey,
        pickup=pickup,
        forecast=forecast(policy, journey, start, pickup),
        label_requests=kind.label_requests,
        open=opened,
    )
