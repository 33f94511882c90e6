"""What `check` says when an account's open returns ask for more requests a minute than it may make."""

from collections.abc import Sequence

from worker.carriers.registry import returns_per_request
from worker.domain.demand import demand_of, fitting_cap
from worker.domain.tracking import POLLED, TrackingStatus
from worker.from_settings import policy_of
from worker.settings import Settings, format_duration
from worker.store.queries import Backlog, tracked_by_status


def overloads(settings: Settings, backlog: Sequence[Backlog]) -> list[str]:
    """A line for each account whose polls cannot be made in time."""
    lines = ((name, _overload(settings, name, tracked_by_status(backlog, name))) for name in settings.accounts)
    return [f"account {name}: {line}" for name, line in lines if line]


def _overload(settings: Settings, name: str, tracked: dict[TrackingStatus, int]) -> str | None:
    """None while the limit is enough for them, and for one in each status: a ladder may be too fast for any."""
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
    """A number of requests: whole from 10 on, else with two digits that count."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
