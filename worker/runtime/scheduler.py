"""The few ticks that drive the worker; the only place that knows APScheduler. Never a job for each return."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

_PATIENCE = 2.0  # seconds that a tick which is under way may take at the end


class Ticks:
    """Calls things at intervals, each by itself, late rather than never, and never twice at a time."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        # Its default grace of one second would silently drop a tick after a stall or a suspended machine.
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
        self._running: set[asyncio.Task[Any]] = set()
        # It warns of a tick that is left out because the last one still runs, which is what is wanted.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)

    def every(self, seconds: float, name: str, call: Callable[[], Awaitable[None] | None]) -> None:
        """Call now and then every `seconds`."""

        async def tick() -> None:
            result = call()
            if result is not None:
                task = asyncio.ensure_future(result)
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                # Stopping the scheduler cancels its coroutines and reports that as errors; the task is ours to end.
                await asyncio.wait({task})
                task.result()

        self._scheduler.add_job(tick, "interval", seconds=seconds, id=name, next_run_time=datetime.now(UTC))

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
