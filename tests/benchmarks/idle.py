"""What a worker costs that has nothing to do, with 100,000 returns waiting: CPU, and rows written to the database."""

import asyncio
import time

from tests.benchmarks.carrier import StandIn
from tests.benchmarks.databases import POSTGRESQL, SQLITE, Databases
from tests.benchmarks.figure import Group, Reach, Samples, Subject
from tests.benchmarks.rows import Rows
from tests.benchmarks.worker import Worker
from tests.store.shop import Shop

_ROWS = Rows(waiting=100_000, belongings=False)
_SETTLING = 5.0  # seconds for what a start brings with it
_LATE = 2.0  # seconds; a PostgreSQL backend reports its counts at most once a second

_COUNTED = {POSTGRESQL: "rows", SQLITE: "data_version"}
"""What must not grow: rows written; commits by another connection than the one that asks (pragma data_version)."""

_WRITTEN = """
SELECT (SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables) AS rows,
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS transactions,
       pg_current_wal_lsn() - '0/0'::pg_lsn AS wal"""


def idle() -> Group:
    """CPU in percent of a core, and writes, on both databases."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        seconds, rounds = (20.0, 2) if quick else (120.0, 3)
        databases.set("autovacuum", "off")  # whatever is written then, the worker wrote
        samples = []
        for kind in (POSTGRESQL, SQLITE):
            runs = [_run(databases, kind, seconds) for _ in range(rounds)]
            samples.append(Samples([cpu for cpu, _ in runs], details={"seconds": seconds}))
            samples.append(
                Samples([written[_COUNTED[kind]] for _, written in runs], details={"runs": [each for _, each in runs]})
            )
        return samples

    subjects = []
    for suffix, kind in (("", POSTGRESQL), ("-sqlite", SQLITE)):
        meaning = f"CPU of an idle worker with 100,000 returns waiting, on {kind}"
        subjects.append(Subject(f"idle-cpu{suffix}", meaning, Reach(0.5), "% of a core"))
        meaning = f"what that worker writes to the database on {kind}"
        subjects.append(Subject(f"idle-writes{suffix}", meaning, Reach(0), "rows" if kind == POSTGRESQL else "commits"))
    return Group("idle", subjects, measure)


def _run(databases: Databases, kind: str, seconds: float) -> tuple[float, dict[str, float]]:
    with (
        databases.copy(kind, _ROWS) as url,
        StandIn.serving() as carrier,
        Worker.running(url, carrier.url, 64) as worker,
    ):
        time.sleep(_SETTLING)
        return asyncio.run(_watched(kind, url, worker, seconds))


async def _watched(kind: str, url: str, worker: Worker, seconds: float) -> tuple[float, dict[str, float]]:
    async with Shop.at(url) as shop:  # SQLite counts others' commits for the connection that asks
        before, used = await _written(shop), worker.usage
        await asyncio.sleep(seconds)
        spent = worker.usage - used
        after = await _written(shop)
        return 100 * spent.cpu / spent.wall, {name: after[name] - before[name] for name in before}


async def _written(shop: Shop) -> dict[str, float]:
    if not shop.sqlite:
        await asyncio.sleep(_LATE)
    row = await shop.row("PRAGMA data_version" if shop.sqlite else _WRITTEN)
    return {name: float(value) for name, value in row.items()}
