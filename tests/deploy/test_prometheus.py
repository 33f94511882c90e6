"""The rules are right: promtool takes them, each alert is seen to fire and to stay quiet, and names what there is."""

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import on_sqlite
from tests.deploy.rules import (
    PROMETHEUS,
    ROOT,
    RUNBOOK,
    Rule,
    Series,
    checks,
    problems,
    promtool,
    rules,
    shown_by_a_worker,
)
from tests.process.conftest import carrier, config, database_url, shop, start
from tests.process.running import RunningWorker, until
from tests.process.shop import Shop

__all__ = ["carrier", "config", "database_url", "shop", "start"]

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
ALERTS, RECORDED = rules("alerts.yml"), rules("recording.yml")
TESTS = sorted(path.name for path in (PROMETHEUS / "tests").glob("*.yml"))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    return shown_by_a_worker(tmp_path_factory.mktemp("worker"))


@needs_promtool
def test_promtool_takes_the_configuration_with_both_rule_files() -> None:
    checked = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 rule files found" in checked.stdout


@needs_promtool
# Each alert over its whole life takes promtool seconds: in every run of CI.
@pytest.mark.parametrize(
    "file", [pytest.param(name, marks=pytest.mark.long) if name.startswith("over_") else name for name in TESTS]
)
def test_each_alert_fires_and_stays_quiet_as_written(file: str) -> None:
    tested = promtool("test", "rules", PROMETHEUS / "tests" / file)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "SUCCESS" in tested.stdout


@pytest.mark.parametrize("alert", [rule.name for rule in ALERTS])
def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_stays_quiet(alert: str) -> None:
    expected = [check["exp_alerts"] for check in checks() if check["alertname"] == alert]
    fired = [each for alerts in expected for each in alerts]
    assert fired and all({"summary", "description", "runbook_url"} == set(each["exp_annotations"]) for each in fired)
    assert [] in expected


def test_no_test_is_about_an_alert_that_is_gone() -> None:
    assert {check["alertname"] for check in checks()} == {rule.name for rule in ALERTS}


def test_every_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    for rule in ALERTS:
        written = rule.written
        assert written["labels"]["severity"] in ("critical", "warning"), rule.name
        assert set(written["annotations"]) == {"summary", "description", "runbook_url"}, rule.name
        assert written["annotations"]["runbook_url"] == f"deploy/RUNBOOK.md#{rule.name.lower()}"


def test_the_runbook_has_a_heading_for_each_alert_in_the_order_of_the_rules() -> None:
    headings = re.findall(r"^## (Returns\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [rule.name for rule in ALERTS]


def test_the_monitoring_page_lists_each_alert_with_its_severity() -> None:
    page = (ROOT / "docs" / "operate" / "monitoring.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(Returns\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert rows == [(rule.name, rule.written["labels"]["severity"]) for rule in ALERTS]


@pytest.mark.parametrize("rule", [*RECORDED, *ALERTS], ids=lambda rule: rule.name)
def test_a_rule_asks_only_for_what_a_worker_shows(rule: Rule, series: Series) -> None:
    assert problems(rule.expression, series, {each.name for each in RECORDED}) == []


def test_a_name_that_no_worker_shows_is_noticed(series: Series) -> None:
    asked = 'sum by (acount) (returns_worker_order{x="y"}) + returns_worker_orders{state="lost"} + job_account:x'
    assert problems(asked, series, set()) == [
        "no metric returns_worker_order",
        "no metric job_account:x",
        "no label acount",
        'no returns_worker_orders{state="lost"}',
    ]


@needs_promtool
@on_sqlite
async def test_promtool_finds_nothing_to_say_about_the_metrics_of_a_running_worker(
    start: Callable[..., RunningWorker], shop: Shop
) -> None:
    worker = await start().ready()
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "completed"), 15, lambda: worker.log_text)
    _, page = await worker.get("/metrics")
    checked = await asyncio.to_thread(promtool, "check", "metrics", typed=page)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_files_stay_small() -> None:
    grafana = ROOT / "deploy" / "grafana"
    for file in [*grafana.glob("*.py"), *Path(__file__).parent.glob("*.py")]:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 360, file
