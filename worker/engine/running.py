"""What the rooms of one worker share: the parts they work with, and what is under way."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from worker.domain.clocks import lease_margin
from worker.engine.account import Account
from worker.engine.clock_watch import ClockWatch
from worker.engine.recorder import Recorder
from worker.labels import LabelStore
from worker.store.database import Database
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timing:
    """The loop's times, in seconds."""

    lease: float  # how long a lease lasts
    tick: float  # how long to sleep when nothing says otherwise

    @property
    def margin(self) -> float:
        """What a call must leave of the lease: half of what the settings ask for beyond the longest time limit.

        The other half is for beginning, so that the shortest lease that may be configured lets something begin.
        """
        return lease_margin(timedelta(seconds=self.lease)).total_seconds() / 2


@dataclass(slots=True)
class Tools:
    """The parts of one worker."""

    database: Database
    accounts: Mapping[str, Account]  # all that are configured, by name
    labels: LabelStore
    recorder: Recorder
    metrics: Metrics
    owner: str  # whose leases they are
    timing: Timing
    clock: Callable[[], float]  # counts seconds, and goes on while the machine sleeps; leases are measured by it
    watch: ClockWatch  # is told what time it is by the database
    chance: Callable[[], float]  # draws from [0, 1)


class Running:
    """The tasks of one worker, what wakes its loop, and whether it is to end.

    A room that has news for the loop says it here, so that no room calls back into one that a row has left.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._wake, self._draining = asyncio.Event(), asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.turned_at = tools.clock()  # when the loop last made progress, on the lease clock
        self.left_behind = False  # the last turn left rows behind, for want of places or requests
        self.has_suspect = False  # a row is being tried with nothing else in hand

    @property
    def is_draining(self) -> bool:
        """Whether no more is taken."""
        return self._draining.is_set()

    def begin_to_drain(self) -> None:
        """Take no more; what was claimed and not started is handed back."""
        self._draining.set()
        for account in self._tools.accounts.values():
            account.meter.stop()
        self.wake()

    def goes_on(self) -> None:
        """The loop makes progress, even where it can do nothing but wait: /livez and the metric say the same."""
        self.turned_at = self._tools.clock()
        self._tools.metrics.last_tick.set_to_current_time()

    def wake(self) -> None:
        """Look for work now instead of at the end of the sleep."""
        self._wake.set()

    def wake_if_soon(self, due_at: datetime | None) -> None:
        """A row was recorded that is due again before the next tick, as a label is after its creation."""
        if due_at is not None and (due_at - datetime.now(UTC)).total_seconds() < self._tools.timing.tick:
            self.wake()

    def place_free(self, account: Account) -> None:
        """A call of the account has ended: a row that was left behind may take its place."""
        # Not for a row that was given back: it is due at once, and would be given back again.
        if self.left_behind and account.in_hand <= account.max_in_flight:
            self.wake()

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass, less when something wakes the loop."""
        await _wait_for(self._wake, seconds)
        self._wake.clear()

    async def pause(self, seconds: float) -> None:
        """Let so much time pass, less when the worker is to end."""
        await _wait_for(self._draining, seconds)

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Have it done beside everything else."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect of ours: the lease runs out, the row is claimed again, and held after MAX_CLAIMS.
            log.error("step_crashed", exc_info=error)

    async def finish_all(self) -> None:
        """Wait until what was started has ended and is written, however long the database is away."""
        while self.tasks:
            await self._wait_for_any(self.tasks)
        flushing = asyncio.ensure_future(self._tools.recorder.flush())
        while not flushing.done():
            await self._wait_for_any({flushing})
        await flushing

    async def _wait_for_any(self, tasks: Iterable["asyncio.Future[None]"]) -> None:
        await asyncio.wait(tasks, timeout=self._tools.timing.tick, return_when=asyncio.FIRST_COMPLETED)
        self.goes_on()


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
