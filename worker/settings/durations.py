"""Times as people write them: durations ("200ms", "90s", "15m", "6h", "60d", 0.5), hours of the day, time zones."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from worker.domain.clocks import LONGEST_WAIT

LONGEST = timedelta(days=3650)
"""Longer than this is a slip of the finger, not a setting (and would overflow dates further on)."""

FORMS = 'a duration is "200ms", "90s", "15m", "6h", "60d" or a number of seconds (0.5)'

_MICROSECONDS = {"ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_ABOVE_ZERO = r"(?:0*[1-9][0-9]*(?:\.[0-9]+)?|0+\.0*[1-9][0-9]*)"
_UNIT = "ms|s|m|h|d"
_WRITTEN = re.compile(rf"(-?)({_NUMBER}) ?({_UNIT})?")
_MICROSECOND, _DAY = timedelta(microseconds=1), timedelta(days=1)
_HOURS = re.compile(r"([0-9]{2}):([0-5][0-9])-([0-9]{2}):([0-5][0-9])")
_LEAST_AGE = _DAY


def parse_duration(value: object) -> timedelta:
    """Read a duration: text with a unit, a number (or text) without one in seconds, or a `timedelta`.

    The result is rounded to whole microseconds. Raises ValueError, saying what is allowed, for
    anything else and for what is negative, not finite or longer than ten years.
    """
    microseconds = _microseconds(value)
    if microseconds < 0:
        raise ValueError("must not be negative")
    if microseconds > LONGEST // _MICROSECOND:
        raise ValueError("is longer than 3650d (ten years), the most allowed")
    return timedelta(microseconds=round(microseconds))


def parse_positive_duration(value: object) -> timedelta:
    """Read a duration as `parse_duration` does, and raise ValueError for zero as well."""
    duration = parse_duration(value)
    if not duration:
        raise ValueError("must be more than zero")
    return duration


def parse_age(value: object) -> timedelta | None:
    """Read an age after which something is removed for good: a duration of a day or more; "" is None, never.

    A bare number counts seconds: 400 in the place of "400d" would remove nearly everything.
    """
    if value is None or value == "":
        return None
    age = parse_duration(value)
    if age < _LEAST_AGE:
        raise ValueError('must be at least "1d", since it cannot be undone; "" is never')
    return age


def format_duration(duration: timedelta) -> str:
    """Write a duration so that `parse_duration` reads the same: in the largest unit it is a whole number of.

    For what stands in the settings, to be copied from there; any other time is told by `worker.domain.cadence.spoken`.
    """
    microseconds = duration // _MICROSECOND
    for unit in ("d", "h", "m", "s", "ms"):
        if microseconds and microseconds % _MICROSECONDS[unit] == 0:
            return f"{microseconds // _MICROSECONDS[unit]}{unit}"
    seconds, rest = divmod(microseconds, 10**6)
    return f"{seconds}.{rest:06d}".rstrip("0").rstrip(".") + "s"


def check_daytime(text: str) -> str:
    """The same text; raises ValueError unless `read_daytime` can read it."""
    read_daytime(text)
    return text


def read_daytime(text: str) -> tuple[timedelta, timedelta]:
    """When the daytime begins after midnight, and how long it lasts; "05:00-01:00" ends on the next day."""
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError('must be like "07:00-21:00"')
    begin_hour, begin_minute, end_hour, end_minute = (int(part) for part in match.groups())
    begin = timedelta(hours=begin_hour, minutes=begin_minute)
    end = timedelta(hours=end_hour, minutes=end_minute)
    if begin >= _DAY or end > _DAY:
        raise ValueError("must lie between 00:00 and 24:00")
    if begin == end:
        raise ValueError('begins when it ends; the whole day is "00:00-24:00"')
    return begin, (end - begin) % _DAY or _DAY


def check_timezone(name: str) -> str:
    """The same name; raises ValueError when there is no such zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError('is no time zone; it must be a name such as "Europe/Amsterdam" or "UTC"') from None
    return name


def _microseconds(value: object) -> Decimal:
    if isinstance(value, timedelta):
        return Decimal(value // _MICROSECOND)
    if isinstance(value, bool):  # a bool is an int to Python, but not in a file
        raise ValueError(FORMS)  # noqa: TRY004 - pydantic collects ValueError only
    if isinstance(value, int | float):
        number = Decimal(value)
        if not number.is_finite():
            raise ValueError(f"is not finite; {FORMS}")
        return number * 10**6
    match = _WRITTEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(FORMS)
    sign, digits, unit = match.groups()
    return Decimal(sign + digits) * _MICROSECONDS[unit or "s"]


def _bounded(duration: timedelta) -> timedelta:
    if duration > LONGEST_WAIT:
        raise ValueError(f"must not be more than {format_duration(LONGEST_WAIT)}")
    return duration


def _forms(number: str, **least: Any) -> WithJsonSchema:
    """Text with a unit or without, or a number, as an editor is told of it."""
    text = {"type": "string", "pattern": rf"^\s*{number} ?(?:{_UNIT})?\s*$"}
    most = LONGEST // timedelta(seconds=1)
    return WithJsonSchema({"anyOf": [text, {"type": "number", "maximum": most} | least]})


Duration = Annotated[timedelta, BeforeValidator(parse_duration), _forms(_NUMBER, minimum=0)]
"""A field that may be zero."""

PositiveDuration = Annotated[
    timedelta, BeforeValidator(parse_positive_duration), _forms(_ABOVE_ZERO, exclusiveMinimum=0)
]
"""A field for which zero makes no sense."""

Age = Annotated[
    timedelta | None,
    BeforeValidator(parse_age),
    _forms(f"(?:{_ABOVE_ZERO})?", minimum=_LEAST_AGE // timedelta(seconds=1)),
]
"""A field for which None is never, and for which a slip of the finger would be too much."""

BoundedDuration = Annotated[PositiveDuration, AfterValidator(_bounded)]
"""A field of at most `LONGEST_WAIT`: what ends later was written under a wrong clock."""
