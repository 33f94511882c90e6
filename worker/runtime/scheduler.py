"""The few ticks that drive the worker; the only place that knows APScheduler. Never a job for each return."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

_PATIENCE = 2.0  # seconds that a tick which is under way may take at the end
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # any moment from which no sum of intervals leads out of the calendar


class _Steady(tzinfo):
    """A time zone in which it is as late as the monotonic clock says: setting the machine's clock moves no tick.

    APScheduler waits for moments of the wall clock: set back by an hour it waits for an hour, set ahead by a year it
    works out every run that it missed (https://github.com/agronholm/apscheduler/issues/1066). What time it is, it asks
    by `datetime.now(zone)` alone, and that asks the zone.
    """

    def fromutc(self, _: datetime) -> datetime:
        """Now, by the monotonic clock."""
        return (_BEGINNING + timedelta(seconds=time.monotonic())).replace(tzinfo=self)

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        return "monotonic"

    def dst(self, _: datetime | None) -> timedelta:
        return timedelta(0)


class _Every(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no types
    """Again after an interval; runs that were missed meanwhile are left out, and not worked out one by one."""

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime, now: datetime) -> datetime:
        following: datetime = previous + self._interval
        return following if following > now else now + self._interval


class Ticks:
    """Calls things at intervals, each by itself, late rather than never, and never twice at a time."""

    def __init__(self) -> None:
        # Its default grace of one second would silently drop a tick after a stall or a suspended machine.
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._zone = _Steady()
        self._scheduler = AsyncIOScheduler(timezone=self._zone, job_defaults=defaults)
        self._running: set[asyncio.Task[Any]] = set()
        # It warns of a tick that is left out because the last one still runs, which is as it should be.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)

    def every(self, seconds: float, name: str, call: Callable[[], object]) -> None:
        """Call now and then every `seconds`."""

        async def tick() -> None:
            result = call()
            if isinstance(result, Awaitable):
                task = asyncio.ensure_future(result)
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                # Stopping the scheduler cancels its coroutines and reports that as errors; the task is ours to end.
                await asyncio.wait({task})
                task.result()

        self._scheduler.add_job(tick, _Every(seconds), id=name, next_run_time=datetime.now(self._zone))

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._scheduler.start()

    async def stop(self) -> None:
        """End, after the ticks that are under way."""
        self._scheduler.pause()
        if self._running:
            await asyncio.wait(self._running, timeout=_PATIENCE)
        for task in self._running:
            task.cancel()
        await asyncio.sleep(0)  # lets the scheduler see them end before it is shut down
        self._scheduler.shutdown(wait=False)
