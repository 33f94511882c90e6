"""The few ticks that drive the worker; the only place that knows APScheduler. Never a job for each return."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler


class Ticks:
    """Calls things at intervals, each by itself, late rather than never, and never twice at a time."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        # Its default grace of one second would silently drop a tick after a stall or a suspended machine.
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)

    def every(self, seconds: float, name: str, call: Callable[[], Awaitable[None] | None]) -> None:
        """Call now and then every `seconds`."""

        async def tick() -> None:
            result = call()
            if result is not None:
                await result

        self._scheduler.add_job(tick, "interval", seconds=seconds, id=name, next_run_time=datetime.now(UTC))

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """End; a call that runs is cancelled, so stop what must finish before."""
        self._scheduler.shutdown(wait=False)
