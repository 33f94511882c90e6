"""The polling cadence: what may be set where, and which setting holds for one account and status.

Four layers, the most particular first; each key is looked up by itself:

    accounts.<account>.polling.by_status.<status>      this account, this status
    accounts.<account>.polling                         this account
    polling.by_status.<status>                         every account, this status
    polling                                            everything

An account comes before a status because it is the carrier who says how often he may be asked: whoever writes
`first = "2h"` for an account means all of it, and would be surprised by a quicker poll from a table further up.
The built-in `polling.by_status.in_transit.first` (30m) gives way to a smaller cap instead of contradicting it;
a `first` that somebody wrote above the cap that holds for it is an error.

`max_age` is the one key that means two things: for an account or for everything it ends the whole return, in a table by
status it ends a stay in that status. Both hold.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from worker.settings.daytime import check_daytime, check_timezone
from worker.settings.durations import Duration, PositiveDuration
from worker.settings.table import Table

PolledStatus = Literal["pending", "pre_transit", "in_transit", "unknown"]
"""The tracking statuses that are not terminal: the ones that are polled."""

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


class PollingLadder(Table):
    """The cadence that holds for one account and status: every field resolved."""

    first: PositiveDuration
    """The wait after creation and after every change of status."""
    factor: Factor
    """What the wait grows by while nothing changes."""
    cap: PositiveDuration
    """What the wait grows up to; never less than `first`."""
    jitter: Jitter
    """Give or take this part of the wait: 0.1 is 10 %."""
    max_age: PositiveDuration
    """Nothing terminal within this time of creation: expired."""
    max_stay: PositiveDuration | None
    """No other status within this time: expired; None: only `max_age` counts."""
    near_pickup: Duration
    """The longest wait in the daytime of the pickup date and the day after; 0: no difference."""
    quiet_nights: bool
    """Whether nothing is asked outside the daytime."""
    daytime: Hours
    """HH:MM-HH:MM in `timezone`; it may end on the next day."""
    timezone: TimeZone


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
    given = by_status.get("in_transit", PollingOverride())
    if given.first is not None:
        return by_status
    values = {name: getattr(given, name) for name in PollingOverride.model_fields} | {"first": _FIRST_IN_TRANSIT}
    built_in = PollingOverride.model_construct(given.model_fields_set - {"first"}, **values)
    return {**by_status, "in_transit": built_in}


class PollingSettings(Table):
    """`[polling]`: the cadence of a healthy return."""

    first: PositiveDuration = timedelta(minutes=15)
    factor: Factor = 1.5
    cap: PositiveDuration = timedelta(hours=6)
    jitter: Jitter = 0.1
    max_age: PositiveDuration = timedelta(days=60)
    near_pickup: Duration = timedelta(hours=1)
    quiet_nights: bool = False
    daytime: Hours = "07:00-21:00"
    timezone: TimeZone = "Europe/Amsterdam"
    by_status: dict[PolledStatus, PollingOverride] = Field(default_factory=lambda: _with_built_in({}))

    @field_validator("by_status")
    @classmethod
    def _keep_built_in(cls, value: dict[PolledStatus, PollingOverride]) -> dict[PolledStatus, PollingOverride]:
        return _with_built_in(value)


def resolve(polling: PollingSettings, account: AccountPolling, status: str) -> PollingLadder:
    """Resolve the cadence for one account and tracking status, by the layers on top of this file.

    A status that has no table of its own gets the account's and the general values. The result is not checked
    for `cap >= first`: `load` does that for every account and status.
    """
    layers = (
        cast("dict[str, PollingOverride]", account.by_status).get(status),
        account,
        cast("dict[str, PollingOverride]", polling.by_status).get(status),
        polling,
    )
    found: dict[str, Any] = {}
    first_is_built_in = False
    stays = [layer.max_age for layer in (layers[0], layers[2]) if layer is not None and layer.max_age is not None]
    found["max_stay"] = stays[0] if stays else None
    for name in PollingOverride.model_fields:
        for layer in layers if name != "max_age" else (layers[1], layers[3]):
            if layer is not None and getattr(layer, name) is not None:
                found[name] = getattr(layer, name)
                if name == "first":
                    first_is_built_in = layer is layers[2] and "first" not in layer.model_fields_set
                break
    ladder = PollingLadder.model_construct(**found)  # every part was validated where it was set
    if first_is_built_in and ladder.first > ladder.cap:
        return ladder.model_copy(update={"first": ladder.cap})
    return ladder
