"""CPU per poll of a worker, everything included, over the CPU of a bare client for a GET of the same body."""

import time
from dataclasses import dataclass

from tests.benchmarks.carrier import StandIn
from tests.benchmarks.clients import Load, cpu_seconds_per_request
from tests.benchmarks.databases import POSTGRESQL, SQLITE, Databases
from tests.benchmarks.figure import Group, Reach, Samples, Subject
from tests.benchmarks.rows import Rows
from tests.benchmarks.worker import Worker

IN_FLIGHT = (64, 256)
_REACHES = {(POSTGRESQL, 64): 2.5, (POSTGRESQL, 256): 2.0, (SQLITE, 64): 2.7, (SQLITE, 256): 2.2}
_NAMES = {POSTGRESQL: "cpu-per-poll", SQLITE: "cpu-per-poll-sqlite"}


@dataclass(frozen=True, slots=True)
class Size:
    """How long a run is: polls that are not counted, polls that are, and rounds of worker and client in turn."""

    warm_up: int
    polls: int
    rounds: int


QUICK, FULL = Size(1_000, 4_000, 3), Size(5_000, 40_000, 5)


def latency(in_flight: int) -> float:
    """The carrier's time for an answer: long enough that all places are in use, short enough not to be the limit."""
    return min(0.05, in_flight / 2_500)


def worker_cpu_per_poll(databases: Databases, kind: str, in_flight: int, size: Size) -> float:
    """User and system seconds for each poll of one worker run, within a steady window."""
    rows = Rows(due=size.warm_up + size.polls + 5_000)
    with (
        databases.copy(kind, rows) as url,
        StandIn.serving(latency=latency(in_flight)) as carrier,
        Worker.running(url, carrier.url, in_flight) as worker,
    ):
        polls, used = _reach(worker, carrier, size.warm_up)
        more, later = _reach(worker, carrier, size.warm_up + size.polls)
        return (later - used) / (more - polls)


def _reach(worker: Worker, carrier: StandIn, polls: int) -> tuple[int, float]:
    """Wait for so many; how many there are then, and the CPU time they took."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        served, used = carrier.served().status, worker.usage.cpu
        if served >= polls:
            return served, used
        time.sleep(0.1)
    raise TimeoutError(f"{polls} polls were not made within 600 s")


def bare_cpu_per_get(in_flight: int, size: Size, kind: str = "bare") -> float:
    """User and system seconds for each GET of the same body, by a client alone."""
    with StandIn.serving(latency=latency(in_flight)) as carrier:
        load = Load(f"{carrier.url}/shipment/9RET100000000001", in_flight, size.warm_up, size.polls)
        return cpu_seconds_per_request(kind, load)


def cpu_per_poll(kind: str) -> Group:
    """The figures of one database: worker and bare client in turn."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        return [_samples(databases, kind, in_flight, QUICK if quick else FULL) for in_flight in IN_FLIGHT]

    subjects = [
        Subject(
            name=f"{_NAMES[kind]}-{in_flight}",
            meaning=f"worker CPU per poll on {kind}, {in_flight} in flight, over a bare GET's",
            reach=Reach(_REACHES[kind, in_flight]),
            measured_in="us",
        )
        for in_flight in IN_FLIGHT
    ]
    return Group(_NAMES[kind], subjects, measure)


def _samples(databases: Databases, kind: str, in_flight: int, size: Size) -> Samples:
    measured, baselines = [], []
    for _ in range(size.rounds):
        measured.append(worker_cpu_per_poll(databases, kind, in_flight, size) * 1e6)
        baselines.append(bare_cpu_per_get(in_flight, size) * 1e6)
    return Samples(measured, baselines, {"polls": size.polls, "latency": latency(in_flight)})
