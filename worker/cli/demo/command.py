"""Puts the demo together: a simulated carrier, a shop, and the real worker between them."""

import asyncio
import http.client
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from worker.app import Application
from worker.cli.context import explained, logs_for, say
from worker.cli.demo.clock import CarrierClock
from worker.cli.demo.fates import broken_promises, sample_returns
from worker.cli.demo.folder import DATABASE, LABELS, LOG, make_folder, write_settings
from worker.cli.demo.samples import SAMPLE_REFERENCE
from worker.cli.demo.screen import screen
from worker.cli.demo.shop import Shop
from worker.cli.demo.summary import Creations, Findings, print_summary
from worker.runtime.shutdown import stop_requested
from worker.simulator import Simulator
from worker.store.queries import find_orders, read_history

_TIME_LIMIT = 45.0  # seconds for all returns to reach their end
_STAGE = 2.0  # seconds a simulated return stays in each status: five polls, so that none is missed
_GLANCE = 0.2  # seconds between two looks at the database
_INTERRUPTED = 130  # what a shell says of a command that was ended by Ctrl-C


@dataclass(frozen=True, slots=True)
class _Cast:
    """Who plays: the real worker, the carrier and the shop, and where."""

    application: Application
    carrier: Simulator
    clock: CarrierClock
    shop: Shop
    folder: Path


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for database, labels and log; default: a temporary one."),
    ] = None,
) -> None:
    """The whole job on this machine: a simulated carrier, sample returns, the worker; it takes half a minute."""
    folder = make_folder(keep)
    console = Console(highlight=False)
    console.print(Text("returns-worker demo", style="bold") + Text(f" in {folder}", style="dim"), soft_wrap=True)
    with explained():
        findings = asyncio.run(_play(folder, console))
    if findings is None:
        say(f"interrupted; what there is so far: {folder}")
        raise typer.Exit(_INTERRUPTED)
    print_summary(findings, folder, console)
    if not findings.as_promised:
        raise typer.Exit(1)


async def _play(folder: Path, console: Console) -> Findings | None:
    """Run everything until all returns have reached their end; None when interrupted."""
    with (folder / LOG).open("a", encoding="utf-8", buffering=1) as log, redirect_stderr(log), stop_requested() as stop:
        clock = CarrierClock()
        async with Simulator(stage_seconds=_STAGE, clock=clock) as carrier:
            settings = write_settings(folder, carrier.url)
            application = Application(settings, logs_for(settings))
            try:
                await application.start()
                shop = Shop(folder / DATABASE, sample_returns())
                return await _work(_Cast(application, carrier, clock, shop, folder), console, stop)
            finally:
                await application.stop()


async def _work(cast: _Cast, console: Console, stop: asyncio.Event) -> Findings | None:
    started = monotonic()
    running = asyncio.create_task(cast.application.run(stop))
    try:
        in_time = await _watch(cast, running, console)
        if running.done():
            await running  # raises, if a defect ended it
            return None
        return await _find_out(cast, monotonic() - started, in_time)
    finally:
        stop.set()
        await running
        cast.shop.close()


async def _watch(cast: _Cast, running: "asyncio.Task[None]", console: Console) -> bool:
    """Let the shop do its part and show how things stand; whether everything came to its end in time."""
    give_up_at = monotonic() + _TIME_LIMIT
    with screen(console) as show:
        while not running.done():
            progress = await cast.shop.turn()
            cast.clock.go_on(progress.overdue)
            show(progress)
            if progress.finished or monotonic() > give_up_at:
                return progress.finished
            await asyncio.wait((running,), timeout=_GLANCE)
    return False


async def _find_out(cast: _Cast, seconds: float, in_time: bool) -> Findings:
    requests = cast.carrier.requests("create")
    asked = [str((request.body or {}).get("description")) for request in requests]
    observed = await cast.shop.endings(lambda reference: sum(reference in description for description in asked))
    made = Counter(order.description for order in cast.carrier.orders.values())
    database = cast.application.database
    samples = await find_orders(database, reference=SAMPLE_REFERENCE)
    await cast.application.refresh_gauges()
    host, port = cast.application.address
    return Findings(
        returns=cast.shop.returns,
        broken=broken_promises(cast.shop.returns, observed),
        creations=Creations(
            asked_for=len(set(asked)),
            requests=len(asked),
            turned_away=sum(request.reply_status == 503 for request in requests),
            refused=sum(request.reply_status == 400 for request in requests),
            made=made.total(),
            made_twice=sum(count > 1 for count in made.values()),
        ),
        labels_recorded=sum(each.ending.label_pages is not None for each in observed.values()),
        labels_on_disk=len(list((cast.folder / LABELS).glob("*/*.pdf"))),
        history=await read_history(database, samples[0]) if samples else None,
        metrics_url=f"http://{host}:{port}/metrics",
        metrics=await asyncio.to_thread(_fetch, host, port, "/metrics"),
        seconds=seconds,
        in_time=in_time,
    )


def _fetch(host: str, port: int, path: str) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
