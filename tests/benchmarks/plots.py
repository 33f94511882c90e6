"""The two pictures of docs/internals/performance.md: CPU against requests in flight, claims against rows."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from tests.benchmarks.claims import times_by_size
from tests.benchmarks.databases import POSTGRESQL, SQLITE, Databases
from tests.benchmarks.plot import Axis, Points, marks_around, svg
from tests.benchmarks.polls import Size, bare_cpu_per_get, worker_cpu_per_poll

_WORKER = "worker"
_CLIENTS = {"stock httpx": "httpx", "bare aiohttp": "bare"}
_IN_FLIGHT = (1, 4, 16, 64, 256)
_SIZES = (10_000, 100_000, 300_000, 1_000_000)
_QUICK_SIZES = (10_000, 30_000, 100_000)


def draw_cpu(databases: Databases, folder: Path, quick: bool) -> Path:
    """Worker, bare client and stock httpx, at each number in flight in turn."""
    rounds = 1 if quick else 3
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in (_WORKER, *_CLIENTS)}
    for in_flight in _IN_FLIGHT:
        size = Size(500, 2_000, rounds) if quick or in_flight < 16 else Size(2_000, 10_000, rounds)
        costs: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(rounds):
            for name, found in costs.items():
                found.append(_cost(databases, name, in_flight, size) * 1e6)
        for name, found in costs.items():
            lines[name].append((in_flight, median(found)))
    across = Axis("requests in flight", _IN_FLIGHT)
    title = "CPU of one request: a worker's poll on PostgreSQL, and clients that do nothing else"
    return _written(folder / "cpu-per-poll.svg", title, across, "microseconds of CPU", lines)


def _cost(databases: Databases, name: str, in_flight: int, size: Size) -> float:
    if name == _WORKER:
        return worker_cpu_per_poll(databases, POSTGRESQL, in_flight, size)
    return bare_cpu_per_get(in_flight, size, _CLIENTS[name])


def draw_claims(databases: Databases, folder: Path, quick: bool) -> Path:
    """The median claim of 20 rows on both databases."""
    lines: dict[str, Points] = {}
    for name, kind in (("PostgreSQL", POSTGRESQL), ("SQLite", SQLITE)):
        found = asyncio.run(times_by_size(databases, kind, _QUICK_SIZES if quick else _SIZES, 3))
        lines[name] = [(float(size), median(median(each.claims) for each in rounds)) for size, rounds in found.items()]
    across = Axis("returns in the table, 98 in a hundred of them finished", _QUICK_SIZES if quick else _SIZES)
    return _written(folder / "claim-time.svg", "Median time of a claim of 20 rows", across, "milliseconds", lines)


def _written(file: Path, title: str, across: Axis, unit: str, lines: Mapping[str, Points]) -> Path:
    up = Axis(unit, marks_around([value for points in lines.values() for _, value in points]))
    file.write_text(svg(title, across, up, lines), encoding="utf-8")
    return file
