#!/usr/bin/env python3
"""Draws docs/operate/dashboard.png from a real Prometheus that scraped a worker through a lively simulated day.

`.venv/bin/pip install matplotlib` first (it is no dependency of the project), and Debian's `prometheus`; then
`.venv/bin/python tests/trials/dashboard.py [SECONDS]`, which takes a little longer than SECONDS (240). It fails when a
query of a panel brings nothing. What it draws is Prometheus's data in the dashboard's grid, not Grafana's rendering.
"""

import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.deploy.prometheus import RunningPrometheus, queries  # noqa: E402
from tests.process.running import CONFIG, KEY, PILOT_PAYLOAD, TOKEN, RunningWorker, typed  # noqa: E402
from tests.process.shop import Shop  # noqa: E402
from tests.trials.drawing import Drawn, draw, named  # noqa: E402
from worker.simulator import Simulator  # noqa: E402
from worker.simulator.faults import server_error, throttled  # noqa: E402

TROUBLE = {7: "unknown-status", 11: "slow-label", 13: "cancelled", 17: "refuse", 41: "lost-answer", 19: "stuck"}
POLLING = '[polling]\nfirst = "200ms"\nfactor = 1.0\ncap = "200ms"\nby_status.in_transit.first = "200ms"'


async def main(seconds: float) -> None:
    """Everything from the carrier to the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Simulator(api_key=KEY, stage_seconds=5, token=TOKEN, rate_limit=0) as carrier:
            config = _configured(folder, carrier)
            worker = await RunningWorker(config, folder / "worker.log").ready()
            listening = worker.saw("listening")
            assert listening is not None
            prometheus = RunningPrometheus(folder, listening["address"].removeprefix("http://"), "1s")
            try:
                await prometheus.ready()
                since = time.time()
                await _day(Shop(f"sqlite:///{folder}/returns.db"), carrier, config, seconds)
                data = await _asked(prometheus, since)
            finally:
                prometheus.stop()
                worker.kill()
    file = ROOT / "docs" / "operate" / "dashboard.png"
    caption = (
        f"Prometheus's data of {seconds:.0f} s of a worker with both simulated carriers, in minutes since the start;"
        " drawn by tests/trials/dashboard.py, not by Grafana."
    )
    draw(data, since, file, caption)
    print(f"{file.relative_to(ROOT)}: {len(data)} panels, {file.stat().st_size / 1000:.0f} kB")


def _configured(folder: Path, carrier: Simulator) -> Path:
    (folder / "izipack.key").write_text(KEY)
    (folder / "pilot.key").write_text(TOKEN)
    text = CONFIG.format(database_url=f"sqlite:///{folder}/returns.db", carrier_url=carrier.url, folder=folder)
    for limit in (1200, 600):  # of either account: panels that show a limit need one
        text = text.replace("rate_per_minute = 0", f"rate_per_minute = {limit}", 1)
    assert POLLING in text
    text = text.replace(POLLING, '[polling]\nfirst = "2s"\nfactor = 1.2\ncap = "4s"\nby_status.in_transit.first = "2s"')
    file = folder / "worker.toml"
    text = text.replace('level = "debug"', 'level = "info"')
    file.write_text(text.replace('first = "300ms"\ncap = "1s"', 'first = "2s"\ncap = "8s"'))
    return file


async def _day(shop: Shop, carrier: Simulator, config: Path, seconds: float) -> None:
    """Returns come in waves; an outage, a hold, requests to wait and a backup come at their share of the time."""
    operations = ("create", "status", "label")

    async def outage() -> None:
        for operation in operations:
            carrier.inject(operation, server_error(), None)

    async def well_again() -> None:
        carrier.clear_faults()

    async def busy() -> None:
        carrier.inject("status", throttled(retry_after=2), 3)

    def command(*words: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            code, _, errors = await typed(config, *words)
            assert code == 0, errors

        return run

    events: list[tuple[float, Callable[[], Awaitable[None]]]] = [
        (0.15, command("backup", str(config.with_name("copy.db")))),
        (0.30, outage),
        (0.42, well_again),
        (0.55, command("accounts", "hold", "pilot", "--reason", "stocktaking")),
        (0.68, command("accounts", "release", "pilot")),
        (0.78, busy),
        (0.86, command("accounts", "hold", "default", "--no-create", "--reason", "label printer")),
        (0.93, command("accounts", "release", "default")),
    ]
    began, number = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        while events and passed >= events[0][0] * seconds:
            await events.pop(0)[1]()
        for _ in range(round(1 + 2 * math.sin(math.pi * passed / seconds) ** 2)):
            number += 1
            word = next((f" sim:{word}" for every, word in TROUBLE.items() if number % every == 0), "")
            await shop.insert(f"R-{number}{word}")
            if number % 3 == 0:
                await shop.insert(f"P-{number}", PILOT_PAYLOAD, account="pilot")
        await asyncio.sleep(1)


async def _asked(prometheus: RunningPrometheus, since: float) -> dict[int, Drawn]:
    """The data of every panel, by its number."""
    data: dict[int, Drawn] = {}
    for query in queries():
        asked = query.asked(window="15s", shown=f"{int(time.time() - since)}s")
        found = await prometheus.over_time(asked, since, 1)
        assert found, f"{query} brings nothing: {asked}"
        drawn = data.setdefault(query.panel["id"], [])
        drawn += [(named(query.legend, each["labels"]), each["values"]) for each in found]
    return data


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 240.0))
