"""A real Prometheus with the project's own rules, and the dashboard's queries as Grafana would send them."""

import asyncio
import json
import math
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.rules import PROMETHEUS, ROOT
from tests.process.running import until

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"


class RunningPrometheus:
    """The server with deploy/prometheus/prometheus.yml, but for what it scrapes and how often."""

    def __init__(self, folder: Path, target: str, every: str) -> None:
        """`target` is the worker's HOST:PORT; it is scraped, and rules are evaluated, `every` so long."""
        for name in ("alerts.yml", "recording.yml"):
            shutil.copy(PROMETHEUS / name, folder / name)
        settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
        settings["global"] = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
        (job,) = settings["scrape_configs"]
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = folder / "prometheus.log"
        command = [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={self.address}",
            "--log.level=warn",
        ]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    async def ready(self) -> "RunningPrometheus":
        """It has scraped the worker: what happens from now on is seen to happen."""
        await until(self._answers, 30, self._log.read_text)
        await until(self._has_scraped, 30, self._log.read_text)
        return self

    async def _has_scraped(self) -> bool:
        found = await self.ask("query", query="returns_worker_last_tick_timestamp_seconds")
        return bool(found["result"])

    def _answers(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=30)

    async def ask(self, path: str, **parameters: str | float) -> Any:
        """The data of an answer of the HTTP API."""

        def fetch() -> Any:
            query = urllib.parse.urlencode(parameters)
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)

        answered = await asyncio.to_thread(fetch)
        assert answered["status"] == "success", answered
        return answered["data"]

    async def over_time(self, expression: str, since: float, step: float) -> list[dict[str, Any]]:
        """The series of a query from `since` until now, without samples that are no number."""
        end = time.time() + step  # a step beyond now, so that the newest sample is among them
        data = await self.ask("query_range", query=expression, start=since, end=end, step=step)
        series = []
        for each in data["result"]:
            values = [(when, float(value)) for when, value in each["values"] if not math.isnan(float(value))]
            if values:
                series.append({"labels": each["metric"], "values": values})
        return series


@dataclass(frozen=True)
class Query:
    """One query of one panel."""

    panel: dict[str, Any]
    expression: str
    legend: str

    def __str__(self) -> str:
        return f"{self.panel['title']}: {self.legend}"

    def asked(self, *, window: str, shown: str) -> str:
        """As Grafana sends it with all accounts chosen; `window` for a rate, `shown` for the time on the screen."""
        text = self.expression.replace("$__rate_interval", window).replace("$__range", shown)
        text = text.replace("$job", "returns-worker").replace("$account", ".*")
        assert "$" not in text, text
        return text


def panels() -> list[dict[str, Any]]:
    """Those of the dashboard that show something."""
    written = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in written["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield Query(panel, target["expr"], target["legendFormat"])
