"""Runs the real command as a process, against a real database and the simulated carrier."""

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.process.nursery import Nursery, nursery

PAYLOAD = {
    "customer": {
        "name": "Sprookjeswonderland",
        "email": "info@izipack.nl",
        "phone": "0612345678",
        "address": {
            "street": "Kooizandweg",
            "house_number": "9",
            "postal_code": "1601 LK",
            "city": "Enkhuizen",
            "country": "NL",
        },
    },
    "packages": [
        {"height": "240", "width": 40, "depth": 40, "weight": 5000, "description": "package 1"},
        {"height": 241, "width": 41, "depth": 41, "weight": 5001, "description": "package 2"},
    ],
    "pickup_date": "2023-06-04",
    "description": "Webshop return",
}
KEY = "IZI-a-very-secret-key"
TOKEN = "RP-a-very-secret-token"
PILOT_PAYLOAD = {
    "customer": {
        "name": "Schaefer, Nolan and Wehner",
        "email": "dave45@gmail.com",
        "phone": "+12069536978",
        "address": {
            "street": "492 Quitzon Avenue",
            "postal_code": "17594-7013",
            "city": "Gustside",
            "region": "Massachusetts",
            "country": "US",
        },
    },
    "items": [{"product_id": 1}],
    "link_expires_in_days": 30,
}

CONFIG = """
[database]
url = "{database_url}"
auto_migrate = true
wait = "2s"
[accounts.default]
base_url = "{carrier_url}"
api_key_file = "{folder}/izipack.key"
rate_per_minute = 0
timeout = "2s"
[accounts.default.receiver]
name = "Webshop"
address.street = "Dokter de Grootlaan"
address.house_number = "3"
address.postal_code = "2071TG"
address.city = "Santpoort"
address.country = "NL"
[accounts.default.status_map]
PickedUp = "in_transit"
InTransit = "in_transit"
Delivered = "delivered"
[accounts.pilot]
carrier = "returnpilot"
base_url = "{carrier_url}/api/v1"
api_key_file = "{folder}/pilot.key"
rate_per_minute = 0
timeout = "2s"
[polling]
first = "200ms"
factor = 1.0
cap = "200ms"
by_status.in_transit.first = "200ms"
[retry]
first = "100ms"
cap = "500ms"
[circuit]
first = "300ms"
cap = "1s"
[worker]
tick = "200ms"
lease = "5s"
grace = "5s"
gauges = "200ms"
[labels]
store = "file:{folder}/labels"
[http]
listen = "127.0.0.1:0"
[log]
level = "debug"
"""


class RunningWorker:
    """One worker process; its log is read from a file as it is written."""

    def __init__(
        self, config: Path, log: Path, environ: Mapping[str, str] | None = None, born_of: Nursery | None = None
    ) -> None:
        self._log = log
        log.touch()
        self.process = (born_of or nursery()).start("--config", str(config), "run", errors=log, environ=environ)

    @property
    def log_text(self) -> str:
        return self._log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        whole, _, _ = self.log_text.rpartition("\n")  # what is behind it is being written
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def saw(self, event: str) -> dict[str, Any] | None:
        return next((line for line in self.events if line["event"] == event), None)

    async def ready(self) -> "RunningWorker":
        await until(lambda: self.saw("ready") or self.process.poll() is not None, 20, lambda: self.log_text)
        assert self.process.poll() is None, self.log_text
        return self

    async def ended(self, seconds: float = 15) -> int:
        await until(lambda: self.process.poll() is not None, seconds, lambda: self.log_text)
        return self.process.wait()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stopped(self) -> int:
        self.send(signal.SIGTERM)
        return await self.ended()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        listening = self.saw("listening")
        assert listening is not None

        def fetch() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"{listening['address']}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(fetch)

    async def metric(self, line: str) -> float:
        """The value of the series that is spelled exactly like this."""
        _, text = await self.get("/metrics")
        values = [float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.rsplit(" ", 1)[0] == line]
        assert values, f"no series {line}"
        return values[0]


async def typed(config: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    output, errors = config.with_name("stdout"), config.with_name("stderr")
    for file in (output, errors):
        file.write_text("")
    child = nursery().start("--config", str(config), *words, output=output, errors=errors)
    code = await asyncio.to_thread(child.wait)
    return code, output.read_text(), errors.read_text()


async def until(condition: Callable[[], Any], seconds: float, explain: Callable[[], object] = lambda: "") -> Any:
    """Wait for a condition with a deadline; it is looked at often, so that a test takes as long as it must.

    The deadline is that of a machine with nothing else to do: on a busy one it is as many times further away as a piece
    of work takes longer there.
    """
    began, slowest = time.monotonic(), 1.0
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() - began > seconds * slowest:
            slowest = max(slowest, slowness())
            assert time.monotonic() - began <= seconds * slowest, f"not within {seconds} s x {slowest:.1f}\n{explain()}"
        await asyncio.sleep(0.02)


def slowness() -> float:
    """How many times longer than on an idle machine a worker's work takes here and now; at least 1.

    The time that 50 ms of computing take. Squared, since a piece of a worker's work waits for a processor more than
    once: the worker's own, and its database's and the simulated carrier's for it.
    """
    began, until = time.monotonic(), time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    return max(1.0, ((time.monotonic() - began) / 0.05) ** 2)
