"""An alert tells what is, not what was: each has a life among the unit tests, in which what is over is over."""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import yaml

from tests.deploy.rules import PROMETHEUS, Rule, rules

# What was done stays done, a batch of a minute too: they fire at once, and end when nothing more of it was seen.
DONE = {"ReturnsRejectedRising", "ReturnsExpiredRising", "ReturnsWebhookGivenUp"}
# Takes six hours to fire: its life is in labels.yml.
ELSEWHERE = {"ReturnsLabelMissing"}

ALERTS = [rule for rule in rules("alerts.yml") if rule.name not in ELSEWHERE]
LASTING = [rule for rule in ALERTS if rule.name not in DONE]
SCRAPED = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))["global"]

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
# Functions that go on telling what has ended; last_over_time is a gauge as it was last seen.
_LOOKS_BACK = re.compile(r"\b(?:rate|increase|changes|(?:max|avg|sum|count)_over_time)\([^()\[\]]*\[(\w+)\]")
_UNBRIDGED = re.compile(r"(?<![\w:])returns_worker_\w+(?:\{[^}]*\})?(?![\w{\[])")


def _duration(text: str) -> timedelta:
    return sum((timedelta(**{_UNITS[unit]: int(n)}) for n, unit in re.findall(r"(\d+)([dhms])", text)), timedelta())


def _for(rule: Rule) -> timedelta:
    return _duration(rule.written.get("for", "0s"))


def _windows(rule: Rule) -> list[timedelta]:
    return [_duration(each) for each in _LOOKS_BACK.findall(rule.expression)]


def _life(alert: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The file and the test that is named after the alert."""
    found = []
    for path in sorted((PROMETHEUS / "tests").glob("over_*.yml")):
        file = yaml.safe_load(path.read_text(encoding="utf-8"))
        found += [(file, test) for test in file["tests"] if test["name"].startswith(f"{alert}: ")]
    assert len(found) == 1, f"{alert} has {len(found)} lives"
    return found[0]


def _lengths(values: str) -> list[int]:
    """How many samples each word of promtool's notation stands for: `1x3` is four, `_x3` three."""
    words = [re.fullmatch(r"(.+?)(?:x(\d+))?", word) for word in values.split()]
    return [int(word[2] or 0) + (word[1] != "_" or word[2] is None) for word in words if word]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_each_alert_lives_through_a_burst_a_lasting_trouble_and_its_end(rule: Rule) -> None:
    file, life = _life(rule.name)
    if max([_for(rule), *_windows(rule)]) < timedelta(hours=6):
        assert (life["interval"], file["evaluation_interval"]) == (
            SCRAPED["scrape_interval"],
            SCRAPED["evaluation_interval"],
        )
    checks = life["alert_rule_test"]
    assert {check["alertname"] for check in checks} == {rule.name}
    times = [_duration(check["eval_time"]) for check in checks]
    assert all(earlier < later for earlier, later in pairwise(times))
    assert checks[-2]["exp_alerts"] and not checks[-1]["exp_alerts"]

    interval = _duration(life["interval"])
    lengths = [_lengths(series["values"]) for series in life["input_series"]]
    over = max(sum(each[:-1]) for each in lengths) * interval
    assert times[-1] <= over + max(_for(rule), *_windows(rule)[-1:], interval), "it ends soon"

    if rule in LASTING:
        assert times[-2] < over, "it fires while it lasts"
        # In promtool's words: from the beginning until then it was pending, and nothing else.
        (never,) = life["promql_expr_test"]
        assert never["expr"] == f'count_over_time(ALERTS{{alertname="{rule.name}"}}[1d])'
        assert _duration(never["eval_time"]) < times[0]
        (pending,) = never["exp_samples"]
        assert 'alertstate="pending"' in pending["labels"] and pending["value"] > 1


@pytest.mark.parametrize("rule", LASTING, ids=lambda rule: rule.name)
def test_no_alert_waits_less_than_it_looks_back(rule: Rule) -> None:
    windows = _windows(rule)
    assert not windows or min(windows) < _for(rule)


@pytest.mark.parametrize("rule", [rule for rule in ALERTS if rule.name in DONE], ids=lambda rule: rule.name)
def test_what_tells_of_the_past_says_so_and_wakes_nobody(rule: Rule) -> None:
    assert _for(rule) == timedelta() and rule.written["labels"]["severity"] == "warning"
    assert "in the last" in rule.written["annotations"]["description"]
    assert 4 * _windows(rule)[-1] <= max(_windows(rule)), "it ends after a quarter of its time"


@pytest.mark.parametrize("rule", [*rules("recording.yml"), *rules("alerts.yml")], ids=lambda rule: rule.name)
def test_a_failed_scrape_or_a_restart_begins_no_time_anew(rule: Rule) -> None:
    if 'job="returns-worker"' not in rule.expression:  # else it is about the process
        assert _UNBRIDGED.findall(rule.expression) == []


def test_samples_are_counted_as_promtool_does() -> None:
    assert _lengths("0x39 5 stale _x7 _ 840+15x3 -1x1 Inf+0x2") == [40, 1, 1, 7, 1, 4, 2, 3]
