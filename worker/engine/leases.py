"""How long a claimed row may be worked on, measured on a clock that goes on while the machine sleeps."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.clocks import lease_margin
from worker.engine.account import Account
from worker.store.claimed import Claimed


@dataclass(frozen=True, slots=True)
class Timing:
    """The loop's times, in seconds: how long a lease lasts, and how long to sleep when nothing says otherwise."""

    lease: float
    tick: float

    @property
    def margin(self) -> float:
        """What a call must leave of the lease: half of what the settings ask for beyond the longest time limit.

        The other half is for beginning, so that the shortest lease that may be configured lets something begin.
        """
        return lease_margin(timedelta(seconds=self.lease)).total_seconds() / 2


@dataclass(frozen=True, slots=True)
class Leased:
    """A row under our lease, `asked_at` a moment before that began; moments are seconds on the lease clock.

    `token_until`: until when the request that was taken out of the pace may be sent, None where there is none. `probe`:
    it finds out whether a carrier that failed is well again.
    """

    claimed: Claimed
    account: Account
    timing: Timing
    asked_at: float
    token_until: float | None
    probe: bool = False

    @property
    def begin_until(self) -> float:
        """The last moment at which a request can begin and be recorded within the lease."""
        return self.asked_at + self.timing.lease - self.timing.margin - self.account.timeout

    def may_begin(self, clock: float) -> bool:
        """No call may outlive its lease, overdraw the pace, or go to an account that was just held."""
        if self.account.is_paused or clock > self.begin_until:
            return False
        return not self.account.meter.limited or (self.token_until is not None and clock < self.token_until)

    def database_time(self, clock: float) -> datetime:
        """The database's time at a moment of the lease clock."""
        return self.claimed.claimed_at + timedelta(seconds=clock - self.asked_at)
