"""The loop: TAKE what is due, and have each row worked on, again and again.

Nothing is held across the network: the claim is committed before the carrier is called, and the record is a second,
fenced statement.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

import structlog

from worker.domain.cadence import grown
from worker.engine.account import Account
from worker.engine.clock_watch import ClockWatch
from worker.engine.housekeeping import notice_restore
from worker.engine.leases import Leased, Timing
from worker.engine.outage import say_away, say_back
from worker.engine.recorder import Recorder
from worker.engine.sweep import Sweeps, Tools
from worker.engine.take import Taken, Taker
from worker.engine.turn import Turn, suspect_of
from worker.engine.waiting import wait_for
from worker.engine.work import Work
from worker.labels import LabelStore
from worker.store.claimed import Claimed
from worker.store.database import Database
from worker.store.failures import DatabaseReplaced, DatabaseUnavailable
from worker.store.payloads import read_payloads
from worker.telemetry.metrics import Metrics

_CATCH_UP = 0.1  # seconds between looks at whether results can be written again
_ABOUT_NOW = 0.1  # seconds; what was recorded a moment ago may be due a statement's length from now
_LONGEST_PAUSE = 2.0  # seconds between tries at a database that is away: work goes on soon after it is back

log = structlog.get_logger()


class Engine:
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
        self._database, self._accounts, self._recorder, self._metrics = database, accounts, recorder, metrics
        self._timing, self._clock, self._watch, self._chance = timing, clock, watch, chance
        tools = Tools(database, recorder, metrics, owner, timing.lease, clock, watch, chance)
        self._sweeps = Sweeps(tools, accounts)
        self._taker = Taker(database, accounts, self._sweeps, owner, timing, clock, watch, chance)
        self._work = Work(
            database=database,
            labels=labels,
            recorder=recorder,
            metrics=metrics,
            timing=timing,
            clock=clock,
            chance=chance,
            is_draining=lambda: self.is_draining,
            on_place_free=self._place_free,
            on_more=self.wake,
        )
        self._delays = cache(metrics.schedule_delay.labels)
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake, self._draining = asyncio.Event(), asyncio.Event()
        self._last = Turn(0.0, found=False, left_behind=False)
        self._suspect: Claimed | None = None  # tried with nothing else in hand
        self.turned_at = clock()  # when the loop last made progress
        self.claimed = 0  # rows taken so far

    @property
    def is_draining(self) -> bool:
        """Whether no more is taken."""
        return self._draining.is_set()

    def wake(self) -> None:
        """Look for work now instead of at the end of the sleep."""
        self._wake.set()

    def wake_if_soon(self, due_at: datetime | None) -> None:
        """A row was recorded that is due again before the next tick, as a label is after its creation."""
        if due_at is not None and (due_at - datetime.now(UTC)).total_seconds() < self._timing.tick:
            self.wake()

    async def run(self, *, until_idle: bool = False) -> None:
        """Turn until it is to end, or until there is nothing left to do now; a database that is away is waited out."""
        failures, outage = 0, self._database.outage
        while not self.is_draining:
            self._note_turn()
            if self._recorder.behind:
                # Our own rows would be claimed again, with their results still in our hands.
                await wait_for(self._draining, _CATCH_UP)
                continue
            try:
                if outage.was_cut:
                    outage.was_cut = False
                    await notice_restore(self._database)  # it may be a standby that took over
                turn = await self.turn()
                failures = 0
                say_back(self._database, "claim")
            except DatabaseReplaced:
                raise  # nothing that is written would be seen by anybody
            except DatabaseUnavailable as error:
                failures += 1
                pause = grown(0.1, 2.0, failures, _LONGEST_PAUSE) * (0.5 + self._chance() / 2)
                self._metrics.storage_errors.labels("claim").inc()
                say_away(self._database, "claim", error, retry_in=pause)
                await wait_for(self._draining, pause)
                continue
            if until_idle and turn.pause >= min(_ABOUT_NOW, self._timing.tick) and await self._is_done(turn):
                return
            await wait_for(self._wake, turn.pause)
            self._wake.clear()

    async def turn(self) -> Turn:
        """Take what is due and have it worked on; what that came to."""
        self._note_turn()
        taken = await self._taker.take(self._note_turn, self._sweep, self._finish_all)
        self.claimed += len(taken.rows)
        self._last = turn = taken.turn
        suspect = suspect_of(taken.rows)
        if suspect is not None:
            await self._try_alone(suspect, taken)
        else:
            await self._start(taken.rows, taken.asked_at)
        for account in taken.accounts:
            self._note_turn()
            if account.circuits.holds_back and suspect is None:
                doubtful = await self._taker.take_doubtful(account)
                await self._start(doubtful.rows, doubtful.asked_at)
            await account.circuits.return_probe()  # that nothing was found for
        return turn

    def begin_to_drain(self) -> None:
        """Take no more; what was claimed and not started is handed back."""
        self._draining.set()
        for account in self._accounts.values():
            account.meter.stop()
        self.wake()

    async def drain(self) -> None:
        """Take no more, hand back what was not started, let what was started finish and be recorded."""
        self.begin_to_drain()
        await self._finish_all()
        await self._recorder.finish()

    async def _is_done(self, turn: Turn) -> bool:
        """Whether this turn found nothing to do and nothing it started can lead to more."""
        busy = bool(self._tasks)
        await self._finish_all()
        if busy:
            self.wake()
        return not busy and not turn.found

    def _note_turn(self) -> None:
        """The loop still turns, even where it can do nothing but wait: /livez and the metric say the same."""
        self.turned_at = self._clock()
        self._metrics.last_tick.set_to_current_time()

    def _place_free(self, account: Account) -> None:
        # Not after a row that was given back: it is due at once, and would be given back again.
        if self._last.left_behind and account.in_hand <= account.max_in_flight:
            self.wake()

    async def _start(self, rows: Sequence[Claimed], asked_at: float) -> None:
        for claimed in await read_payloads(self._database, rows):
            account = self._accounts[claimed.order.account]
            self._watch.note(claimed.claimed_at, asked_at)
            self._delays(claimed.order.next_step).observe(claimed.delay)
            account.begin()
            probe = account.circuits.spend_probe(claimed.order.queue)
            leased = Leased(claimed, account, self._timing, asked_at, account.meter.take(), probe)
            self._run(self._work.advance(leased))

    async def _try_alone(self, suspect: Claimed, taken: Taken) -> None:
        """It may have killed its workers: it is tried with nothing else in hand, to take nobody with it."""
        for claimed in taken.rows:
            if claimed is not suspect:
                self._recorder.give_back(claimed.order)
        self._last = taken.turn._replace(left_behind=True)  # its end is a reason to turn again at once
        self._suspect = suspect
        try:
            await self._finish_all()
            await self._start([suspect], taken.asked_at)
            await self._finish_all()
        finally:
            self._suspect = None

    def _sweep(self, account: Account) -> None:
        """Have the carrier's list answer the account's due polls, beside everything else."""
        self._run(self._follow_list(account))

    async def _follow_list(self, account: Account) -> None:
        try:
            await self._sweeps.sweep(account, lambda: self.is_draining or self._suspect is not None)
        finally:
            account.sweep(False)
            self.wake()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect of ours: the lease runs out, the row is claimed again, and held after MAX_CLAIMS.
            log.error("step_crashed", exc_info=error)

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
