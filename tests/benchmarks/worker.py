"""Runs the real `returns-worker run` as a process with a configuration for production, and asks what it has done."""

import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.processes import Usage, resident_megabytes, started, until, usage

CONFIG = """
[database]
url = "{database}"
[accounts.default]
base_url = "{carrier}"
api_key = "IZI-benchmark"
rate_per_minute = 0
max_in_flight = {in_flight}
[accounts.default.receiver]
name = "Webshop"
address.street = "Dokter de Grootlaan"
address.house_number = "3"
address.postal_code = "2071 TG"
address.city = "Santpoort-Noord"
address.country = "NL"
[accounts.default.status_map]
Delivered = "delivered"
[polling]
first = "{cadence}"
factor = 1.0
cap = "{cadence}"
jitter = {jitter}
near_pickup = "0s"
by_status.in_transit.first = "{cadence}"
[retry]
first = "1h"
cap = "1h"
[labels]
store = "file:{folder}/labels"
[http]
listen = "127.0.0.1:0"
[log]
format = "json"
"""


class Worker:
    """One running worker process; its log is a file."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self._log = pid, log
        self.seconds_to_ready = 0.0
        self._address = ""

    @classmethod
    @contextmanager
    def running(
        cls, database: str, carrier: str, in_flight: int, *, cadence: str = "6h", jitter: float = 0.1
    ) -> Iterator["Worker"]:
        """A worker that is ready; a return is asked about again after the cadence."""
        with tempfile.TemporaryDirectory(prefix="returns-worker-benchmark-") as name:
            folder = Path(name)
            config, log = folder / "returns-worker.toml", folder / "worker.log"
            values = {"database": database, "carrier": carrier, "in_flight": in_flight, "folder": folder}
            config.write_text(CONFIG.format(**values, cadence=cadence, jitter=jitter))
            began = time.monotonic()
            with (
                log.open("wb") as errors,
                started("-m", "worker", "--config", str(config), "run", errors=errors) as process,
            ):
                worker = cls(process.pid, log)
                until(lambda: worker.said("ready") or process.poll() is not None, 60, "the worker is ready")
                if process.poll() is not None:
                    raise RuntimeError(f"the worker ended with {process.returncode}:\n{log.read_text()[-2000:]}")
                worker.seconds_to_ready = time.monotonic() - began
                yield worker

    def said(self, event: str) -> dict[str, Any] | None:
        """The first line of the log about an event."""
        lines = (json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{"))
        return next((line for line in lines if line["event"] == event), None)

    @property
    def usage(self) -> Usage:
        """What it has used so far."""
        return usage(self.pid)

    @property
    def resident_megabytes(self) -> float:
        """Its memory now."""
        return resident_megabytes(self.pid)

    def get(self, path: str) -> tuple[int, str]:
        """An answer of its own pages."""
        if not self._address:
            listening = self.said("listening")
            assert listening is not None
            self._address = listening["address"]
        try:
            with urllib.request.urlopen(f"{self._address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def series(self) -> dict[str, float]:
        """Every series of /metrics by its full name."""
        lines = (line for line in self.get("/metrics")[1].splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
