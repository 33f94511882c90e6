"""Wherever a worker is deployed, two label checks may reach their own limit and leave it what it needs itself."""

import re
from pathlib import Path

import pytest
import yaml

from tests.benchmarks.memory import memory
from worker.labels.child import MEMORY_LIMIT
from worker.labels.verify import PARALLEL
from worker.settings.model import AccountSettings, LabelSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGE = (DEPLOY.parent / "docs" / "operate" / "deployment.md").read_text(encoding="utf-8")
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _bytes(limit: str) -> int:
    """As systemd, compose and Kubernetes (`Gi`) write it: all of them count in 1024s here."""
    number, unit = re.fullmatch(r"(\d+)([kmg]?)i?", limit.lower()).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def _systemd() -> str:
    unit = (DEPLOY / "systemd" / "returns-worker@.service").read_text(encoding="utf-8")
    (limit,) = re.findall(r"^MemoryMax=(.*)$", unit, re.MULTILINE)
    return str(limit)


def _compose() -> str:
    worker = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["worker"]
    return str(worker["deploy"]["resources"]["limits"]["memory"])


def _kubernetes() -> str:
    pod = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "deployment.yaml").read_text(encoding="utf-8"))
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    return str(container["resources"]["limits"]["memory"])


LIMITS = {"systemd": _systemd(), "compose": _compose(), "kubernetes": _kubernetes()}


def _own() -> int:
    """What a worker itself may take: what its benchmark allows it, and as many labels as an account fetches at once."""
    (allowed,) = (subject.reach.limit for subject in memory().subjects if subject.name == "memory")
    labels = AccountSettings.model_fields["max_in_flight"].default * LabelSettings.model_fields["max_bytes"].default
    return int(allowed * 1e6) + labels


@pytest.mark.parametrize("place", sorted(LIMITS))
def test_two_label_checks_at_their_own_limit_leave_the_worker_its_room(place: str) -> None:
    assert _bytes(LIMITS[place]) >= PARALLEL * MEMORY_LIMIT + _own()


def test_the_page_says_how_the_limit_comes_about() -> None:
    assert len({_bytes(limit) for limit in LIMITS.values()}) == 1
    (paragraph,) = (part for part in PAGE.split("\n\n") if part.startswith("**Memory**"))
    for number in (_bytes(_systemd()) >> 20, PARALLEL, MEMORY_LIMIT >> 30):
        assert re.search(rf"\b{number}\b", paragraph.replace("two", "2")), number
