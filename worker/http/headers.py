"""What an answer's headers say, and what each of our requests says of itself."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import worker

USER_AGENT = f"returns-worker/{worker.__version__}"

_LONGEST = timedelta(days=3650)


def by_name(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names in lower case; several of one name as one (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """The Retry-After header in either of its forms (RFC 9110, 10.2.3); None when absent or nonsense.

    Seconds, or a date that is compared with the other end's own `Date`, since its clock or ours may be wrong.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value[:12]), _LONGEST.total_seconds()))
    until = _http_date(value)
    return None if until is None else wait_until(until, headers)


def wait_until(moment: datetime, headers: Mapping[str, str]) -> timedelta:
    """How long it is until then by the other end's `Date`, else by our clock; ten years at most."""
    now = _http_date(headers.get("date", "")) or datetime.now(UTC)
    return min(max(moment - now, timedelta(0)), _LONGEST)


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
