"""Resident memory under load: a million live returns, all due, 256 in flight."""

import time
from statistics import median
from typing import Any

from tests.benchmarks.carrier import StandIn
from tests.benchmarks.databases import POSTGRESQL, Databases
from tests.benchmarks.figure import Group, Reach, Samples, Subject
from tests.benchmarks.polls import latency
from tests.benchmarks.rows import Rows
from tests.benchmarks.worker import Worker

_IN_FLIGHT = 256


def memory() -> Group:
    """After ten minutes over after one, and absolute; quick: after one minute over after ten seconds, 200,000 rows."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        rows = Rows(due=200_000 if quick else 1_000_000, belongings=False)
        early, late = (10.0, 60.0) if quick else (60.0, 600.0)
        first, last = [], []
        runs: list[dict[str, Any]] = []
        for _ in range(1 if quick else 3):
            samples, polls = _run(databases, rows, early, late)
            first.append(samples[0][1])
            last.append(samples[-1][1])
            runs.append({"polls": polls, "megabytes_by_second": samples})
        note = f"{rows.due:,} returns, {late:.0f} s, {median(run['polls'] for run in runs):,.0f} polls"
        details = {"rows": rows.due, "seconds": (early, late), "runs": runs}
        return [Samples(last, first, details, note), Samples(last, details=details, note=note)]

    load = "with 1,000,000 live returns, 256 in flight"
    subjects = [
        Subject("memory-growth", f"resident memory {load}, after 10 minutes over after 1", Reach(1.05), "", "MB"),
        Subject("memory", f"resident memory {load}, after 10 minutes", Reach(150), "MB"),
    ]
    return Group("memory", subjects, measure)


def _run(databases: Databases, rows: Rows, early: float, late: float) -> tuple[list[tuple[float, float]], int]:
    """The memory at so many seconds from readiness, some ten times from early to late; and the polls made."""
    with (
        databases.copy(POSTGRESQL, rows) as url,
        StandIn.serving(latency=latency(_IN_FLIGHT)) as carrier,
        Worker.running(url, carrier.url, _IN_FLIGHT) as worker,
    ):
        began = time.monotonic()
        samples = []
        for step in range(11):
            moment = early + (late - early) * step / 10
            time.sleep(max(began + moment - time.monotonic(), 0.0))
            samples.append((moment, worker.resident_megabytes))
        polls = carrier.served().status
        if polls > rows.due * 0.95:
            raise RuntimeError(f"{polls} of {rows.due} rows were polled: the load had ended before the last look")
        return samples, polls
