"""The record of every request that reached the simulated carrier."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

LEDGER_LENGTH = 100_000
"""So many requests are remembered; then the oldest are forgotten."""

_SECRET_HEADERS = frozenset({"x-api-key", "authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what the client got for it.

    `at` is `time.monotonic()` in seconds, when the request had been read. `operation` is one of the carrier's,
    or "unknown". Header names are in lower case, secrets are `***`. `body` is None unless a JSON object.
    `reply_status` is None when no answer was sent: connection cut, or left hanging.
    """

    at: float
    operation: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: dict[str, object] | None
    reply_status: int | None


Ledger = deque[Request]
"""Requests in the order in which they had been read, oldest first."""


def new_ledger() -> Ledger:
    """An empty ledger of bounded length."""
    return deque(maxlen=LEDGER_LENGTH)


@lru_cache(maxsize=1024)
def masked_headers(raw: tuple[tuple[bytes, bytes], ...]) -> Mapping[str, str]:
    """Headers fit to be shown; cached, so that a hundred thousand equal polls share one mapping."""
    shown: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = raw_name.decode("latin-1").lower()
        shown[name] = "***" if name in _SECRET_HEADERS else raw_value.decode("utf-8", "replace")
    return MappingProxyType(shown)
