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
    def free(self) -> int:
        """Calls that could be made at once."""
        return max(0, self.max_in_flight - self.in_hand)

    @property
    def capacity(self) -> int:
        """Rows that may be held: one for each place, and a quarter more for polls to wait in, close to their turn."""
        return self.max_in_flight + max(1, self.max_in_flight // 4)

    @property
    def room(self) -> int:
        """Rows that may be taken now."""
        return max(0, self.capacity - self.in_hand)
