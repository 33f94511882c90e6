"""Puts the demo together: simulated carriers, a shop, and the real worker between them."""

import asyncio
import http.client
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from worker.app import Application
from worker.cli.context import explained, logs_for
from worker.cli.demo.clock import CarrierClock
from worker.cli.demo.fates import broken_promises, sample_returns
from worker.cli.demo.folder import DATABASE, LABELS, LOG, make_folder, write_settings
from worker.cli.demo.samples import SAMPLE_REFERENCE
from worker.cli.demo.screen import screen
from worker.cli.demo.shop import Shop
from worker.cli.demo.summary import Creations, Findings, print_summary
from worker.cli.talk import say
from worker.runtime.shutdown import stop_requested
from worker.simulator import Order, PilotOrder, Request, Simulator
from worker.store.queries import find_orders, read_history

_TIME_LIMIT = 45.0  # seconds for all returns to reach their end
_STAGE = 2.0  # seconds a simulated return stays in each status: five polls, so that none is missed
_RATE_LIMIT = 1800  # requests a minute; with the 60 of the real one half a minute would be too short for a demo
_GLANCE = 0.2  # seconds between two looks at the database
_LABEL_FILES = (".pdf", ".png", ".zpl")
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
    """The whole job on this machine: simulated carriers, sample returns, the worker; it takes half a minute."""
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
        async with Simulator(stage_seconds=_STAGE, clock=clock, rate_limit=_RATE_LIMIT) as carrier:
            settings = write_settings(folder, carrier.url, carrier.returnpilot_url)
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
    asked = _asked(cast.carrier)
    observed = await cast.shop.endings(lambda reference: sum(reference in named for names in asked for named in names))
    database = cast.application.database
    samples = await find_orders(database, reference=SAMPLE_REFERENCE)
    await cast.application.refresh_gauges()
    host, port = cast.application.address
    return Findings(
        returns=cast.shop.returns,
        broken=broken_promises(cast.shop.returns, observed),
        izipack=_creations(cast.carrier.requests("create"), asked[0], cast.carrier.orders),
        returnpilot=_creations(cast.carrier.requests("rp_create"), asked[1], cast.carrier.pilot_orders),
        polls=len(cast.carrier.requests("status")),
        pilot_polls=len(cast.carrier.requests("rp_order")) + len(cast.carrier.requests("rp_orders")),
        labels_recorded=cast.shop.labels_recorded,
        labels_on_disk=len([path for path in (cast.folder / LABELS).glob("*/*") if path.suffix in _LABEL_FILES]),
        history=await read_history(database, samples[0]) if samples else None,
        metrics_url=f"http://{host}:{port}/metrics",
        metrics=await asyncio.to_thread(_fetch, host, port, "/metrics"),
        seconds=seconds,
        in_time=in_time,
    )


def _asked(carrier: Simulator) -> tuple[list[str], list[str]]:
    """What each carrier was asked to create: Izipack by the description, ReturnPilot by the reference."""
    bodies = [[request.body or {} for request in carrier.requests(name)] for name in ("create", "rp_create")]
    return [str(body.get("description")) for body in bodies[0]], [str(body.get("reference")) for body in bodies[1]]


def _creations(requests: Sequence[Request], asked: list[str], orders: Mapping[Any, Order | PilotOrder]) -> Creations:
    made = Counter(order.description if isinstance(order, Order) else order.reference for order in orders.values())
    return Creations(
        asked_for=len(set(asked)),
        requests=len(requests),
        turned_away=sum(request.reply_status in (429, 503) for request in requests),
        refused=sum(request.reply_status in (400, 422) for request in requests),
        made=made.total(),
        made_twice=sum(count > 1 for count in made.values()),
    )


def _fetch(host: str, port: int, path: str) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
