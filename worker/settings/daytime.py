"""The hours of the day as people write them ("07:00-21:00"), and time zones by their names."""

import re
from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_WRITTEN = re.compile(r"([0-9]{2}):([0-5][0-9])-([0-9]{2}):([0-5][0-9])")
_DAY = timedelta(days=1)


def check_daytime(text: str) -> str:
    """The same text; raises ValueError unless `read_daytime` can read it."""
    read_daytime(text)
    return text


def read_daytime(text: str) -> tuple[timedelta, timedelta]:
    """When the daytime begins after midnight, and how long it lasts; "05:00-01:00" ends on the next day."""
    match = _WRITTEN.fullmatch(text)
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
