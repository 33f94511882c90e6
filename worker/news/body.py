"""The body of a webhook's request: the same bytes at each try, and never too large to be taken."""

import json
from datetime import UTC, datetime

from worker.domain.news import Message

MAX_BYTES = 20_000
"""What receivers take at least (Standard Webhooks 1.0.0, "Payload size")."""

_MOST = {"reference": 6000, "account": 1000, "carrier_ref": 1500}
_MOST_OF_ANOTHER = 1500  # bytes of a text as JSON: all of them together stay below `MAX_BYTES`
_LONGEST_CHARACTER = 12  # bytes: as JSON writes one beyond the basic plane in ASCII


def body_of(message: Message) -> bytes:
    """JSON in ASCII, which no wrong guess at a charset changes; a text that is far too long is cut."""
    data = {
        "account": message.account,
        "reference": message.reference,
        "carrier_ref": message.carrier_ref,
        "carrier_status": message.carrier_status,
        "carrier_time": _said(message.carrier_time),
        "old": message.old_value,
        "new": message.new_value,
        "reason": message.reason,
        "position": message.position,
    }
    data = {name: _cut(name, value) if isinstance(value, str) else value for name, value in data.items()}
    content = {"type": message.type, "timestamp": _said(message.observed_at), "data": data}
    return json.dumps(content, separators=(",", ":")).encode()


def _said(moment: datetime | None) -> str | None:
    """As RFC 3339 has it, always to the microsecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _cut(name: str, text: str) -> str:
    most = _MOST.get(name, _MOST_OF_ANOTHER)
    return text if len(json.dumps(text)) <= most else text[: most // _LONGEST_CHARACTER]
