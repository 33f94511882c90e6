"""What every simulated carrier is to the server: requests in, orders kept, answers out; and the record of them."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import ClassVar, Protocol

from worker.simulator.delivery import Delivery, Reply
from worker.simulator.throttle import Throttle

UNKNOWN_OPERATION = "unknown"

LEDGER_LENGTH = 100_000
"""So many requests are remembered; then the oldest are forgotten."""

_SECRET_HEADERS = frozenset({"x-api-key", "authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a carrier sees it."""

    operation: str  # one of the carrier's, or "unknown"
    method: str
    target: str  # path and query as their bytes came
    path: str  # decoded, as is `query`
    query: Mapping[str, str]
    headers: Mapping[str, str]  # their names are case-insensitive
    body: dict[str, object] | None  # None unless a JSON object


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what the client got for it."""

    at: float  # when it had been read, in seconds of `time.monotonic`
    operation: str  # one of the carrier's, or "unknown"
    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # their names in lower case, secrets as `***`
    body: dict[str, object] | None  # None unless a JSON object
    reply_status: int | None  # None when no answer was sent: connection cut, or left hanging


Ledger = deque[Request]
"""Requests in the order in which they had been read, oldest first."""


@lru_cache(maxsize=1024)
def masked_headers(raw: tuple[tuple[bytes, bytes], ...]) -> Mapping[str, str]:
    """Headers fit to be shown; cached, so that a hundred thousand equal polls share one mapping."""
    shown: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = raw_name.decode("latin-1").lower()
        shown[name] = "***" if name in _SECRET_HEADERS else raw_value.decode("utf-8", "replace")
    return shown


@dataclass(frozen=True, slots=True)
class Package:
    """One parcel of an order; dimensions in the carrier's own units."""

    label_code: str
    description: str | None
    dimensions: Mapping[str, int]


@dataclass(slots=True)
class Order:
    """One return that exists at the carrier."""

    number: str
    description: str
    body: dict[str, object]  # of the request that made it
    packages: tuple[Package, ...]
    created_at: float  # in seconds of the simulator's clock
    created_utc: datetime  # in real time
    words: frozenset[str]  # the magic ones in its description
    journey: tuple[str, ...]  # a test may give a running order another one
    label_requests: int = 0


class Carrier(Protocol):
    """A carrier's API without HTTP: pure memory, never waits, never fails."""

    operations: ClassVar[Sequence[str]]
    throttle: Throttle

    def operation(self, method: str, path: str) -> str:
        """Which of `operations` a request asks for, else "unknown"."""

    def error(self, status: int, text: str) -> Reply:
        """An error that the server found, shaped as this carrier shapes its own."""

    def answer(self, call: Call) -> Delivery:
        """Do what `call` asks and say what to send for it."""

    def describe(self, limit: int) -> tuple[int, dict[str, object]]:
        """How many orders there are, and the newest `limit` of them by number, for a person."""

    def reset(self) -> None:
        """Forget all orders."""
