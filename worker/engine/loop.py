"""The loop: TAKE what is due, and have each row worked on, again and again.

Nothing is held across the network: the claim is committed before the carrier is called, and the record is a second,
fenced statement.
"""

from worker.domain.cadence import grown
from worker.engine.outage import notice_restore, say_away, say_back
from worker.engine.running import Running, Tools
from worker.engine.sweep import Sweeps
from worker.engine.take import Taken, Taker
from worker.engine.turn import Turn, suspect_of
from worker.engine.work import Work
from worker.store.claimed import Claimed
from worker.store.failures import DatabaseReplaced, DatabaseUnavailable

_CATCH_UP = 0.1  # seconds between looks at whether results can be written again
_ABOUT_NOW = 0.1  # seconds; what was recorded a moment ago may be due a statement's length from now
_LONGEST_PAUSE = 2.0  # seconds between tries at a database that is away: work goes on soon after it is back


class Engine:
    """Moves every due return of the configured accounts one step further, again and again."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.running = Running(tools)
        self._sweeps = Sweeps(tools, self.running)
        self._taker = Taker(tools, self.running, self._sweeps)
        self._work = Work(tools, self.running)
        self.claimed = 0  # rows taken so far

    async def run(self, *, until_idle: bool = False) -> None:
        """Turn until it is to end, or until there is nothing left to do now; a database that is away is waited out."""
        tools, running = self._tools, self.running
        failures, outage = 0, tools.database.outage
        while not running.is_draining:
            running.goes_on()
            if tools.recorder.behind:
                # Our own rows would be claimed again, with their results still in our hands.
                await running.pause(_CATCH_UP)
                continue
            try:
                if outage.was_cut:
                    outage.was_cut = False
                    await notice_restore(tools.database)  # it may be a standby that took over
                turn = await self.turn()
            except DatabaseReplaced:
                raise  # what is written from now on is lost with the file
            except DatabaseUnavailable as error:
                failures += 1
                pause = grown(0.1, 2.0, failures, _LONGEST_PAUSE) * (0.5 + tools.chance() / 2)
                tools.metrics.storage_errors.labels("claim").inc()
                say_away(tools.database, "claim", error, retry_in=pause)
                await running.pause(pause)
                continue
            failures = 0
            say_back(tools.database, "claim")
            if until_idle and turn.pause >= min(_ABOUT_NOW, tools.timing.tick) and await self._is_done(turn):
                return
            await running.sleep(turn.pause)

    async def turn(self) -> Turn:
        """Take what is due and have it worked on; what that came to."""
        running = self.running
        running.goes_on()
        taken = await self._taker.take()
        self.claimed += len(taken.rows)
        running.left_behind = taken.turn.left_behind
        suspect = suspect_of(taken.rows)
        if suspect is None:
            await self._work.start(taken.rows, taken.asked_at)
        else:
            await self._try_alone(suspect, taken)
        for account in taken.accounts:
            running.goes_on()
            if account.circuits.holds_back and suspect is None:
                await self._work.start(*await self._taker.take_to_settle(account))
            await account.circuits.return_probe()  # where no row was found for it
        return taken.turn

    async def drain(self) -> None:
        """Take no more, hand back what was not started, let what was started finish and be recorded."""
        self.running.begin_to_drain()
        await self.running.finish_all()
        await self._tools.recorder.finish()

    async def _is_done(self, turn: Turn) -> bool:
        """Whether this turn found nothing to do and nothing it started can lead to more."""
        busy = bool(self.running.tasks)
        await self.running.finish_all()
        if busy:
            self.running.wake()
        return not busy and not turn.found

    async def _try_alone(self, suspect: Claimed, taken: Taken) -> None:
        """Try a row that may have killed its workers with nothing else in hand: no other row goes down with it."""
        running = self.running
        for claimed in taken.rows:
            if claimed is not suspect:
                self._tools.recorder.give_back(claimed.order)
        running.left_behind = running.has_suspect = True  # the end of its call is a reason to turn again at once
        try:
            await running.finish_all()
            await self._work.start([suspect], taken.asked_at)
            await running.finish_all()
        finally:
            running.has_suspect = False
