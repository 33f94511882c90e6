"""One configured account as the loop sees it: its carrier, its policy, its places, and its share of the pace."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from worker.carriers.port import Carrier
from worker.domain.decision import Hold
from worker.domain.health import Health
from worker.domain.kin import Kin
from worker.domain.lifecycle import Step
from worker.domain.policy import Policy
from worker.steps.meter import Meter
from worker.store.database import Database, DatabaseUnavailable
from worker.store.holds import hold_account
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()


@dataclass(slots=True)
class Account:
    """An account and what this process holds of it; `timeout` is one request's, in seconds.

    `in_hand` counts claimed rows that are not yet recorded as called; at most `max_in_flight` of them call at a time.
    `sweeping`: its due polls are being answered by the carrier's list. `health` is what was last known of it; `probe`
    says which step's next row shall find out whether a carrier that failed is well again, `untried` which step's
    came to nothing the last time. `kin` says which accounts are at the same address, and which share its key now.
    """

    name: str
    carrier: Carrier
    policy: Policy
    timeout: float
    max_in_flight: int
    meter: Meter
    key_fingerprint: Callable[[], str]
    places: Any = field(init=False)  # asyncio.Semaphore, made on the running loop
    in_hand: int = 0
    paused: bool = False
    sweeping: bool = False
    health: Health = field(default_factory=Health)
    probe: Step | None = None
    untried: Step | None = None
    kin: Callable[[], Kin | None] = lambda: None

    @property
    def free(self) -> int:
        """Calls that could be made at once."""
        return max(0, self.max_in_flight - self.in_hand)

    @property
    def capacity(self) -> int:
        """Rows that may be held: one for each place, and half as many for polls to wait in, close to their turn."""
        return self.max_in_flight + max(1, self.max_in_flight // 2)

    @property
    def room(self) -> int:
        """Rows that may be taken now."""
        return max(0, self.capacity - self.in_hand)

    async def wait(self, hold: Hold, key: str, database: Database, metrics: Metrics) -> None:
        """Let the account wait, for every worker; `key` is the fingerprint of the one that was sent."""
        if not self.paused:  # calls that were under way are turned away too, and say nothing new
            log.warning("account_held", account=self.name, until=hold.until, code=hold.code, message=hold.message)
        self.paused = True
        try:
            await hold_account(database, self.name, hold, key if hold.until is None else None)
        except DatabaseUnavailable:
            # Its next call is turned away again, and holds it then.
            metrics.storage_errors.labels("record").inc()
