"""The command that says when a return would be polled over its life, how often a day, and what many of them cost."""

import shutil
import textwrap
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise
from math import ceil
from typing import Annotated, Any, NoReturn
from zoneinfo import ZoneInfo

import typer

from worker.cli.options import JsonOption
from worker.cli.output import MOST, Exit, answer, answer_json, fail, shown
from worker.cli.session import Session, note
from worker.domain.cadence import spoken
from worker.domain.forecast import Forecast, Journey
from worker.domain.tracking import POLLED, TrackingStatus
from worker.settings import LONGEST, format_duration, parse_positive_duration
from worker.usecases.plan import Plan, figure, plan_accounts

_WIDEST = 80  # columns; a bar has what is left beside the next number, a fact what is left beside the one after
_BEFORE_BAR, _MARGIN = 31, 16
_DRAWN = 45  # days that are drawn one by one; the others are summed up
_LISTED = 12  # polls
_YEARS = range(1970, 2200)
_DAY = timedelta(days=1)


def schedule(
    context: typer.Context,
    account: Annotated[str | None, typer.Option("--account", help="Only this account; else each one.")] = None,
    open_returns: Annotated[
        int | None,
        typer.Option("--open", min=1, max=MOST, help="Open returns; else as many as are tracked now, or 1000."),
    ] = None,
    pickup: Annotated[str | None, typer.Option("--pickup", help="The pickup date, YYYY-MM-DD; else none.")] = None,
    journey: Annotated[
        str | None, typer.Option("--journey", help='How long it has each status: "pre_transit=2d, in_transit=3d".')
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="When it is created, YYYY-MM-DDTHH:MM; else now.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say when a return would be polled over its life, and what many of them cost; asks no carrier."""
    stays = None if journey is None else _read_journey(journey)
    day = None if pickup is None else _read("--pickup", pickup, "date like 2026-06-04").date()
    moment = datetime.now(UTC).replace(microsecond=0)
    if start is not None:
        moment = _read("--start", start, "moment like 2026-06-04T10:00 (or with +02:00)")
    plans = Session(context).call_without_database(plan_accounts, account, moment, stays, day, open_returns, note)
    if as_json:
        answer_json([_for_programs(plan) for plan in plans], indent=2)
    else:
        width = min(shutil.get_terminal_size().columns, _WIDEST)
        answer("\n\n".join("\n".join(_lines(plan, width)) for plan in plans))


def _read_journey(text: str) -> Journey:
    stays = []
    for part in text.split(","):
        name, _, length = part.partition("=")
        name = shown(name.strip())
        if name not in POLLED:
            _refuse("--journey", f"{name!r} is none of {', '.join(POLLED)}")
        try:
            stays.append((TrackingStatus(name), parse_positive_duration(length)))
        except ValueError as error:
            _refuse("--journey", f"{name}={shown(length)}: {error}")
    if sum((stay for _, stay in stays), timedelta(0)) > LONGEST:
        _refuse("--journey", f"is longer than {format_duration(LONGEST)} (ten years) in all")
    return stays


def _read(option: str, text: str, like: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _refuse(option, f"{shown(text)!r} is no {like}")
    if moment.year not in _YEARS:
        _refuse(option, f"must lie between {_YEARS.start} and {_YEARS.stop}")
    return moment


def _refuse(option: str, why: str) -> NoReturn:
    fail(f"error: {option}: {why}", Exit.USAGE)


def _for_programs(plan: Plan) -> dict[str, Any]:
    found = plan.forecast
    polls = [] if found.is_cut else [{"at": poll.at.isoformat(), "status": poll.status} for poll in found.polls]
    return {
        "account": plan.account,
        "carrier": plan.carrier,
        "rate_per_minute": plan.limit,
        "timezone": plan.timezone,
        "journey": [{"status": status, "stay": format_duration(stay)} for status, stay in plan.journey],
        "pickup_date": plan.pickup.isoformat() if plan.pickup else None,
        "start": found.start.isoformat(),
        "ends_at": None if found.is_cut else found.ends_at.isoformat(),
        "ending": None if found.is_cut else found.ending,
        "polls": polls,
        "requests": {"creation": 1, "label": found.labels, "polls": plan.polls, "all": plan.requests},
        "requests_a_day": round(plan.requests / (found.life / _DAY), 3),
        "if_it_stayed": {
            status: {"polls": stay.polls, "for": format_duration(stay.span), "expires": stay.expires}
            for status, stay in plan.stays.items()
        },
        "open": {
            "returns": plan.open.returns,
            "source": plan.open.source,
            "requests_a_minute": round(plan.mean_per_minute, 3),
            "requests_a_minute_when_asking": round(plan.per_minute(), 3),
            "requests_a_minute_when_asking_by_pages": round(plan.per_minute(plan.page), 3) if plan.page > 1 else None,
            "percent_of_limit": round(100 * plan.per_minute() / plan.limit, 1) if plan.limit else None,
            "can_serve": plan.can_serve(),
            "can_serve_by_pages": plan.can_serve(plan.page) if plan.page > 1 else None,
        },
    }


def _lines(plan: Plan, width: int) -> Iterator[str]:
    limit = f"at most {plan.limit} requests a minute" if plan.limit else "no limit of requests"
    yield f"account {plan.account}: {plan.carrier}, {limit}"
    zone = ZoneInfo(plan.timezone)
    yield from _chart(plan.forecast, zone, width - _BEFORE_BAR)
    said = ""
    for name, value in _facts(plan, zone):
        for line in textwrap.wrap(value, max(width - _MARGIN, 20)):
            yield f"{'' if name == said else name:{_MARGIN}}{line}"
            said = name


def _chart(found: Forecast, zone: ZoneInfo, room: int) -> Iterator[str]:
    """A line for each day: the status at its end, its polls, and a mark for each; fewer where there is no room."""
    if found.is_cut:
        yield f"more than {len(found.polls)} polls: too many to draw, and the numbers are averages"
        return
    days = {day: [*polls] for day, polls in groupby(found.polls, lambda poll: poll.at.astimezone(zone).date())}
    day, last, status = found.start.astimezone(zone).date(), max(days), found.polls[0].before
    scale = min(1.0, max(room, 1) / max(map(len, days.values())))
    for _ in range(_DRAWN):
        polls = days.pop(day, [])
        status = polls[-1].status if polls else status
        bar = "#" * ceil(len(polls) * scale)
        yield f"{_day(day):10}  {status:11} {len(polls):5} {bar}".rstrip()
        day += _DAY
        if day > last:
            return
    yield f"... {(last - day).days + 1} more days with {sum(map(len, days.values()))} polls"


def _facts(plan: Plan, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    found, opened, limit, page = plan.forecast, plan.open, plan.limit, plan.page
    life = f"{found.life / _DAY:.3g} days"
    yield "journey", ", ".join(f"{status} {format_duration(stay)}" for status, stay in plan.journey) + ", delivered"
    yield "created", f"{_moment(found.start, zone)}; all times are those of {plan.timezone}"
    yield from (("first polls", line) for line in _first_polls(found, zone))
    if found.ending is TrackingStatus.EXPIRED:
        yield "expired", f"{_moment(found.ends_at, zone)}, before the journey was over"
    elif not found.is_cut:
        late = found.life - sum((stay for _, stay in plan.journey), timedelta(0))
        yield "delivered", f"seen {_moment(found.ends_at, zone)}, {spoken(late)} after it was"
    about, a_day = "about " if found.is_cut else "", figure(plan.requests / (found.life / _DAY))
    parts = f"creation 1, label {found.labels}, polls {plan.polls}; {a_day} a day"
    yield "requests", f"{about}{plan.requests} in {life}: {parts}"
    for status, stay in plan.stays.items():
        end = "then expired" if stay.expires else "and so on until the link runs out"
        yield "if it stayed", f"{status}: {stay.polls} polls in {format_duration(stay.span)}, {end}"
    is_quiet = any(plan.policy.ladder(status).quiet_nights for status in found.by_status)
    by_day = f", and {figure(plan.per_minute())} in the daytime, when polls are made" if is_quiet else ""
    cost = f"{opened.returns} x {plan.requests} requests in {life} are {figure(plan.mean_per_minute)} a minute{by_day}"
    yield f"{opened.returns} open", f"{opened.source}: {cost}"
    if not limit:
        yield "limit", "none"
        return
    percent = f"{figure(100 * plan.per_minute() / limit)} % of it"
    served = f"{plan.can_serve()} open returns"
    if page > 1:
        percent += f" one by one, {figure(100 * plan.per_minute(page) / limit)} % by full pages of {page}"
        served = f"{plan.can_serve()} to {plan.can_serve(page)} open returns"
    yield "limit", f"{limit} a minute: {percent}; it can serve {served}"


def _first_polls(found: Forecast, zone: ZoneInfo) -> Iterator[str]:
    """A line for each day; with seconds where minutes would not tell them apart."""
    local = [poll.at.astimezone(zone) for poll in found.polls[:_LISTED]]
    is_fast = any(after - before < timedelta(minutes=1) for before, after in pairwise(local))
    for day, moments in groupby(local, key=datetime.date):
        yield f"{_day(day)} " + " ".join(f"{at:{'%H:%M:%S' if is_fast else '%H:%M'}}" for at in moments)


def _day(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{_day(local)} {local:%H:%M}"
