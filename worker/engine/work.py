"""One claimed row, from its claim to its record: may its step begin, DO it, DECIDE what becomes of it, RECORD that."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from worker.carriers.port import NoTimeLeft
from worker.domain.circuits import is_well
from worker.domain.decide import decide
from worker.domain.decision import Decision
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Outcome, RefTaken
from worker.engine.account import Account
from worker.engine.meter import Allowance
from worker.engine.perform import perform
from worker.engine.running import Running, Tools
from worker.store.claimed import Claimed
from worker.store.failures import DatabaseUnavailable
from worker.store.payloads import read_payloads
from worker.store.records import CarrierRefTaken


@dataclass(frozen=True, slots=True)
class Leased:
    """A claimed row on its way through the rooms, and what its step may spend; moments are on the lease clock."""

    claimed: Claimed
    account: Account
    asked_at: float  # a moment before the lease began
    begin_until: float  # the last one at which a request can begin and be recorded within the lease
    token_until: float | None  # until when the request that was taken out of the pace may be sent; None: there is none
    probe: bool  # it finds out whether a carrier that failed is well again

    def may_begin(self, clock: float) -> bool:
        """No call may outlive its lease, overdraw the pace, or go to an account that was just held."""
        if self.account.is_paused or clock > self.begin_until:
            return False
        return self.account.meter.pace is None or (self.token_until is not None and clock < self.token_until)

    def database_time(self, clock: float) -> datetime:
        """The database's time at a moment of the lease clock."""
        return self.claimed.claimed_at + timedelta(seconds=clock - self.asked_at)


class Work:
    """Has the steps of this process done."""

    def __init__(self, tools: Tools, running: Running) -> None:
        self._tools, self._running = tools, running
        self._delays = cache(tools.metrics.schedule_delay.labels)
        self._in_flight = cache(tools.metrics.in_flight.labels)

    async def start(self, rows: Sequence[Claimed], asked_at: float) -> None:
        """Have each row advanced, beside everything else; they were leased after `asked_at` on the lease clock."""
        tools, margin = self._tools, self._tools.timing.margin
        for claimed in await read_payloads(tools.database, rows):
            account = tools.accounts[claimed.order.account]
            tools.watch.note(claimed.claimed_at, asked_at)
            self._delays(claimed.order.next_step).observe(claimed.delay)
            account.begin()
            probe = account.circuits.spend_probe(claimed.order.queue)
            begin_until = asked_at + tools.timing.lease - margin - account.timeout
            leased = Leased(claimed, account, asked_at, begin_until, account.meter.take(), probe)
            self._running.start(self.advance(leased))

    async def advance(self, leased: Leased) -> None:
        """One step of one return; one that was not done is handed back."""
        order, account = leased.claimed.order, leased.account
        outcome, key = None, ""
        try:
            async with account.places:
                if self._running.is_draining or not leased.may_begin(self._tools.clock()):
                    self._tools.recorder.give_back(order)
                else:
                    key = account.key_fingerprint()  # the one that is sent: it may be replaced before the answer comes
                    outcome = await self._do(leased)
                if is_well(order, outcome) is False:  # it counts before its place, or its row, is free for the next one
                    await self._hear(leased, outcome)
        finally:
            account.end()
        if outcome is not None:
            self._running.place_free(account)
            outcome = await self._decide_and_record(leased, outcome, key)
        if is_well(order, outcome) is not False:
            await self._hear(leased, outcome)

    async def _do(self, leased: Leased) -> Outcome | None:
        """The outcome; None: time, or the database, ended it before anything was sent that changes something.

        An intent may have been committed then; handing the row back clears it.
        """
        order, account, tools = leased.claimed.order, leased.account, self._tools
        allowance, outcome = Allowance(leased.begin_until, leased.token_until), None
        call = timedelta(seconds=account.timeout + tools.timing.margin)
        try:
            with (
                suppress(NoTimeLeft),
                account.meter.spending(allowance),
                self._in_flight(account.name).track_inprogress(),
            ):
                outcome = await perform(order, account, tools.database, tools.labels, call)
        except DatabaseUnavailable:
            tools.database.outage.was_cut = True
        if outcome is None:
            tools.recorder.give_back(order)
        return outcome

    async def _decide_and_record(self, leased: Leased, outcome: Outcome, key: str) -> Outcome:
        """What was recorded: the outcome, unless another return has the carrier's number already."""
        order, account = leased.claimed.order, leased.account
        now = leased.database_time(self._tools.clock())
        decision = decide(order, outcome, now, account.policy, self._tools.chance())
        if decision.hold is not None:
            await account.hold(decision.hold, key)
        if decision.stop_sending is not None:
            await account.stop_sending(decision.stop_sending)
        try:
            await self._record(leased, decision)
        except CarrierRefTaken:
            outcome = RefTaken(decision.order.carrier_ref or "", decision.transitions[0].raw)
            await self._hear(leased, outcome)
            await self._record(leased, decide(order, outcome, now, account.policy, self._tools.chance()))
        return outcome

    async def _record(self, leased: Leased, decision: Decision) -> None:
        """Write it down: what is not yet followed at once, everything else with the next batch."""
        order = leased.claimed.order
        if order.state is State.PENDING:
            await self._tools.recorder.now(order, decision)
        else:
            self._tools.recorder.later(order, decision)

    async def _hear(self, leased: Leased, outcome: Outcome | None) -> None:
        """Let it count for the account's circuits and its ramp."""
        order, circuits = leased.claimed.order, leased.account.circuits
        now, sent_at = leased.database_time(self._tools.clock()), leased.claimed.claimed_at
        more = await circuits.heard(order, outcome, now, probe=leased.probe, sent_at=sent_at)
        if more or (outcome is not None and circuits.holds_back and order.next_step is Step.CREATE):
            self._running.wake()
