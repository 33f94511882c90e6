"""The polling cadence: what may be set where, and which setting holds for one account and status.

Four layers, the most particular first; each key is looked up by itself:

    accounts.<account>.polling.by_status.<status>      this account, this status
    accounts.<account>.polling                         this account
    polling.by_status.<status>                         every account, this status
    polling                                            everything

An account comes before a status because it is the carrier who says how often he may be asked: `first = "2h"` for an
account is meant for all of it, and a quicker poll from a table further up would surprise.
The built-in `polling.by_status.in_transit.first` (30m) gives way to a smaller cap instead of contradicting it;
a `first` that somebody wrote above the cap that holds for it is an error.

`max_age` is the one key that means two things: for an account or for everything it ends the whole return, in a table by
status it ends a stay in that status. Both hold.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from worker.domain.cadence import Daytime, Ladder
from worker.domain.tracking import POLLED, TrackingStatus
from worker.settings.durations import Duration, PositiveDuration, check_daytime, check_timezone, read_daytime
from worker.settings.table import Table

if TYPE_CHECKING:
    PolledStatus = TrackingStatus
else:
    PolledStatus = Literal[POLLED]

_LADDER = Ladder()
_FIRST_IN_TRANSIT = timedelta(minutes=30)


def reject_bool(value: object) -> object:
    """Raise ValueError for true and false, which Python would take for the numbers 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic collects ValueError only
    return value


Factor = Annotated[float, Field(ge=1), BeforeValidator(reject_bool)]
Jitter = Annotated[float, Field(ge=0, lt=1), BeforeValidator(reject_bool)]
Hours = Annotated[str, AfterValidator(check_daytime)]
TimeZone = Annotated[str, AfterValidator(check_timezone)]


class PollingOverride(Table):
    """Some of the cadence, for one status or one account; what is unset (None) is left to the next layer."""

    first: PositiveDuration | None = None
    factor: Factor | None = None
    cap: PositiveDuration | None = None
    jitter: Jitter | None = None
    max_age: PositiveDuration | None = None
    near_pickup: Duration | None = None
    quiet_nights: bool | None = None
    daytime: Hours | None = None
    timezone: TimeZone | None = None


class AccountPolling(PollingOverride):
    """`[accounts.<account>.polling]`: what one account does otherwise."""

    by_status: dict[PolledStatus, PollingOverride] = Field(default_factory=dict)


def _with_built_in(by_status: dict[PolledStatus, PollingOverride]) -> dict[PolledStatus, PollingOverride]:
    """Add the built-in override; it stays out of `model_fields_set`, which is how `resolve` knows it."""
    given = by_status.get(TrackingStatus.IN_TRANSIT, PollingOverride())
    if given.first is not None:
        return by_status
    values = {name: getattr(given, name) for name in PollingOverride.model_fields} | {"first": _FIRST_IN_TRANSIT}
    built_in = PollingOverride.model_construct(given.model_fields_set - {"first"}, **values)
    return {**by_status, TrackingStatus.IN_TRANSIT: built_in}


class PollingSettings(Table):
    """`[polling]`: the cadence of a healthy return."""

    first: PositiveDuration = _LADDER.first  # the wait after creation and after every change of status
    factor: Factor = _LADDER.factor  # what the wait grows by while nothing changes
    cap: PositiveDuration = _LADDER.cap  # what the wait grows up to; never less than `first`
    jitter: Jitter = _LADDER.jitter  # give or take this part of the wait: 0.1 is 10 %
    max_age: PositiveDuration = _LADDER.max_age  # nothing terminal within this time of creation: expired
    # The longest wait in the daytime of the pickup date and the day after; 0: no difference.
    near_pickup: Duration = _LADDER.near_pickup
    quiet_nights: bool = _LADDER.quiet_nights  # whether nothing is asked outside the daytime
    daytime: Hours = "07:00-21:00"  # HH:MM-HH:MM in `timezone`; it may end on the next day
    timezone: TimeZone = "Europe/Amsterdam"
    by_status: dict[PolledStatus, PollingOverride] = Field(default_factory=lambda: _with_built_in({}))

    @field_validator("by_status")
    @classmethod
    def _keep_built_in(cls, value: dict[PolledStatus, PollingOverride]) -> dict[PolledStatus, PollingOverride]:
        return _with_built_in(value)


def resolve(polling: PollingSettings, account: AccountPolling, status: TrackingStatus | None) -> dict[str, Any]:
    """What holds for one account and tracking status, by the layers on top of this file; `max_stay` beside it.

    A status that has no table of its own gets the account's and the general values. The result is not checked
    for `cap >= first`: `load` does that for every account and status.
    """
    tables = [each.by_status.get(status) if status else None for each in (account, polling)]
    layers = (tables[0], account, tables[1], polling)
    stays = [table.max_age for table in tables if table is not None and table.max_age is not None]
    found: dict[str, Any] = {"max_stay": stays[0] if stays else None}
    first_is_built_in = False
    for name in PollingOverride.model_fields:
        for layer in layers if name != "max_age" else (layers[1], layers[3]):
            if layer is not None and getattr(layer, name) is not None:
                found[name] = getattr(layer, name)
                if name == "first":
                    first_is_built_in = layer is layers[2] and "first" not in layer.model_fields_set
                break
    return found | {"first": min(found["first"], found["cap"])} if first_is_built_in else found


def ladder_of(values: Mapping[str, Any]) -> Ladder:
    """What `resolve` found, as decisions are told of it."""
    zone, daytime = ZoneInfo(values["timezone"]), read_daytime(values["daytime"])
    rest = {name: value for name, value in values.items() if name not in ("timezone", "daytime")}
    return Ladder(**rest, daytime=Daytime(*daytime, zone))
