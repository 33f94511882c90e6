"""What every simulated carrier is to the server: requests in, orders kept, answers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.simulator.delivery import Delivery, Reply
from worker.simulator.throttle import Throttle

UNKNOWN_OPERATION = "unknown"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a carrier sees it; header names are case-insensitive, `body` is None unless an object.

    `target` is path and query as their bytes came, where `path` and `query` are decoded.
    """

    operation: str
    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class Package:
    """One parcel of an order; dimensions in the carrier's own units."""

    label_code: str
    description: str | None
    dimensions: Mapping[str, int]


@dataclass(slots=True)
class Order:
    """One return that exists at the carrier.

    `created_at` is in seconds of the simulator's clock, `created_utc` is real time. A test may give a running
    order another `journey`.
    """

    number: str
    description: str
    body: dict[str, object]
    packages: tuple[Package, ...]
    created_at: float
    created_utc: datetime
    words: frozenset[str]
    journey: tuple[str, ...]
    label_requests: int = 0


class Carrier(Protocol):
    """A carrier's API without HTTP: pure memory, never waits, never fails."""

    operations: Sequence[str]
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
