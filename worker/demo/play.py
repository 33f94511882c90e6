"""Puts the demo together: simulated carriers, a shop, and the real worker between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, redirect_stderr
from pathlib import Path

from rich.console import Console

from worker.app import Application
from worker.demo.fates import sample_returns
from worker.demo.folder import DATABASE, LOG, write_settings
from worker.demo.screen import screen
from worker.demo.shop import Progress, Shop
from worker.demo.summary import print_summary
from worker.runtime.shutdown import stop_requested
from worker.settings import Settings
from worker.simulator import Simulator
from worker.telemetry.logs import Redactor
from worker.usecases.show import ShownReturn

_TIME_LIMIT = 40.0  # seconds for all returns to reach their end
_STAGE = 1.5  # seconds a simulated return stays in each status: five polls, so that none is missed
_GLANCE = 0.2  # seconds between two looks at the database
_PATIENCE = 1.0  # seconds a step may be overdue before the carriers' time stands still


class CarrierClock:
    """The carriers' time, which waits for a worker on a slow machine, so that the same happens on all."""

    now = 0.0

    def go_on(self, overdue: float) -> None:
        """Let the time between two looks pass, unless the worker's oldest step is late by too many seconds."""
        if overdue < _PATIENCE:
            self.now += _GLANCE


async def play(
    folder: Path,
    console: Console,
    picture: Console,
    open_logs: Callable[[Settings], Redactor],
    print_return: Callable[[ShownReturn, Console], None],
) -> bool | None:
    """Run everything until all returns have reached their end, and tell; whether all was well, None if interrupted.

    `picture` is told what is the same each time; `print_return` is how a return is shown with its history.
    """
    clock = CarrierClock()
    with (folder / LOG).open("a", encoding="utf-8", buffering=1) as log, redirect_stderr(log), stop_requested() as stop:
        async with (
            Simulator(stage_seconds=_STAGE, clock=lambda: clock.now, rate_limit=0) as carriers,
            _at_work(write_settings(folder, carriers), open_logs, stop) as (application, running),
        ):
            with closing(Shop(folder / DATABASE, sample_returns())) as shop:
                progress = await _watch(shop, clock, running, console)
                if progress is None:
                    return None
                return await print_summary(
                    application, carriers, shop, progress, folder, console, picture, print_return
                )


async def _watch(shop: Shop, clock: CarrierClock, running: "asyncio.Task[None]", console: Console) -> Progress | None:
    """Let the shop do its part and show how things stand, until the end or the time limit; None when interrupted."""
    with screen(console) as show:
        while not running.done():
            progress = await shop.turn()
            clock.go_on(progress.overdue)
            show(progress)
            if progress.finished or progress.seconds > _TIME_LIMIT:
                return progress
            await asyncio.wait((running,), timeout=_GLANCE)
    return None


@asynccontextmanager
async def _at_work(
    settings: Settings, open_logs: Callable[[Settings], Redactor], stop: asyncio.Event
) -> AsyncIterator[tuple[Application, "asyncio.Task[None]"]]:
    """The real worker; at the end it is told to stop, and an error that ended it is raised."""
    application = Application(settings, open_logs(settings))
    try:
        await application.start()
        running = asyncio.create_task(application.run(stop))
        try:
            yield application, running
        finally:
            stop.set()
            await running
    finally:
        await application.stop()
