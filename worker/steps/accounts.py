"""One configured account as the loop sees it: its carrier, its policy, its places, and its share of the pace."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker.carriers.port import Carrier
from worker.domain.pacing import Pace
from worker.domain.policy import Policy


@dataclass(slots=True)
class Account:
    """An account and what this process holds of it; `timeout` is one request's, in seconds.

    `in_hand` counts claimed rows that are not yet recorded as called; at most `max_in_flight` of them call at a time.
    """

    name: str
    carrier: Carrier
    policy: Policy
    timeout: float
    max_in_flight: int
    pace: Pace | None
    key_fingerprint: Callable[[], str]
    places: Any = field(init=False)  # asyncio.Semaphore, made on the running loop
    in_hand: int = 0
    paused: bool = False
    tokens: list[float] = field(default_factory=list)  # when each token we hold becomes void, on the lease clock

    @property
    def room_to_create(self) -> int:
        """Creations that could be sent at once."""
        return max(0, self.max_in_flight - self.in_hand)

    @property
    def room(self) -> int:
        """Rows that may be taken: free places and a small read-ahead, so that polls follow each other closely."""
        return max(0, self.max_in_flight + self.read_ahead - self.in_hand)

    @property
    def read_ahead(self) -> int:
        """Rows waiting for a place: a quarter of the places."""
        return max(1, self.max_in_flight // 4)
