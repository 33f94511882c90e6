"""One claimed row, from its claim to its record: may its step begin, DO it, DECIDE what becomes of it, RECORD that."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache

from worker.carriers.port import NoTimeLeft
from worker.domain.circuits import is_well
from worker.domain.decide import decide
from worker.domain.decision import Decision
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Outcome, RefTaken
from worker.domain.returns import ReturnOrder
from worker.engine.account import Account
from worker.engine.leases import Leased, Timing
from worker.engine.meter import Allowance
from worker.engine.perform import perform
from worker.engine.recorder import Recorder
from worker.labels import LabelStore
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.records import CarrierRefTaken
from worker.telemetry.metrics import Metrics


class Work:
    """What the steps of this process are done with."""

    def __init__(
        self,
        *,
        database: Database,
        labels: LabelStore,
        recorder: Recorder,
        metrics: Metrics,
        timing: Timing,
        clock: Callable[[], float],
        chance: Callable[[], float],
        is_draining: Callable[[], bool],
        on_place_free: Callable[[Account], None],
        on_more: Callable[[], None],
    ) -> None:
        """`clock` is the one that leases are measured by; `chance` draws from [0, 1).

        Nothing begins where the process `is_draining`. The hooks are told that an account's call has ended, and that by
        what it brought more may be taken.
        """
        self._database, self._labels, self._recorder = database, labels, recorder
        self._timing, self._clock, self._chance = timing, clock, chance
        self._is_draining, self._on_place_free, self._on_more = is_draining, on_place_free, on_more
        self._in_flight = cache(metrics.in_flight.labels)

    async def advance(self, leased: Leased) -> None:
        """One step of one return; one that was not done is handed back."""
        order, account = leased.claimed.order, leased.account
        outcome, key = None, ""
        try:
            async with account.places:
                if self._is_draining() or not leased.may_begin(self._clock()):
                    self._recorder.give_back(order)
                else:
                    key = account.key_fingerprint()  # the one that is sent: it may be replaced before the answer comes
                    outcome = await self._do(leased)
                if is_well(order, outcome) is False:  # it counts before its place, or its row, is free for the next one
                    await self._hear(leased, outcome)
        finally:
            account.end()
        if outcome is None:
            await self._hear(leased, None)
            return
        self._on_place_free(account)
        now = leased.database_time(self._clock())
        decision = decide(order, outcome, now, account.policy, self._chance())
        await self._tell_account(account, decision, key)
        try:
            await self._record(order, decision)
        except CarrierRefTaken:
            outcome = RefTaken(decision.order.carrier_ref or "", decision.transitions[0].raw)
            await self._hear(leased, outcome)
            await self._record(order, decide(order, outcome, now, account.policy, self._chance()))
        if is_well(order, outcome) is not False:
            await self._hear(leased, outcome)

    async def _do(self, leased: Leased) -> Outcome | None:
        """The outcome; None: time, or the database, ended it before anything was sent that changes something.

        An intent may have been committed then; handing the row back clears it.
        """
        order, account = leased.claimed.order, leased.account
        allowance, outcome = Allowance(leased.begin_until, leased.token_until), None
        call = timedelta(seconds=account.timeout + self._timing.margin)
        try:
            with (
                suppress(NoTimeLeft),
                account.meter.spending(allowance),
                self._in_flight(account.name).track_inprogress(),
            ):
                outcome = await perform(order, account, self._database, self._labels, call)
        except DatabaseUnavailable:
            self._database.outage.was_cut = True
        if outcome is None:
            self._recorder.give_back(order)
        return outcome

    async def _record(self, order: ReturnOrder, decision: Decision) -> None:
        """Write it down: what is not yet followed at once, everything else with the next batch."""
        if order.state is State.PENDING:
            await self._recorder.now(order, decision)
        else:
            self._recorder.later(order, decision)

    async def _tell_account(self, account: Account, decision: Decision, key: str) -> None:
        if decision.hold is not None:
            await account.hold(decision.hold, key)
        if decision.stop_sending is not None:
            await account.stop_sending(decision.stop_sending)

    async def _hear(self, leased: Leased, outcome: Outcome | None) -> None:
        """Let it count for the account's circuits and its ramp."""
        order, circuits = leased.claimed.order, leased.account.circuits
        now, sent_at = leased.database_time(self._clock()), leased.claimed.claimed_at
        more = await circuits.heard(order, outcome, now, probe=leased.probe, sent_at=sent_at)
        if more or (outcome is not None and circuits.holds_back and order.next_step is Step.CREATE):
            self._on_more()
