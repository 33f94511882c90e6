"""The loop: take what is due, do its step, decide what becomes of it, record that.

Nothing is held across the network: the claim is committed before the carrier is called, and the record is a second,
fenced statement.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import structlog

from worker.carriers.port import NoTimeLeft
from worker.domain.decide import decide
from worker.domain.health import is_well
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Outcome, RefTaken
from worker.domain.policy import MAX_CLAIMS, SUSPECT_CLAIMS
from worker.engine.account import Account
from worker.engine.circuits import Circuits
from worker.engine.clock import ClockWatch
from worker.engine.housekeeping import notice_restore
from worker.engine.lanes import Backlogs, shuffled
from worker.engine.leases import Held, Timing
from worker.engine.meter import Allowance
from worker.engine.outage import say_away, say_back
from worker.engine.perform import perform
from worker.engine.recorder import Recorder
from worker.engine.shares import Share, share_of
from worker.engine.sweep import MANY, Sweeps, Tools
from worker.engine.waiting import wait_for
from worker.labels import LabelStore
from worker.store.accounts import Agenda, read_agendas
from worker.store.claimed import Claimed
from worker.store.claims import Lane, claim, claim_to_settle
from worker.store.database import Database
from worker.store.failures import DatabaseReplaced, DatabaseUnavailable
from worker.store.payloads import read_payloads
from worker.store.records import CarrierRefTaken
from worker.telemetry.metrics import Metrics

_CATCH_UP = 0.1  # seconds between looks at whether results can be written again
_ABOUT_NOW = 0.1  # seconds; what was recorded a moment ago may be due a statement's length from now
_COMPANY = 0.05  # seconds that what becomes due may wait for more, so that a turn is worth its statements
_SETTLED_AT_ONCE = 4  # look-ups beside creations that are held back
_LONGEST_PAUSE = 2.0  # seconds between tries at a database that is away: work goes on soon after it is back

log = structlog.get_logger()


class Advance:
    """Moves every due return of the configured accounts one step further, again and again."""

    def __init__(
        self,
        *,
        database: Database,
        accounts: Mapping[str, Account],
        labels: LabelStore,
        recorder: Recorder,
        metrics: Metrics,
        owner: str,
        timing: Timing,
        clock: Callable[[], float],
        watch: ClockWatch,
        chance: Callable[[], float],
    ) -> None:
        """`clock` counts seconds and goes on while the machine sleeps; `chance` draws from [0, 1)."""
        self._database, self._labels, self._recorder = database, labels, recorder
        self._accounts, self._metrics, self._owner = accounts, metrics, owner
        self._timing, self._clock, self._watch, self._chance = timing, clock, watch, chance
        self._circuits = Circuits(database, metrics, timing.lease)
        tools = Tools(database, recorder, metrics, owner, timing.lease, clock, watch, chance)
        self._sweeps = Sweeps(tools, accounts)
        self._delays, self._in_flight = cache(metrics.schedule_delay.labels), cache(metrics.in_flight.labels)
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake, self._stopping = asyncio.Event(), asyncio.Event()
        self._backlogs = Backlogs()
        self._backlog = False  # whether rows were left behind for want of a place
        self._found = False  # whether the last turn found anything due
        self._unsure = False  # whether the database may not be what it was
        self._alone = False  # whether a row is tried with nothing else in hand
        self.draining = False
        self.turned_at = clock()  # when the loop last made progress
        self.claimed = 0  # rows taken so far
        for account in accounts.values():
            account.places = asyncio.Semaphore(account.max_in_flight)

    def wake(self) -> None:
        """Look for work now instead of at the end of the sleep."""
        self._wake.set()

    def wake_if_soon(self, due_at: datetime | None) -> None:
        """A row was recorded that is due again before the next tick, as a label is after its creation."""
        if due_at is not None and (due_at - datetime.now(UTC)).total_seconds() < self._timing.tick:
            self.wake()

    async def run(self, *, until_idle: bool = False) -> None:
        """Turn until draining, or until there is nothing left to do now; a database that is away is waited out."""
        failures = 0
        while not self.draining:
            self._note_turn()
            if self._recorder.behind:
                # Our own rows would be claimed again, with their results still in our hands.
                self._unsure = True
                await wait_for(self._stopping, _CATCH_UP)
                continue
            try:
                if self._unsure:
                    await notice_restore(self._database)  # it may be a standby that took over
                    self._unsure = False
                pause = await self.turn()
                failures = 0
                say_back(self._database, "claim")
            except DatabaseReplaced:
                raise  # nothing that is written would be seen by anybody
            except DatabaseUnavailable as error:
                failures, self._unsure = failures + 1, True
                pause = min(0.1 * 2 ** min(failures, 10), _LONGEST_PAUSE) * (0.5 + self._chance() / 2)
                self._metrics.storage_errors.labels("claim").inc()
                say_away(self._database, "claim", error, retry_in=pause)
            if failures:
                await wait_for(self._stopping, pause)
                continue
            if until_idle and pause > _ABOUT_NOW and await self._is_done():
                return
            await wait_for(self._wake, pause)
            self._wake.clear()

    async def _is_done(self) -> bool:
        """Whether the last turn found nothing to do and nothing it started can lead to more."""
        busy = bool(self._tasks)
        await self._finish_all()
        if busy:
            self.wake()
        return not busy and not self._found

    def begin_to_stop(self) -> None:
        """Take no more; what was claimed and not started is handed back."""
        self.draining = True
        self._stopping.set()
        for account in self._accounts.values():
            account.meter.stop()
        self.wake()

    async def drain(self) -> None:
        """Take no more, hand back what was not started, let what was started finish and be recorded."""
        self.begin_to_stop()
        await self._finish_all()
        await self._recorder.finish()

    async def turn(self) -> float:
        """Claim what is due and start it; returns how many seconds until there is a reason to turn again."""
        self._note_turn()
        open_accounts = {name: account for name, account in self._accounts.items() if account.room}
        self._backlog = len(open_accounts) < len(self._accounts)
        self._found = self._backlog
        if not open_accounts:
            return self._timing.tick
        # One more than could ever be taken: while we ask, places become free, and a count that was cut short must still
        # tell that something is left behind.
        most = max(MANY, *(account.capacity for account in open_accounts.values())) + 1
        marks = self._backlogs.marks(self._clock())
        slowdowns = {name: account.slowdowns for name, account in open_accounts.items()}
        agendas = await read_agendas(self._database, open_accounts, most, marks)
        if self._watch.note(next(iter(agendas.values())).now, self._clock()):
            await self._finish_all()  # it may have ended our leases: we must not take our own rows once more
        pause = self._timing.tick
        lanes: list[Lane] = []
        for name in shuffled(agendas, self._chance()):
            agenda = agendas[name]
            self._note_turn()  # each account has statements of its own, and there may be many accounts
            account = open_accounts[name]
            await account.notice_hold(agenda, self._database)
            if account.paused:
                continue
            due, probe = self._circuits.admit(account, agenda)
            self._found = self._found or any(due.values())
            share = await self._share(account, replace(agenda, due=due), probe)
            lanes += share.lanes
            self._backlog = self._backlog or share.left_behind
            if share.next_at is not None:
                pause = min(pause, max((share.next_at - agenda.now).total_seconds(), _COMPANY))
        self._note_turn()
        asked_at = self._clock()
        # What failed since the agenda was read is not in it.
        counted = [each for name, each in open_accounts.items() if each.careful or each.slowdowns != slowdowns[name]]
        careful = {each.name: each.probe is Step.CREATE for each in counted}
        lease = timedelta(seconds=self._timing.lease)
        taken = await claim(self._database, lanes, self._owner, lease, marks, careful)
        self.claimed += len(taken)
        if self._backlogs.took(lanes, {name: agenda.due for name, agenda in agendas.items()}, taken):
            pause = 0.0  # what appeared before the marks is not kept waiting
        suspect = next((each for each in taken if SUSPECT_CLAIMS <= each.order.claims <= MAX_CLAIMS), None)
        if suspect is not None:
            await self._try_alone(suspect, [each for each in taken if each is not suspect], asked_at)
            taken = []
        await self._start(taken, asked_at)
        for account in open_accounts.values():
            self._note_turn()
            if account.held_back and suspect is None:
                await self._settle(account, lease)
            await self._circuits.return_probe(account)  # that nothing was found for
        return pause

    async def _settle(self, account: Account, lease: timedelta) -> None:
        """While creations are held back, what is in doubt is looked up and what was withdrawn ends all the same."""
        quota, _ = await account.meter.prepare(min(account.free, _SETTLED_AT_ONCE))
        if quota:
            asked_at = self._clock()
            taken = await claim_to_settle(self._database, account.name, quota, self._owner, lease)
            await self._start(taken, asked_at)

    def _note_turn(self) -> None:
        """The loop still turns, even where it can do nothing but wait: /livez and the metric say the same."""
        self.turned_at = self._clock()
        self._metrics.last_tick.set_to_current_time()

    async def _try_alone(self, suspect: Claimed, others: list[Claimed], asked_at: float) -> None:
        """It may have killed its workers: it is tried with nothing else in hand, to take nobody with it."""
        for claimed in others:
            self._recorder.give_back(claimed.order)
        self._backlog = True  # once it has made progress there is a reason to turn again at once
        self._alone = True
        try:
            await self._finish_all()
            await self._start([suspect], asked_at)
            await self._finish_all()
        finally:
            self._alone = False

    async def _finish_all(self) -> None:
        """Wait until what was started has ended and is written, however long the database is away."""
        while self._tasks:
            await self._wait_for_any(self._tasks)
        flushing = asyncio.ensure_future(self._recorder.flush())
        while not flushing.done():
            await self._wait_for_any({flushing})
        await flushing

    async def _wait_for_any(self, tasks: Iterable["asyncio.Future[None]"]) -> None:
        await asyncio.wait(tasks, timeout=self._timing.tick, return_when=asyncio.FIRST_COMPLETED)
        self._note_turn()

    async def _share(self, account: Account, agenda: Agenda, probe: Step | None) -> Share:
        """How much of each queue to take, once it is known whether a sweep answers the polls."""
        account.creations_wait = account.creations_wait and agenda.due.get(Step.CREATE, 0) > 0
        if probe is None and self._sweeps.wanted(account, agenda):
            account.sweeping = True
            self._run(self._sweep(account))
        return await share_of(account, agenda, probe, self._circuits, self._chance())

    async def _sweep(self, account: Account) -> None:
        try:
            await self._sweeps.sweep(account, lambda: self.draining or self._alone)
        finally:
            account.sweeping = False
            self.wake()

    async def _start(self, taken: Sequence[Claimed], asked_at: float) -> None:
        for claimed in await read_payloads(self._database, taken):
            account = self._accounts[claimed.order.account]
            self._watch.note(claimed.claimed_at, asked_at)
            account.in_hand += 1
            self._delays(claimed.order.next_step).observe(claimed.delay)
            if probe := account.probe is claimed.order.queue:
                account.probe = None
            self._run(self._advance(Held(claimed, account, self._timing, asked_at, account.meter.take(), probe)))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect of ours: the lease runs out, the row is claimed again, and held after MAX_CLAIMS.
            log.error("step_crashed", exc_info=error)

    async def _advance(self, held: Held) -> None:
        """One step of one return; one that was not done is handed back."""
        order, account = held.claimed.order, held.account
        outcome, key = None, ""
        try:
            async with account.places:
                if self.draining or not held.may_begin(self._clock()):
                    self._recorder.give_back(order)
                else:
                    key = account.key_fingerprint()  # the one that is sent: it may be replaced before the answer comes
                    outcome = await self._do(held)
                if is_well(order, outcome) is False:  # it counts before its place, or its row, is free for the next one
                    await self._hear(held, outcome)
        finally:
            account.in_hand -= 1
        if outcome is None:
            await self._hear(held, None)
            return
        if self._backlog and account.in_hand <= account.max_in_flight:
            self.wake()  # not after a row that was given back: it is due at once, and would be given back again
        await self._record(held, outcome, key)

    async def _do(self, held: Held) -> Outcome | None:
        order, account = held.claimed.order, held.account
        allowance, outcome = Allowance(held.begin_until, held.token_until), None
        # When one of these ends it, nothing was sent that changes anything. An intent may have been committed; handing
        # back clears it.
        with (
            suppress(NoTimeLeft, DatabaseUnavailable),
            account.meter.spending(allowance),
            self._in_flight(account.name).track_inprogress(),
        ):
            call = timedelta(seconds=account.timeout + self._timing.margin)
            outcome = await perform(order, account, self._database, self._labels, call)
        if outcome is None:
            self._unsure = True
            self._recorder.give_back(order)
        return outcome

    async def _record(self, held: Held, outcome: Outcome, key: str) -> None:
        """Write down what became of it."""
        order, account, now = held.claimed.order, held.account, held.database_time(self._clock())
        decision = decide(order, outcome, now, account.policy, self._chance())
        if decision.hold is not None:
            await account.wait(decision.hold, key, self._database, self._metrics)
        if decision.stop_sending is not None:
            await account.stop_sending(decision.stop_sending, self._database, self._metrics)
        if order.state is not State.PENDING:
            self._recorder.later(order, decision)
        else:
            try:
                await self._recorder.now(order, decision)
            except CarrierRefTaken:
                taken = RefTaken(decision.order.carrier_ref or "", decision.transitions[0].raw)
                await self._hear(held, taken)
                await self._recorder.now(order, decide(order, taken, now, account.policy, self._chance()))
                return
        if is_well(order, outcome) is not False:
            await self._hear(held, outcome)

    async def _hear(self, held: Held, outcome: Outcome | None) -> None:
        """Let it count for the account's circuits and its ramp."""
        order, now = held.claimed.order, held.database_time(self._clock())
        sent_at = held.claimed.claimed_at
        more = await self._circuits.heard(held.account, order, outcome, now, probe=held.probe, sent_at=sent_at)
        if more or (outcome is not None and held.account.held_back and order.next_step is Step.CREATE):
            self.wake()
