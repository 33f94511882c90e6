"""Polls a second: how late they are at half the peak, and what a second process brings."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from statistics import median
from typing import Any

from tests.benchmarks.carrier import StandIn
from tests.benchmarks.databases import POSTGRESQL, Databases
from tests.benchmarks.figure import Group, Reach, Samples, Subject
from tests.benchmarks.polls import latency
from tests.benchmarks.processes import family_usage, parent_of, until
from tests.benchmarks.rows import Rows
from tests.benchmarks.worker import Worker
from tests.store.shop import Shop

_IN_FLIGHT = 64
_READERS = 10
_WARM_UP = 4.0  # seconds
_LATER = 86_400.0  # seconds; nothing is due before the worker is ready
_SOON = 5.0  # seconds from then on


def delay() -> Group:
    """Rows that become due one after the other at half the rate that one process was just seen to reach."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        seconds, rounds = (20.0, 3) if quick else (120.0, 5)
        measured, peaks = [], []
        for _ in range(rounds):
            rate, _ = _rate(databases, 1, seconds / 4)
            peaks.append(rate)
            measured.append(_late(databases, rate / 2, seconds))
        details = {"peak_per_second": peaks, "seconds": seconds, "in_flight": _IN_FLIGHT}
        return [Samples(measured, details=details, note=f"peak {median(peaks):.0f} polls/s")]

    meaning = "schedule delay p99 at half the peak rate, on postgresql"
    return Group("delay", [Subject("delay", meaning, Reach(1.0), "s")], measure)


def processes() -> Group:
    """Two worker processes and one in turn, on one PostgreSQL."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        seconds, rounds = (10.0, 3) if quick else (30.0, 5)
        measured, baselines, shares, commits = [], [], [], []
        for _ in range(rounds):
            commits.append(_commit_milliseconds(databases))
            for number, brought in ((2, measured), (1, baselines)):
                rate, cores = _rate(databases, number, seconds)
                brought.append(rate)
                shares.append({"processes": number, "polls_per_second": rate, "cores": cores})
        details = {"seconds": seconds, "runs": shares, "commit_ms": commits}
        note = f"{_limit(shares)}; a commit took {median(commits):.1f} ms"
        return [Samples(measured, baselines, details, note)]

    meaning = "polls a second of 2 processes over 1, on postgresql"
    subject = Subject("processes", meaning, Reach(1.6, at_least=True), measured_in="polls/s")
    return Group("processes", [subject], measure)


def pages() -> Group:
    """Windows with readers of the pages and without, in turn, of one worker with always more to do.

    One with readers is compared with those before and after it: dead rows gather until a vacuum comes, so that
    whichever came second would look dearer.
    """

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        seconds, rounds = (6.0, 4) if quick else (20.0, 8)
        rows = Rows(due=int(((2 * rounds + 1) * seconds + _WARM_UP + 10) * 2_500), belongings=False)
        measured, baselines, rates, answers = [], [], [], dict[int, int]()
        with (
            databases.copy(POSTGRESQL, rows) as url,
            StandIn.serving(latency=latency(_IN_FLIGHT)) as carrier,
            Worker.running(url, carrier.url, _IN_FLIGHT) as worker,
        ):
            server = asyncio.run(_postmaster(url))
            time.sleep(_WARM_UP)

            def window() -> tuple[float, float]:
                """Polls for each second of CPU, and polls a second."""
                cpu, polls, began = worker.usage.cpu + family_usage(server), carrier.served().status, time.monotonic()
                time.sleep(seconds)
                more, used = carrier.served().status - polls, worker.usage.cpu + family_usage(server) - cpu
                return more / used, more / (time.monotonic() - began)

            before = window()
            for _ in range(rounds):
                with _readers(worker, answers):
                    read, beside = window()
                after = window()
                baselines.append((before[0] + after[0]) / 2)
                measured.append(read)
                rates.append(beside * 2 / (before[1] + after[1]))
                before = after
        details = {"seconds": seconds, "answers": answers, "polls_a_second_with_over_without": rates}
        shown = sum(answers.values()) / (seconds * rounds)
        return [Samples(measured, baselines, details, f"{shown:.0f} pages/s; polls a second {median(rates):.2f}")]

    meaning = f"polls for a second of CPU with {_READERS} readers who reload pages over without, on postgresql"
    return Group("pages", [Subject("pages", meaning, Reach(0.97, at_least=True), measured_in="polls/CPU-s")], measure)


@contextmanager
def _readers(worker: Worker, answers: dict[int, int]) -> Iterator[None]:
    """Each asks for one page after the other, the next one as soon as he has it."""
    over = threading.Event()

    def read() -> None:
        for path in cycle(("/", "/returns", "/accounts", "/news")):
            if over.is_set():
                return
            status, _ = worker.get(path)
            answers[status] = answers.get(status, 0) + 1

    threads = [threading.Thread(target=read) for _ in range(_READERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def _synced_copy(databases: Databases, rows: Rows) -> Iterator[str]:
    """A database for one run; it is filled quickly, and from then on a commit takes its time, as in life."""
    databases.set("fsync", "off")
    with databases.copy(POSTGRESQL, rows) as url:
        databases.set("fsync", "on")
        yield url


def _commit_milliseconds(databases: Databases) -> float:
    """The median of small commits by one connection alone: what the disk asks for before anything is claimed."""

    async def commits(url: str) -> list[float]:
        async with Shop.at(url) as shop:
            times = []
            for _ in range(50):
                began = time.perf_counter()
                await shop.run("UPDATE return_order SET unchanged_polls = unchanged_polls + 1")
                times.append((time.perf_counter() - began) * 1e3)
            return times

    with _synced_copy(databases, Rows(due=1)) as url:
        return median(asyncio.run(commits(url)))


def _limit(shares: Sequence[Mapping[str, Any]]) -> str:
    """How many cores each part kept busy while two worked: where the end of the machine was."""
    two = [share["cores"] for share in shares if share["processes"] == 2]
    parts = ", ".join(f"{name} {median(cores[name] for cores in two):.2f}" for name in two[0])
    return f"cores busy with 2: {parts}, of {os.cpu_count()}"


def _rate(databases: Databases, number: int, seconds: float) -> tuple[float, Mapping[str, float]]:
    """Polls a second of so many processes that have always more to do, and how many cores each part kept busy."""
    rows = Rows(due=int((seconds + _WARM_UP + 10) * 2_500 * number), belongings=False)
    with ExitStack() as stack:
        url = stack.enter_context(_synced_copy(databases, rows))
        carrier = stack.enter_context(StandIn.serving(latency=latency(_IN_FLIGHT)))
        server = asyncio.run(_postmaster(url))
        workers = [stack.enter_context(Worker.running(url, carrier.url, _IN_FLIGHT)) for _ in range(number)]
        time.sleep(_WARM_UP)

        def look() -> dict[str, float]:
            return {
                "workers": sum(worker.usage.cpu for worker in workers),
                "postgresql": family_usage(server),
                "stand-in": family_usage(carrier.pid),
            }

        before, polls, began = look(), carrier.served().status, time.monotonic()
        time.sleep(seconds)
        after, more, ended = look(), carrier.served().status, time.monotonic()
        if more > rows.due * 0.98:
            raise RuntimeError(f"{more} of {rows.due} rows were polled: the work had ended before the time")
        return (more - polls) / (ended - began), {
            name: (after[name] - before[name]) / (ended - began) for name in after
        }


def _late(databases: Databases, rate: float, seconds: float) -> float:
    """The 99th percentile of the delay from due to claimed, by the worker's own histogram."""
    rows = Rows(due=int(rate * seconds), spread=seconds, after=_LATER, belongings=False)
    with (
        _synced_copy(databases, rows) as url,
        StandIn.serving(latency=latency(_IN_FLIGHT)) as carrier,
        Worker.running(url, carrier.url, _IN_FLIGHT) as worker,
    ):
        asyncio.run(_make_first_due(url))
        until(lambda: carrier.served().status >= rows.due, 3 * seconds + 60, f"all {rows.due} are polled")
        series = worker.series()
        databases.forget(POSTGRESQL, rows)
    return percentile(
        {
            float(name.partition('le="')[2].partition('"')[0]): count
            for name, count in series.items()
            if name.startswith("returns_worker_schedule_delay_seconds_bucket") and 'step="track"' in name
        },
        0.99,
    )


def percentile(buckets: Mapping[float, float], share: float) -> float:
    """As `histogram_quantile` of Prometheus reckons it: evenly within the bucket that holds it."""
    wanted = share * buckets[float("inf")]
    lower, below = 0.0, 0.0
    for upper, count in sorted(buckets.items()):
        if count >= wanted and count > below:
            return lower if upper == float("inf") else lower + (upper - lower) * (wanted - below) / (count - below)
        lower, below = upper, count
    raise ValueError("nothing was counted")


async def _make_first_due(url: str) -> None:
    """Move all rows so that the first is due soon, and the others after it as before."""
    async with Shop.at(url) as shop:
        moved = ", ".join(f"{name} = {name} - first.wait" for name in ("due_at", "track_due_at"))
        await shop.run(
            f"UPDATE return_order SET {moved} FROM (SELECT min(due_at) - now() - interval '{_SOON} seconds' AS wait"
            " FROM return_order) AS first"
        )
        await shop.run("VACUUM return_order")


async def _postmaster(url: str) -> int:
    async with Shop.at(url) as shop:
        return parent_of(int(await shop.value("SELECT pg_backend_pid()")))
