"""The command that draws when a return would be polled over its life, and says what that costs."""

import asyncio
import json
import textwrap
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.text import Text

from worker.cli.context import explained, logs_for, opened_database, settings_of
from worker.cli.overload import figure
from worker.cli.plan import Open, Plan, plan_of
from worker.cli.talk import MOST, Exit, fail, shown
from worker.cli.timeline import Timeline
from worker.domain.demand import POLLED
from worker.domain.forecast import Journey
from worker.domain.tracking import TrackingStatus
from worker.settings import AccountSettings, Settings, format_duration, parse_duration
from worker.store.database import DatabaseRefused, DatabaseUnavailable
from worker.store.queries import Backlog, read_backlog, tracked_by_status
from worker.store.schema import SchemaMismatch

D = TypeVar("D", bound=date)

_ASSUMED = 1000  # open returns
_PATIENCE = 5.0  # seconds for the database, which may be away: it only counts
_PIPED_WIDTH = 80
_LISTED = 12  # polls
_MARGIN = 16  # columns before a fact
_YEARS = range(1970, 2200)
_LONGEST = timedelta(days=3650)


def schedule(
    context: typer.Context,
    account: Annotated[str | None, typer.Option("--account", help="Only this account; else each one.")] = None,
    open_returns: Annotated[
        int | None,
        typer.Option("--open", min=1, max=MOST, help="Open returns; else as many as are tracked now, or 1000."),
    ] = None,
    pickup: Annotated[str | None, typer.Option("--pickup", help="The pickup date, YYYY-MM-DD; else none.")] = None,
    journey: Annotated[
        str | None,
        typer.Option("--journey", help='How long it has each status: "pre_transit=2d,in_transit=3d".'),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="When it is created, YYYY-MM-DDTHH:MM; else now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw when a return would be polled over its life, and say what many of them cost; asks no carrier."""
    with explained():
        settings = settings_of(context)
        logs_for(settings)
        if not settings.accounts:
            settings = settings.model_copy(update={"accounts": {"default": AccountSettings()}})
        if account is not None and account not in settings.accounts:
            known = ", ".join(settings.accounts)
            fail(f"error: there is no account {shown(account)!r}; there is {known}", Exit.USAGE)
        stays = None if journey is None else _read_journey(journey)
        day = None if pickup is None else _read_date(pickup)
        moment = datetime.now(UTC).replace(microsecond=0) if start is None else _read_moment(start)
        names = [account] if account is not None else list(settings.accounts)
        opened = _opened(settings, names, open_returns)
        plans = [_plan(settings, name, moment, stays, day, opened[name]) for name in names]
        if as_json:
            typer.echo(json.dumps([plan.as_json() for plan in plans], indent=2))
            return
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(width=_PIPED_WIDTH, file=console.file, highlight=False)
        for number, plan in enumerate(plans):
            _print(console, plan, first=number == 0)


def _plan(
    settings: Settings, name: str, moment: datetime, journey: Journey | None, pickup: date | None, opened: Open
) -> Plan:
    if moment.tzinfo is None:  # as a clock in the account's zone shows it
        moment = moment.replace(tzinfo=ZoneInfo(settings.polling_for(name, "").timezone))
    return plan_of(settings, name, moment, journey, pickup, opened)


def _read_journey(text: str) -> Journey:
    stays = []
    for part in text.split(","):
        name, given, length = part.partition("=")
        if name.strip() not in POLLED:
            fail(f"error: --journey: {shown(name.strip())!r} is none of {', '.join(POLLED)}", Exit.USAGE)
        if not given:
            fail(f"error: --journey: {name.strip()!r} needs a time, such as {name.strip()}=2d", Exit.USAGE)
        try:
            stay = parse_duration(length)
        except ValueError as error:
            fail(f"error: --journey: {name.strip()}={shown(length)}: {error}", Exit.USAGE)
        if not stay:
            fail(f"error: --journey: {name.strip()} must last more than zero", Exit.USAGE)
        stays.append((TrackingStatus(name.strip()), stay))
    if sum((stay for _, stay in stays), timedelta(0)) > _LONGEST:
        fail(f"error: --journey: is longer than {format_duration(_LONGEST)} (ten years) in all", Exit.USAGE)
    return stays


def _read_date(text: str) -> date:
    return _read("--pickup", text, date.fromisoformat, "date like 2026-06-04")


def _read_moment(text: str) -> datetime:
    return _read("--start", text, datetime.fromisoformat, "moment like 2026-06-04T10:00 (or with +02:00)")


def _read(option: str, text: str, parse: Callable[[str], D], like: str) -> D:
    try:
        value = parse(text)
    except ValueError:
        fail(f"error: {option}: {shown(text)!r} is no {like}", Exit.USAGE)
    if value.year not in _YEARS:
        fail(f"error: {option}: must lie between {_YEARS.start} and {_YEARS.stop}", Exit.USAGE)
    return value


def _opened(settings: Settings, names: list[str], given: int | None) -> Mapping[str, Open]:
    """As many as are given, else as are tracked, else an assumption; and which of these it is."""
    if given is not None:
        return dict.fromkeys(names, Open(given, "as given"))
    try:
        backlog = asyncio.run(_backlog(settings))
    except SchemaMismatch:
        return dict.fromkeys(names, Open(_ASSUMED, "assumed, as there is no database that is current"))
    except (DatabaseUnavailable, DatabaseRefused, TimeoutError):
        return dict.fromkeys(names, Open(_ASSUMED, "assumed, as the database cannot be read"))
    tracked = {name: sum(tracked_by_status(backlog, name).values()) for name in names}
    return {
        name: Open(count, "tracked now") if count else Open(_ASSUMED, "assumed, as none is tracked yet")
        for name, count in tracked.items()
    }


async def _backlog(settings: Settings) -> list[Backlog]:
    async with asyncio.timeout(_PATIENCE), opened_database(settings, only_to_read=True) as database:
        return await read_backlog(database)


def _print(console: Console, plan: Plan, *, first: bool) -> None:
    limit = f"at most {plan.limit} requests a minute" if plan.limit else "no limit of requests"
    if not first:
        console.print()
    console.print(Text(f"account {plan.account}: {plan.carrier}, {limit}", style="bold"))
    zone = ZoneInfo(plan.timezone)
    daytimes = {status: plan.policy.ladder(status).daytime for status, _ in plan.journey}
    if plan.is_cut:
        console.print(f"more than {len(plan.forecast.polls)} polls: too many to draw, and the numbers are averages")
    else:
        for day in Timeline(plan.forecast, daytimes, zone, plan.pickup, console.width).lines():
            console.print(day, no_wrap=True, crop=True)
    for name, value in _facts(plan, zone):
        for number, line in enumerate(_wrapped(value, console.width - _MARGIN)):
            console.print(Text.assemble(("" if number else name).ljust(_MARGIN), line), soft_wrap=True)


def _wrapped(text: str, width: int) -> list[str]:
    return [line for part in text.split("\n") for line in textwrap.wrap(part, max(width, 20)) or [""]]


def _facts(plan: Plan, zone: ZoneInfo) -> list[tuple[str, str]]:
    about = "about " if plan.is_cut else ""
    return [
        ("journey", ", ".join(f"{status} {format_duration(stay)}" for status, stay in plan.journey) + ", delivered"),
        ("created", f"{_when(plan.forecast.start, zone)}; all times are those of {plan.timezone}"),
        ("first polls", _first_polls(plan, zone)),
        *([] if plan.is_cut else [_end(plan, zone)]),
        (
            "requests",
            f"{about}{plan.requests} in {_days(plan)}: creation 1, label {plan.label_requests}, polls"
            f" {plan.polls}; {figure(plan.a_day)} a day",
        ),
        ("if it stayed", _stays(plan)),
        *_cost(plan),
    ]


def _when(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b} {local:%H:%M}"


def _first_polls(plan: Plan, zone: ZoneInfo) -> str:
    """A line for each day; with seconds where minutes would not tell them apart."""
    local = [poll.at.astimezone(zone) for poll in plan.forecast.polls[:_LISTED]]
    is_fast = any(after - before < timedelta(minutes=1) for before, after in pairwise(local))
    form = "%H:%M:%S" if is_fast else "%H:%M"
    days = [
        f"{day:%a} {day.day} {day:%b} " + " ".join(f"{at:{form}}" for at in moments)
        for day, moments in groupby(local, key=datetime.date)
    ]
    return "\n".join(days) + (" ..." if len(plan.forecast.polls) > _LISTED else "")


def _end(plan: Plan, zone: ZoneInfo) -> tuple[str, str]:
    found = plan.forecast
    if found.ending is TrackingStatus.EXPIRED:
        return "expired", f"{_when(found.ends_at, zone)}, before the journey was over"
    late = found.life - sum((stay for _, stay in plan.journey), timedelta(0))
    return "delivered", f"seen {_when(found.ends_at, zone)}, {_length(late)} after it was"


def _length(span: timedelta) -> str:
    minutes = round(span / timedelta(minutes=1))
    if minutes < 1:
        return f"{span.total_seconds():.2g}s"
    return f"{minutes // 60}h {minutes % 60}m" if minutes >= 60 else f"{minutes}m"


def _days(plan: Plan) -> str:
    days = plan.life / timedelta(days=1)
    return f"{days:.1f} days" if days >= 1 else f"{24 * days:.1f} hours"


def _stays(plan: Plan) -> str:
    parts = []
    for status, stay in plan.stays.items():
        end = "then expired" if stay.expires else "and so on until the link runs out"
        parts.append(f"{status}: {stay.polls} polls in {format_duration(stay.span)}, {end}")
    return "\n".join(parts)


def _cost(plan: Plan) -> list[tuple[str, str]]:
    """What the open returns ask for, one by one and by pages, and how that compares with the limit."""
    returns, page = plan.open.returns, plan.page
    by_day = f", and {figure(plan.per_minute())} in the daytime, when polls are made" if plan.is_quiet else ""
    arithmetic = f"{returns} x {plan.requests} requests in {_days(plan)} are {figure(plan.mean_per_minute)} a minute"
    lines = [(f"{returns} open", f"{plan.open.source}: {arithmetic}{by_day}")]
    if page > 1:
        by_pages = f"many due polls are answered by pages of {page}: at least {figure(plan.per_minute(page))} a minute"
        lines.append(("by pages", by_pages))
    if not plan.limit:
        return [*lines, ("limit", "none")]
    percents = [f"{figure(100 * plan.per_minute(each) / plan.limit)} %" for each in (1, page)]
    part = f"{percents[0]} of it one by one, {percents[1]} by pages" if page > 1 else f"{percents[0]} of it"
    served = " to ".join(str(plan.can_serve(each)) for each in sorted({1, page}))
    lines.append(("limit", f"{plan.limit} a minute: {part}; it can serve {served} open returns"))
    return lines
