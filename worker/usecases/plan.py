"""What an account's cadence comes to: the polls of one return, what many open ones cost, and when that is too much."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from worker.carriers.registry import CARRIERS, returns_per_request
from worker.domain.demand import asking_hours, demand_of, fitting_cap
from worker.domain.forecast import BY_LINK, BY_PARCEL, Forecast, Journey, forecast
from worker.domain.outcomes import Created
from worker.domain.policy import Policy
from worker.domain.tracking import POLLED, TrackingStatus
from worker.from_settings import policy_of
from worker.settings import AccountSettings, Settings, format_duration
from worker.store.failures import DatabaseUnavailable
from worker.store.queries import Backlog, read_backlog, tracked_by_status
from worker.store.schema import SchemaMismatch
from worker.usecases.not_done import NoSuchAccount
from worker.usecases.opening import opened_database

_MINUTE = timedelta(minutes=1)
_ASSUMED = 1000  # open returns
_PATIENCE = 5.0  # seconds for the database, which may be away: it only counts


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


async def plan_accounts(
    settings: Settings,
    account: str | None,
    start: datetime,
    journey: Journey | None,
    pickup: date | None,
    open_returns: int | None,
    tell: Callable[[str], None],
) -> list[Plan]:
    """The plan of one account or of each; of a `default` one with the default settings where none is configured.

    `open_returns` None: as many as are tracked now, as far as the database can be asked; `tell` as `opened_database`.
    """
    if not settings.accounts:
        settings = settings.model_copy(update={"accounts": {"default": AccountSettings()}})
    if account is not None and account not in settings.accounts:
        raise NoSuchAccount(account, settings.accounts)
    backlog = await _backlog(settings, tell) if open_returns is None else None
    return [
        plan_of(settings, name, start, journey, pickup, _opened(name, open_returns, backlog))
        for name in ([account] if account is not None else settings.accounts)
    ]


async def _backlog(settings: Settings, tell: Callable[[str], None]) -> list[Backlog] | None:
    """What there is to do by account; None where the database cannot be asked."""
    try:
        async with asyncio.timeout(_PATIENCE), opened_database(settings, only_to_read=True, tell=tell) as database:
            return await read_backlog(database)
    except (SchemaMismatch, DatabaseUnavailable, TimeoutError):
        return None


def _opened(account: str, given: int | None, backlog: list[Backlog] | None) -> Open:
    """As many as are given, else as are tracked, else an assumption; and which of these it is."""
    if given is not None:
        return Open(given, "as given")
    if backlog is None:
        return Open(_ASSUMED, "assumed, as there is no database that is current and can be read")
    tracked = sum(tracked_by_status(backlog, account).values())
    return Open(tracked, "tracked now") if tracked else Open(_ASSUMED, "assumed, as none is tracked yet")


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


def overloads(settings: Settings, backlog: Sequence[Backlog]) -> list[str]:
    """A line for each account whose polls cannot be made in time."""
    lines = ((name, _overload(settings, name, tracked_by_status(backlog, name))) for name in settings.accounts)
    return [f"account {name}: {line}" for name, line in lines if line]


def _overload(settings: Settings, name: str, tracked: dict[TrackingStatus, int]) -> str | None:
    """None while the limit is enough for them, and for one in each status: a ladder may be too fast even for that."""
    account, policy = settings.accounts[name], policy_of(settings, name)
    limit, page = account.requests_per_minute, returns_per_request(account.carrier)
    one_each = dict.fromkeys(POLLED, 1)
    alone = demand_of(policy, one_each).per_minute > limit * page
    returns = one_each if alone else {status: max(count, 1) for status, count in tracked.items()}
    demand = demand_of(policy, returns)
    if not limit or demand.per_minute <= limit * page:
        return None
    who = "one return in each status asks" if alone else f"{sum(tracked.values())} tracked returns ask"
    cap = fitting_cap(policy, returns, limit * page)
    remedy = (
        f'cap = "{format_duration(cap)}" would fit' if cap else "no cap alone would fit, first and factor count too"
    )
    asked = f"{figure(demand.per_minute)} requests a minute"
    if page > 1:
        asked += f" one by one, {figure(demand.per_minute / page)} by pages of {page} at least"
    tables = " and its by_status" if any(table.cap for table in account.polling.by_status.values()) else ""
    return (
        f"{who} for about {asked} ({demand.arithmetic}), its limit is {limit}:"
        f" raise rate_per_minute, or slow [accounts.{name}.polling]{tables} ({remedy})"
    )


def figure(number: float) -> str:
    """A number of requests: whole from 10 on, else with two significant digits."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
