"""The demo's end: what was promised and what happened, one whole history, and where to go on."""

import asyncio
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from rich.console import Console
from rich.table import Table

from worker.app import Application
from worker.demo.fates import CARRIERS, FATES, broken_promises, sample_returns
from worker.demo.folder import DATABASE, LABELS, LOG, OWN
from worker.demo.screen import counts_table
from worker.demo.shop import Progress, Shop
from worker.simulator import Simulator
from worker.usecases.show import ShownReturn, show_return

# The metrics that tell the same story, where they are not 0.
_METRICS = re.compile(
    r"returns_worker_(steps_total.*(step=\"create\"|outcome=\"(stored|completed|cancelled)\")"
    r"|carrier_requests_total.*operation=\"create\"|unknown_carrier_status_total).* (?!0\.0$)"
)


async def print_summary(
    application: Application,
    carriers: Simulator,
    shop: Shop,
    progress: Progress,
    folder: Path,
    console: Console,
    picture: Console,
    print_return: Callable[[ShownReturn, Console], None],
) -> bool:
    """Ask the database, the carriers, the folder and the metrics, and tell it; whether all is as was promised.

    `picture` is told what is the same each time.
    """

    def tell(heading: str, *lines: object, console: Console = console) -> None:
        console.print(f"\n{heading}\n", style="bold", soft_wrap=True)
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)  # what is copied from here must not be cut into lines

    # What names a return in each request to create one, and in each order that there is: Izipack's, ReturnPilot's.
    asked = [
        [str(request.body and request.body.get("description")) for request in carriers.requests("create")],
        [str(request.body and request.body.get("reference")) for request in carriers.requests("rp_create")],
    ]
    there = [
        [order.description for order in carriers.orders.values()],
        [order.reference for order in carriers.pilot_orders.values()],
    ]
    twice = [len(names) - len(set(names)) for names in there]
    files = sum(path.is_file() for path in (folder / LABELS).glob("*/*"))
    broken = broken_promises(shop.endings(asked[0] + asked[1]))

    tell(f"What became of {sum(progress.counts.values())} returns in {progress.seconds:.0f} seconds")
    console.print(_fates(broken))

    tell("What there is now", f"{files} labels in {folder / LABELS}", folder / DATABASE, folder / LOG, "")
    table = counts_table(progress)
    table.add_row("creations sent", *(str(len(names)) for names in asked))
    table.add_row("there at the carrier", *(str(len(names)) for names in there))
    table.add_row("there twice", *map(str, twice))
    console.print(table)

    tell(f"What became of {sum(progress.counts.values())} returns", console=picture)
    table.title = None  # it has the time
    picture.print(_fates(broken), "", table, sep="\n")

    told, reference, _ = sample_returns()[0]
    tell(f"One return from beginning to end: {told.happening}; {told.promise}")
    print_return(await show_return(application.settings, application.database, reference, told.account), console)

    await application.refresh_gauges()
    url = "http://{}:{}/metrics".format(*application.address)
    metrics = await asyncio.to_thread(_fetch, url)
    tell(f"The same told by {url}", *filter(_METRICS.match, metrics.splitlines()))

    tell("Next, all of it in one terminal", *_next_steps(folder, reference))

    problems = [f"{each}: {difference}" for each, difference in broken.items()]
    if not progress.finished:
        problems.append("the time was over before every return had reached its end")
    if files != progress.labels or any(twice):
        problems.append(f"{files} label files for {progress.labels} labels, {sum(twice)} returns created twice")
    for each in (console, picture):
        end = "Not everything happened as promised:" if problems else "Everything happened as promised."
        tell(end, *problems, console=each)
    return not problems


def _fates(broken: Mapping[str, str]) -> Table:
    table = Table("", "what happens", "what is promised", "kept", box=None, padding=(0, 1, 0, 0), header_style="dim")
    for account, carrier in CARRIERS.items():
        table.add_row("", f"at {carrier}", style="dim")
        for fate in (fate for fate in FATES if fate.account == account):
            kept = fate.returns - sum(each.fate is fate and each.reference in broken for each in sample_returns())
            style = "" if kept == fate.returns else "red"
            table.add_row(str(fate.returns), fate.happening, fate.promise, f"{kept} of {fate.returns}", style=style)
    return table


def _fetch(url: str) -> str:
    with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:  # never by a proxy of the environment
        return str(answer.read(), "utf-8")


def _next_steps(folder: Path, reference: str) -> list[str]:
    """Commands to be pasted, one by one or all at once."""
    steps = {
        "returns-worker list --state needs_attention": "what a person has to decide",
        f"returns-worker label {reference} -o label.pdf": "the label of the one above",
        "returns-worker simulate --rate-limit 0 2>>carriers.log &": "carriers that stay",
        f"returns-worker run 2>>{LOG} &": "the worker",
        f"returns-worker add {OWN}.json": "or by SQL, as the README has it",
        f"returns-worker show {OWN}": "again and again: it moves",
        "kill %1 %2": "when it has been delivered",
    }
    where = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; cd {shlex.quote(str(folder))}"
    return [where, *(f"{command:58}# {remark}" for command, remark in steps.items())]
