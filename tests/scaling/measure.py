"""Measures what completed returns cost the live ones: the same statements without and with them, in turn.

Both databases were filled by `tests.scaling.filling` with the same live returns. Each statement is timed in both, one
after the other, many times; what is printed is the median of each and their ratio, so that a busy machine troubles
both alike.
"""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from worker.domain.decision import Decision, StepOutcome
from worker.domain.lifecycle import State, Step
from worker.domain.returns import ReturnOrder
from worker.store.accounts import database_now, read_agendas
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.queries import read_backlog
from worker.store.records import record
from worker.store.upkeep.archive import archive_batch, count_over
from worker.store.upkeep.history import find_orders

_ROUNDS = 40
_RARELY = 5  # rounds of what takes long, or is asked by people
_BATCH = 64
_LEASE = timedelta(seconds=90)
_AGE = timedelta(days=399)
_TO_ARCHIVE = 20_000

Measured = dict[str, list[float]]


async def main(urls: Sequence[str]) -> None:
    """Measure the database without and the one with completed returns, and print both."""
    databases = [Database(url, pool_size=1) for url in urls]
    measured: list[Measured] = [{} for _ in urls]
    for database in databases:
        await _hot(database, {})  # caches and prepared statements
        await _asked_by_people(database, {})
    for turn in range(_ROUNDS):
        for url, database, each in zip(urls, databases, measured, strict=True):
            await _hot(database, each)
            if turn % (_ROUNDS // _RARELY) == 0:
                await _asked_by_people(database, each)
                await _vacuumed(url, each)
    print(f"{'ms, median':40} {'without':>10} {'with':>10} {'ratio':>7}")
    for name in measured[0]:
        one, other = (statistics.median(each[name]) for each in measured)
        print(f"{name:40} {one:10.2f} {other:10.2f} {other / one:7.2f}")
    for url in urls:
        print("\n".join(await _sizes(url)))
    await _archive(databases[1])
    print("\n".join(await _sizes(urls[1])), flush=True)
    for database in databases:
        await database.close()


async def _timed(measured: Measured, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
    began = time.perf_counter()
    result = await call()
    measured.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    return result


async def _hot(database: Database, measured: Measured) -> None:
    """What a worker does all the time, and with one batch."""
    lane = Lane("default", Step.TRACK, _BATCH)
    await _timed(measured, "what is due", lambda: read_agendas(database, ["default"], 100))
    claimed = await _timed(measured, f"claim {_BATCH}", lambda: claim(database, [lane], "measure", _LEASE))
    later = await database_now(database) + timedelta(minutes=30)
    made = [(each.order, _unchanged(each.order, later)) for each in claimed]
    written = await _timed(measured, f"record {_BATCH} polls", lambda: record(database, made))
    assert len(claimed) == len(written) == _BATCH
    await _timed(measured, "gauges", lambda: read_backlog(database))


def _unchanged(order: ReturnOrder, later: Any) -> Decision:
    """What most polls come to: nothing new, and the next one later."""
    after = order._replace(due_at=later, track_due_at=later, unchanged_polls=order.unchanged_polls + 1, claims=0)
    return Decision(after, StepOutcome.UNCHANGED, ())


async def _asked_by_people(database: Database, measured: Measured) -> None:
    before = await database_now(database) - _AGE
    await _timed(measured, "show REFERENCE", lambda: find_orders(database, reference="RMA-777"))
    await _timed(measured, "list", lambda: find_orders(database))
    for state in (State.NEEDS_ATTENTION, State.PENDING, State.REJECTED):
        await _timed(measured, f"list --state {state}", lambda state=state: find_orders(database, states=[state]))
    await _timed(measured, "archive --dry-run", lambda: count_over(database, before, None))


async def _vacuumed(url: str, measured: Measured) -> None:
    """What autovacuum does once each live row was recorded again, which leaves a dead entry in every index."""
    if url.startswith("sqlite"):
        return
    connection = await asyncpg.connect(url, command_timeout=600)
    await connection.execute("UPDATE return_order SET due_at = due_at + interval '1 ms' WHERE due_at IS NOT NULL")
    await _timed(measured, "VACUUM, each live row dead once", lambda: connection.execute("VACUUM return_order"))
    await connection.close()


async def _sizes(url: str) -> list[str]:
    """Bytes of each table, and on PostgreSQL of its indexes."""
    if url.startswith("sqlite"):
        return [f"{Path(url.removeprefix('sqlite:///')).stat().st_size / 1e6:.0f} MB"]
    connection = await asyncpg.connect(url, command_timeout=600)
    rows = await connection.fetch("""
SELECT relname, pg_table_size(oid) AS bytes, pg_indexes_size(oid) AS indexes
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 1 ORDER BY 2 DESC""")
    await connection.close()
    return [f"  {row['relname']}: {row['bytes'] / 1e6:.0f} MB, indexes {row['indexes'] / 1e6:.0f} MB" for row in rows]


async def _archive(database: Database) -> None:
    began, count, last = time.perf_counter(), 0, 0
    before = await database_now(database) - _AGE
    while count < _TO_ARCHIVE:
        batch = await archive_batch(database, before, None, last, 200)
        count, last = count + batch.count, batch.last
        if batch.finished:
            break
    print(f"archived {count} returns, {count / (time.perf_counter() - began):.0f} a second")
