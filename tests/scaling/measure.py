"""Measures what completed returns cost the live ones: the same hot statements with and without them, in turn.

    python -m tests.scaling.measure URL_WITHOUT URL_WITH

Both databases were filled by `tests.scaling.filling` with the same live returns. Each statement is timed in both, one
after the other, many times; what is printed is the median of each and their ratio, so that a busy machine troubles
both alike.
"""

import asyncio
import sqlite3
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg

from worker.domain.decision import Decision, StepOutcome
from worker.domain.lifecycle import Step
from worker.domain.returns import ReturnOrder
from worker.store.accounts import read_agendas
from worker.store.archive import count_over
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.queries import find_orders, read_backlog
from worker.store.records import record

_ROUNDS = 40
_BATCH = 64
_LEASE = timedelta(seconds=90)

Measured = dict[str, list[float]]


def unchanged(order: ReturnOrder) -> Decision:
    """What most polls come to: nothing new, and the next one in half an hour."""
    later = (order.due_at or order.created_at or order.followed_since) and _in_half_an_hour()
    after = replace(order, due_at=later, track_due_at=later, unchanged_polls=order.unchanged_polls + 1, claims=0)
    return Decision(after, StepOutcome.UNCHANGED, ())


def _in_half_an_hour() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC) + timedelta(minutes=30)


async def _timed(measured: Measured, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
    began = time.perf_counter()
    result = await call()
    measured.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    return result


async def one_round(database: Database, measured: Measured) -> None:
    """Each of the statements once."""
    await _timed(measured, "what is due (read_agendas)", lambda: read_agendas(database, ["default"], 100))
    claimed = await _timed(
        measured, f"claim {_BATCH}", lambda: claim(database, [Lane("default", Step.TRACK, _BATCH)], "measure", _LEASE)
    )
    assert len(claimed) == _BATCH, len(claimed)
    made = [(each.order, unchanged(each.order)) for each in claimed]
    written = await _timed(measured, f"record {_BATCH} polls", lambda: record(database, made))
    assert len(written) == _BATCH
    await _timed(measured, "gauges (read_backlog)", lambda: read_backlog(database))


async def rare(database: Database, measured: Measured) -> None:
    """What people ask for."""
    for _ in range(3):
        await _timed(measured, "show REFERENCE", lambda: find_orders(database, reference="RMA-777"))
        await _timed(measured, "list", lambda: find_orders(database))
        await _timed(
            measured, "list --state needs_attention", lambda: find_orders(database, states=["needs_attention"])
        )
        await _timed(measured, "list --state pending", lambda: find_orders(database, states=["pending"]))


async def vacuumed(url: str, measured: Measured) -> None:
    """What autovacuum does after the rounds."""
    if url.startswith("sqlite"):
        return
    connection = await asyncpg.connect(url, command_timeout=600)
    await _timed(measured, "VACUUM return_order after the rounds", lambda: connection.execute("VACUUM return_order"))
    await connection.close()


async def sizes(url: str) -> list[str]:
    """Bytes of each table, its indexes and what is stored apart, and how many rows."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as opened:
            pages = [opened.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")]
            return [f"file: {pages[0] * pages[1] / 1e6:.0f} MB"]
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("""
SELECT relname, pg_relation_size(oid) AS heap, pg_indexes_size(oid) AS indexes,
       pg_table_size(oid) - pg_relation_size(oid) AS apart, reltuples::bigint AS rows
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 0 ORDER BY 2 DESC""")
    await connection.close()
    return [
        f"{row['relname']}: {row['rows']} rows, heap {row['heap'] / 1e6:.0f} MB, indexes {row['indexes'] / 1e6:.0f} MB,"
        f" apart {row['apart'] / 1e6:.0f} MB"
        for row in rows
    ]


async def main(urls: list[str]) -> None:
    """Measure both in turn and print the table."""
    databases = [Database(url, pool_size=1) for url in urls]
    measured: list[Measured] = [{}, {}]
    for database in databases:
        await one_round(database, {})  # caches and prepared statements
    for _ in range(_ROUNDS):
        for database, each in zip(databases, measured, strict=True):
            await one_round(database, each)
    for database, each in zip(databases, measured, strict=True):
        await rare(database, each)
        before = _in_half_an_hour() - timedelta(days=390)
        await _timed(each, "archive --dry-run", lambda d=database, b=before: count_over(d, b, None))
        await database.close()
    for url, each in zip(urls, measured, strict=True):
        await vacuumed(url, each)
    print(f"{'ms, median':40} {'without':>10} {'with':>10} {'ratio':>7}")
    for name in measured[0]:
        one, other = (statistics.median(each[name]) for each in measured)
        print(f"{name:40} {one:10.2f} {other:10.2f} {other / one:7.2f}")
    for url in urls:
        print("\n".join(["", *await sizes(url)]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:3]))
