"""CPU per creation, each recorded at once, over the CPU of the same bare POST."""

import json
import time
from dataclasses import dataclass

from tests.benchmarks.carrier import Served, StandIn
from tests.benchmarks.clients import Load, cpu_seconds_per_request
from tests.benchmarks.databases import POSTGRESQL, Databases
from tests.benchmarks.figure import Group, Reach, Samples, Subject
from tests.benchmarks.rows import Rows
from tests.benchmarks.worker import Worker
from tests.process.running import PAYLOAD
from worker.carriers.izipack import build_request

_IN_FLIGHT = 64
_LATENCY = 0.025
_RECEIVER = {"name": "Webshop", "address": PAYLOAD["customer"]["address"]}  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class _Size:
    """Creations that are not counted, creations that are, label questions that are, and rounds."""

    warm_up: int
    creations: int
    labels: int
    rounds: int


_QUICK, _FULL = _Size(300, 1_500, 800, 3), _Size(2_000, 15_000, 5_000, 5)


def cpu_per_creation() -> Group:
    """The worker and both kinds of bare client in turn."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        size = _QUICK if quick else _FULL
        measured, fresh, kept, labels = [], [], [], []
        for _ in range(size.rounds):
            creation, label = _worker(databases, size)
            measured.append(creation * 1e6)
            labels.append(label * 1e6)
            fresh.append(_bare(size, fresh=True) * 1e6)
            kept.append(_bare(size, fresh=False) * 1e6)
        details = {"creations": size.creations, "label_question_us": labels}
        return [Samples(measured, fresh, details), Samples(measured, kept, details)]

    meaning = "worker CPU per creation on postgresql, 64 in flight, over a bare POST's"
    subjects = [
        Subject("cpu-per-creation", f"{meaning} on a connection of its own, as the worker's is", Reach(6), "", "us"),
        Subject("cpu-per-creation-kept", f"{meaning} on a kept-alive connection", Reach(6), "", "us"),
    ]
    return Group("cpu-per-creation", subjects, measure)


def _worker(databases: Databases, size: _Size) -> tuple[float, float]:
    """Seconds for each creation, and for each question for a label that is not ready.

    A turn now and then asks for labels while creations wait. What those cost is known from the end of the run, when
    nothing else is left to do, and is taken off.
    """
    rows = Rows(pending=size.warm_up + size.creations + size.labels)
    with (
        databases.copy(POSTGRESQL, rows) as url,
        StandIn.serving(latency=_LATENCY, labels=False) as carrier,
        Worker.running(url, carrier.url, _IN_FLIGHT) as worker,
    ):
        began, used = _reach(worker, carrier, "creation", size.warm_up)
        ended, used_then = _reach(worker, carrier, "creation", size.warm_up + size.creations)
        all_created, _ = _reach(worker, carrier, "creation", rows.pending)
        first, alone = _reach(worker, carrier, "label", all_created.label + size.warm_up)
        last, alone_then = _reach(worker, carrier, "label", first.label + size.labels)
    label = (alone_then - alone) / (last.label - first.label)
    both = used_then - used - label * (ended.label - began.label)
    return both / (ended.creation - began.creation), label


def _reach(worker: Worker, carrier: StandIn, kind: str, count: int) -> tuple[Served, float]:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        served, used = carrier.served(), worker.usage.cpu
        if getattr(served, kind) >= count:
            return served, used
        time.sleep(0.05)
    raise TimeoutError(f"{count} times {kind} did not come within 600 s")


def _bare(size: _Size, *, fresh: bool) -> float:
    body = json.dumps(build_request(json.dumps(PAYLOAD), "RMA-1", _RECEIVER, None))
    with StandIn.serving(latency=_LATENCY) as carrier:
        url = f"{carrier.url}/shipment/retour"
        return cpu_seconds_per_request("bare", Load(url, _IN_FLIGHT, size.warm_up, size.creations, body, fresh))
