"""Puts the demo together: simulated carriers, a shop, and the real worker between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, redirect_stderr
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from worker.app import Application
from worker.cli.demo.fates import sample_returns
from worker.cli.demo.folder import DATABASE, LOG, make_folder, write_settings
from worker.cli.demo.picture import blank
from worker.cli.demo.picture import svg as drawn
from worker.cli.demo.screen import screen
from worker.cli.demo.shop import Progress, Shop
from worker.cli.demo.summary import print_summary
from worker.cli.output import fail, say
from worker.cli.session import explained, logs_for
from worker.runtime.loop import run_loop
from worker.runtime.shutdown import stop_requested
from worker.settings import Settings
from worker.simulator import Simulator

_TIME_LIMIT = 40.0  # seconds for all returns to reach their end
_STAGE = 1.5  # seconds a simulated return stays in each status: five polls, so that none is missed
_GLANCE = 0.2  # seconds between two looks at the database
_PATIENCE = 1.0  # seconds a step may be overdue before the carriers' time stands still
_INTERRUPTED = 130  # what a shell says of a command that was ended by Ctrl-C


class CarrierClock:
    """The carriers' time, which waits for a worker on a slow machine, so that the same happens on all."""

    now = 0.0

    def go_on(self, overdue: float) -> None:
        """Let the time between two looks pass, unless the worker's oldest step is late by too many seconds."""
        if overdue < _PATIENCE:
            self.now += _GLANCE


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for database, labels and log; default: a temporary one."),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw its end there; a file of that name is written over.")
    ] = None,
) -> None:
    """The whole job on this machine: simulated carriers, sample returns, the worker; it takes some ten seconds."""
    console, picture = Console(highlight=False, markup=False), blank()
    try:
        folder = make_folder(keep)
        console.print(f"returns-worker demo in {folder}", style="bold", soft_wrap=True)
        with explained():
            as_promised = run_loop(_play(folder, console, picture))
    except OSError as error:  # a folder that cannot be written to, a port that cannot be had
        where = f"{error.filename}: " if error.filename else ""
        fail(f"error: the demo cannot run: {where}{error.strerror or error}")
    if as_promised is None:
        say(f"interrupted; what there is so far: {folder}")
        raise typer.Exit(_INTERRUPTED)
    if svg is not None:
        try:
            svg.write_text(drawn(picture), encoding="utf-8")
        except OSError as error:
            fail(f"error: the picture cannot be written: {svg}: {error.strerror}")
    if not as_promised:
        fail(f"the log may say why: {folder / LOG}")


async def _play(folder: Path, console: Console, picture: Console) -> bool | None:
    """Run everything until all returns have reached their end, and tell; whether all was well, None if interrupted."""
    clock = CarrierClock()
    with (folder / LOG).open("a", encoding="utf-8", buffering=1) as log, redirect_stderr(log), stop_requested() as stop:
        async with (
            Simulator(stage_seconds=_STAGE, clock=lambda: clock.now, rate_limit=0) as carriers,
            _at_work(write_settings(folder, carriers), stop) as (application, running),
        ):
            with closing(Shop(folder / DATABASE, sample_returns())) as shop:
                progress = await _watch(shop, clock, running, console)
                if progress is None:
                    return None
                return await print_summary(application, carriers, shop, progress, folder, console, picture)


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
async def _at_work(settings: Settings, stop: asyncio.Event) -> AsyncIterator[tuple[Application, "asyncio.Task[None]"]]:
    """The real worker; it is told to stop at the end, and what a defect raised in it is raised then."""
    application = Application(settings, logs_for(settings))
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
