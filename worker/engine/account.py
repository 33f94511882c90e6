"""One configured account as the loop sees it: its carrier, its policy, its places, and its share of the pace."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from worker.carriers.port import Carrier
from worker.domain.decision import Hold
from worker.domain.health import Health
from worker.domain.kin import Kin, alone
from worker.domain.lifecycle import Step
from worker.domain.policy import Policy
from worker.engine.meter import Meter
from worker.store.accounts import Agenda
from worker.store.columns import FOREVER
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable, RowLocked
from worker.store.holds import hold_account, release_account, stop_sending
from worker.telemetry.metrics import Metrics

REST = timedelta(minutes=15)
"""How long a worker does not try a key that was refused, while another worker's key is accepted."""

log = structlog.get_logger()

_RELEASE = (
    "is base_url right, and the API where it was? look at the carrier's for what is in doubt; it ends by another"
    " base_url, or by `returns-worker accounts release`"
)
_TWO_KEYS = (
    "another worker's key is accepted, and this worker's was refused: give it the same one; to have it tried at once:"
    " `returns-worker accounts release`"
)


@dataclass(slots=True)
class Account:
    """An account and what this process holds of it; `timeout` is one request's, in seconds.

    `in_hand` counts claimed rows that are not yet recorded as called; at most `max_in_flight` of them call at a time.
    `sweeping`: its due polls are being answered by the carrier's list. `creations_wait`: in the last turn there were
    fewer requests than places for what is to be created. `address` is where its requests go; `stopped`:
    no creation is sent there. `careful`: its creations in flight are counted; `held_back`: more of them are due;
    `slowdowns`: how often a failure here had them counted from one on.
    `health` is what was last known of it; `probe` says which step's next row shall find out whether a carrier that
    failed is well again, `untried` which step's came to nothing the last time.
    `resting`: the fingerprints of keys that were refused, and until when each is not tried; `FOREVER` while it is held.
    `beside` tells which accounts are at the same address, and which share its key now; None: it has none beside it.
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
    creations_wait: bool = False
    address: str = ""
    stopped: bool = False
    careful: bool = False
    held_back: bool = False
    slowdowns: int = 0
    health: Health = field(default_factory=Health)
    probe: Step | None = None
    untried: Step | None = None
    resting: dict[str, datetime] = field(default_factory=dict)
    beside: Callable[[], Kin] | None = None

    @property
    def kin(self) -> Kin:
        """The accounts beside it, as things are now."""
        return self.beside() if self.beside is not None else alone(self.name)

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

    def judge_ages(self, judge: bool) -> None:
        """Whether its returns may expire, and be given up, from now on."""
        if self.policy.judges_ages != judge:
            self.policy = replace(self.policy, judges_ages=judge)

    async def notice_hold(self, agenda: Agenda, database: Database) -> None:
        """Whether it waits; a hold for a key that was refused ends with another key, unless that was refused too."""
        held = self.paused = agenda.held_until is not None and agenda.held_until > agenda.now
        if agenda.refused_key is None and not self.resting:
            return  # nearly always
        rests = self._rests(self.key_fingerprint(), agenda, held=held)
        self.paused = held or rests
        if held and not rests and agenda.refused_key and agenda.refused_key != self.key_fingerprint():
            with suppress(RowLocked):
                await release_account(database, self.name, agenda.refused_key)
                log.info("account_released", account=self.name, reason="its key has changed")
                self.paused = False

    def _rests(self, key: str, agenda: Agenda, *, held: bool) -> bool:
        """Whether this key was refused lately: two workers of which each ends the other's hold would never stop.

        Whoever ends a hold with another key leaves in the row which one was refused; a person's release does not.
        """
        if not held and agenda.refused_key is None:
            self.resting.clear()
        elif not held and agenda.refused_key == key:
            self.resting.setdefault(key, FOREVER)
        until = self.resting.get(key)
        if until is None:
            return False
        if until == FOREVER and not held:
            until = self.resting[key] = agenda.now + REST
            log.warning("account_key_rests", account=self.name, until=until, hint=_TWO_KEYS)
        return until > agenda.now

    async def stop_sending(self, message: str, database: Database, metrics: Metrics) -> None:
        """Send no creation to this address any more, on any worker; what is under way ends as it does."""
        if not self.stopped:
            log.error(
                "account_sending_stopped", account=self.name, address=self.address, message=message, hint=_RELEASE
            )
        self.stopped = True
        try:
            await stop_sending(database, self.name, self.address, message)
        except DatabaseUnavailable:
            # This process sends none; another one's next creation ends the same way.
            metrics.storage_errors.labels("record").inc()

    async def wait(self, hold: Hold, key: str, database: Database, metrics: Metrics) -> None:
        """Let the account wait, for every worker; `key` is the fingerprint of the one that was sent."""
        if not self.paused:  # calls that were under way are turned away too, and say nothing new
            log.warning("account_held", account=self.name, until=hold.until, code=hold.code, message=hold.message)
        self.paused = True
        if hold.until is None:
            self.resting[key] = FOREVER
        try:
            await hold_account(database, self.name, hold, key if hold.until is None else None)
        except DatabaseUnavailable:
            # Its next call is turned away again, and holds it then.
            metrics.storage_errors.labels("record").inc()
