"""One configured account as the loop sees it: its carrier, its policy, its places, and its share of the pace."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from worker.carriers.port import Carrier
from worker.domain.decision import Hold
from worker.domain.kin import Kin, alone
from worker.domain.lifecycle import Step
from worker.domain.policy import Policy
from worker.engine.circuits import Admitted, Circuits
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
    """An account and what this process knows of it."""

    name: str
    carrier: Carrier
    policy: Policy
    timeout: float  # of one request, in seconds
    max_in_flight: int  # calls at a time
    meter: Meter
    key_fingerprint: Callable[[], str]  # of the key that would be sent now
    is_number: Callable[[str], bool]  # whether a text could be a number of its carrier's
    database: Database
    metrics: Metrics
    lease: timedelta  # as long as a row is leased
    address: str = ""  # where its requests go
    beside: Callable[[], Kin] | None = (
        None  # which accounts are at the same address, and share its key now; None: no other
    )

    circuits: Circuits = field(init=False)
    places: asyncio.Semaphore = field(init=False)  # one for each call
    in_hand: int = field(default=0, init=False)  # rows that are leased, and whose call has not ended
    sweeping: bool = field(default=False, init=False)  # the carrier's list answers its due polls; `Sweeps` says so
    creations_wait: bool = field(default=False, init=False)  # they found fewer requests than places; `Taker` says so
    stopped: bool = field(default=False, init=False)  # no creation is sent to its address
    _held: bool = field(default=False, init=False)  # by a hold, or because its key rests
    _resting: dict[str, datetime] = field(default_factory=dict, init=False)
    # Fingerprints of keys that were refused, and until when each is not tried; `FOREVER` while the account is held.

    def __post_init__(self) -> None:
        self.circuits = Circuits(self.name, self.policy.breaker, self.database, self.metrics, self.lease)
        self.places = asyncio.Semaphore(self.max_in_flight)

    @property
    def kin(self) -> Kin:
        """The accounts beside it, as things are now."""
        return self.beside() if self.beside is not None else alone(self.name)

    @property
    def is_paused(self) -> bool:
        """Whether no call may begin: it is held, or its circuit is open."""
        return self._held or self.circuits.is_open

    @property
    def free(self) -> int:
        """Calls that could be made at once."""
        return max(0, self.max_in_flight - self.in_hand)

    @property
    def capacity(self) -> int:
        """Rows that may be in hand: one for each place, and half as many for polls to wait in, close to their turn."""
        return self.max_in_flight + max(1, self.max_in_flight // 2)

    @property
    def room(self) -> int:
        """Rows that may be taken now."""
        return max(0, self.capacity - self.in_hand)

    def begin(self) -> None:
        """A row of it is in hand, or a page of its list is asked for."""
        self.in_hand += 1

    def end(self) -> None:
        """The call for that has ended, or was not made."""
        self.in_hand -= 1

    def judge_ages(self, judge: bool) -> None:
        """Whether its returns may expire, and be given up, from now on."""
        if self.policy.judges_ages != judge:
            self.policy = replace(self.policy, judges_ages=judge)

    async def notice(self, agenda: Agenda) -> Admitted | None:
        """What may be taken of what is due, now that its row says so; None: it is held, or its key rests."""
        self._held = await self._notice_hold(agenda)
        if self._held:
            return None
        self.stopped = agenda.stopped_address is not None and agenda.stopped_address == self.address
        due = {**agenda.due, Step.CREATE: 0} if agenda.creations_held else agenda.due
        return self.circuits.notice(agenda.health, due, agenda.now, sends=not self.stopped)

    async def _notice_hold(self, agenda: Agenda) -> bool:
        """Whether it waits. A hold for a key that was refused ends with another key, unless that was refused too."""
        held = agenda.held_until is not None and agenda.held_until > agenda.now
        if agenda.refused_key is None and not self._resting:
            return held  # nearly always
        key = self.key_fingerprint()
        rests = self._rests(key, agenda, held=held)
        if held and not rests and agenda.refused_key and agenda.refused_key != key:
            with suppress(RowLocked):
                await release_account(self.database, self.name, agenda.refused_key)
                log.info("account_released", account=self.name, reason="its key has changed")
                return False
        return held or rests

    def _rests(self, key: str, agenda: Agenda, *, held: bool) -> bool:
        """Whether this key was refused lately: else two workers with two keys would end each other's holds for ever.

        A worker that ends a hold by another key leaves in the row which one was refused; a person's release does not.
        """
        if not held and agenda.refused_key is None:
            self._resting.clear()
        elif not held and agenda.refused_key == key:
            self._resting.setdefault(key, FOREVER)
        until = self._resting.get(key)
        if until is None:
            return False
        if until == FOREVER and not held:
            until = self._resting[key] = agenda.now + REST
            log.warning("account_key_rests", account=self.name, until=until, hint=_TWO_KEYS)
        return until > agenda.now

    async def stop_sending(self, message: str) -> None:
        """Send no creation to this address any more, on any worker; what is under way ends as it does."""
        if not self.stopped:
            log.error(
                "account_sending_stopped", account=self.name, address=self.address, message=message, hint=_RELEASE
            )
        self.stopped = True
        # Where it is not written, this process sends none all the same, and another one's next creation says it again.
        await self._write(stop_sending(self.database, self.name, self.address, message))

    async def hold(self, hold: Hold, key: str) -> None:
        """Let the account wait, for every worker; `key` is the fingerprint of the one that was sent."""
        if not self.is_paused:  # else a call that was under way is turned away too, which is no news
            log.warning("account_held", account=self.name, until=hold.until, code=hold.code, message=hold.message)
        self._held = True
        if hold.until is None:
            self._resting[key] = FOREVER
        # Where it is not written, its next call is turned away again, and holds it then.
        await self._write(hold_account(self.database, self.name, hold, key if hold.until is None else None))

    async def _write(self, change: Awaitable[None]) -> None:
        try:
            await change
        except DatabaseUnavailable:
            self.metrics.storage_errors.labels("record").inc()
