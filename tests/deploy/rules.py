"""The rule files, their unit tests and what a worker can show, read for the tests beside this."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from worker.app import Application
from worker.settings import load
from worker.telemetry.logs import Redactor

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"

_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w:])((?:returns_worker_|process_|job_account:)[\w:]+)")
_OF_TARGETS = {"job", "instance"}  # what Prometheus itself adds to every series

Series = dict[str, list[dict[str, str]]]  # name -> the labels of each series


@dataclass(frozen=True)
class Rule:
    """A rule as it is written, with `alert` or `record` as its name."""

    name: str
    expression: str
    written: dict[str, Any]


def rules(file: str) -> list[Rule]:
    """Of `alerts.yml` or `recording.yml`, in their order."""
    groups = yaml.safe_load((PROMETHEUS / file).read_text(encoding="utf-8"))["groups"]
    kinds = (rule for group in groups for rule in group["rules"])
    return [Rule(rule.get("alert") or rule["record"], rule["expr"], rule) for rule in kinds]


@cache
def checks() -> list[dict[str, Any]]:
    """Each check of an alert in the files of unit tests."""
    found = []
    for file in sorted((PROMETHEUS / "tests").glob("*.yml")):
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            found += test["alert_rule_test"]
    return found


def shown_by_a_worker(folder: Path) -> Series:
    """Every series that a worker with an account at either carrier, a table and a webhook has from its start."""
    file = folder / "worker.toml"
    file.write_text(
        f'[database]\nurl = "sqlite:///{folder}/returns.db"\n[labels]\nstore = "file:{folder}/labels"\n'
        '[accounts.default]\napi_key = "IZI-a-key"\n[accounts.pilot]\ncarrier = "returnpilot"\napi_key = "RP-a-key"\n'
        '[news.outbox]\n[news.shop]\nkind = "webhook"\nurl = "https://shop.example/news"\n'
        f'secret = "whsec_{"A" * 32}"\n'
    )
    application = Application(load(file, {}, need_accounts=True), Redactor())
    series: Series = {}
    for family in application.metrics.registry.collect():
        for sample in family.samples:
            series.setdefault(sample.name, []).append(dict(sample.labels))
    return series


def problems(expression: str, series: Series, recorded: set[str]) -> list[str]:
    """Every name, label and label value in a query that no worker shows; variables of Grafana's match anything."""
    found = [f"no metric {name}" for name in _NAME.findall(expression) if name not in series and name not in recorded]
    known = _OF_TARGETS | {label for each in series.values() for labels in each for label in labels}
    for names in _GROUPING.findall(expression):
        found += [f"no label {name}" for name in re.findall(r"\w+", names) if name not in known]
    for name, matchers in _SELECTOR.findall(expression):
        for label, operator, value in _MATCHER.findall(matchers):
            if label in _OF_TARGETS or name not in series or value.startswith("$"):
                continue
            values = {labels.get(label) for labels in series[name]}
            wanted = value.split("|") if "~" in operator else [value]
            found += [f'no {name}{{{label}="{each}"}}' for each in wanted if each not in values]
    return found


def promtool(*words: str | Path, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    """What promtool says; its exit code is the caller's to judge."""
    command = ["promtool", *map(str, words)]
    return subprocess.run(command, input=typed, text=True, capture_output=True, check=False, timeout=110)
