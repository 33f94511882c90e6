"""The dashboard is what its code makes, and each query brings data from a Prometheus that saw a worker at work."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import yaml

from tests.carriers.wire import http, raw_server, sends
from tests.databases import on_sqlite
from tests.deploy.prometheus import DASHBOARD, Query, RunningPrometheus, panels, queries
from tests.deploy.rules import ROOT, Series, problems, rules, shown_by_a_worker
from tests.process.conftest import carrier, config, database_url, shop, start
from tests.process.running import PILOT_PAYLOAD, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import server_error, throttled

__all__ = ["carrier", "config", "database_url", "shop", "start"]

GRAFANA = ROOT / "deploy" / "grafana"
ALERTS = {rule.name for rule in rules("alerts.yml")}
RECORDED = {rule.name for rule in rules("recording.yml")}


def test_the_checked_in_dashboard_is_what_the_code_beside_it_prints() -> None:
    command = [sys.executable, "-B", "-W", "error", str(GRAFANA / "dashboard.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stdout == DASHBOARD.read_text(encoding="utf-8")


def test_every_panel_has_a_unit_says_what_a_bad_value_means_and_leads_to_alerts_that_there_are() -> None:
    assert len(panels()) > 30
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        for link in panel["links"]:
            name = link["title"].removeprefix("Runbook: ")
            assert name in ALERTS
            assert link["url"] == f"${{runbook}}#{name.lower()}"


def test_panels_do_not_overlap_and_are_numbered_each_for_itself() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    return shown_by_a_worker(tmp_path_factory.mktemp("worker"))


@pytest.mark.parametrize("query", list(queries()), ids=str)
def test_a_panel_asks_only_for_what_a_worker_shows_of_the_job_that_was_chosen(query: Query, series: Series) -> None:
    assert problems(query.expression, series, RECORDED) == []
    for metric in re.findall(r"(?:returns_worker|process)_\w+\S", query.expression):
        assert metric.endswith("{"), f"{metric} is not kept to the job"


def test_grafana_is_told_of_this_dashboard_and_of_prometheus() -> None:
    folder = GRAFANA / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "returns-worker.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "returns-worker.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


@pytest.fixture
async def watched(
    start: Callable[..., RunningWorker], config: Path, tmp_path: Path
) -> AsyncIterator[tuple[RunningWorker, RunningPrometheus]]:
    text = config.read_text()
    before, pilot = text.split("[accounts.pilot]")
    pilot = pilot.replace("rate_per_minute = 0", "rate_per_minute = 6000")
    async with raw_server(sends(http(b""))) as endpoint:
        news = f'url = "{endpoint.url}"\nprivate = true\ntimeout = "2s"\nsecret = "whsec_{"A" * 32}"\n'
        news = f'\n[news.outbox]\n[news.shop]\nkind = "webhook"\n{news}'
        config.write_text(f"{before}[accounts.pilot]{pilot}{news}")
        worker = await start().ready()
        listening = worker.saw("listening")
        assert listening is not None
        folder = tmp_path / "prometheus"
        folder.mkdir()
        prometheus = RunningPrometheus(folder, listening["address"].removeprefix("http://"), "1s")
        yield worker, prometheus
        prometheus.stop()


@pytest.mark.long
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus (Debian: prometheus)")
@on_sqlite
async def test_every_query_of_every_panel_brings_data_and_every_rule_works(
    watched: tuple[RunningWorker, RunningPrometheus], shop: Shop, carrier: Simulator, config: Path, tmp_path: Path
) -> None:
    worker, prometheus = watched
    await prometheus.ready()
    since = time.time()
    await _work(worker, shop, carrier)
    for words in (["backup", str(tmp_path / "copy.db")], ["accounts", "hold", "pilot", "--reason", "stocktaking"]):
        code, _, errors = await typed(config, *words)
        assert code == 0, errors
    await until(lambda: _held(prometheus), 20)

    empty = []
    for query in queries():
        asked = query.asked(window="20s", shown="60s")
        if not await prometheus.over_time(asked, since, 1):
            empty.append(f"{query}\n  {asked}")
    assert not empty, "\n".join(empty)

    groups = (await prometheus.ask("rules"))["groups"]
    loaded = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert set(loaded) == ALERTS | RECORDED
    assert {(rule["health"], rule.get("lastError", "")) for rule in loaded.values()} == {("ok", "")}
    firing = {name for name, rule in loaded.items() if rule.get("state") == "firing"}
    assert firing == set()  # whatever happened is over, or waits for its time


async def _work(worker: RunningWorker, shop: Shop, carrier: Simulator) -> None:
    """Something of everything: ends, refusals, doubt, an unknown word, a late label, failures, a request to wait."""
    carrier.inject("status", server_error(), 2)
    carrier.inject("status", throttled(retry_after=1))
    for number in range(6):
        await shop.insert(f"R-{number}")
    for word in ("unknown-status", "refuse", "lost-answer", "cancelled", "slow-label", "server-error"):
        await shop.insert(f"R sim:{word}")
    await shop.insert("P-1", PILOT_PAYLOAD, account="pilot")
    ends = {"R sim:refuse": "rejected", "R sim:lost-answer": "needs_attention", "R sim:server-error": "needs_attention"}
    for reference in ("R-0", "R-5", "R sim:unknown-status", "R sim:slow-label", "P-1", *ends):
        state = ends.get(reference, "completed")
        await until(lambda r=reference, s=state: shop.is_in(r, s), 30, lambda: worker.log_text)


async def _held(prometheus: RunningPrometheus) -> bool:
    asked = 'returns_worker_account_held_until_timestamp_seconds{account="pilot"} == Inf'
    found = (await prometheus.ask("query", query=asked))["result"]
    loaded = (await prometheus.ask("rules"))["groups"]
    states = {rule["name"]: rule.get("state") for group in loaded for rule in group["rules"]}
    return bool(found) and states["ReturnsAccountHeld"] == "pending"
