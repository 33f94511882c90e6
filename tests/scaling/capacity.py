"""Measures what one PostgreSQL takes: polls claimed and recorded by several processes, inserts, bytes of its log.

    python -m tests.scaling.capacity URL [SECONDS]

No carrier and no worker is in it: each process only claims and records, in batches, as fast as it is answered. The
database is one that `tests.scaling.filling` filled, on this machine, so that the processor time of its own processes
can be read beside that of the clients. What the server does in the background (autovacuum, writing to disk) is not in
it.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text

from tests.process.running import PAYLOAD
from worker.domain.decision import Decision, StepOutcome
from worker.domain.lifecycle import Step
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.records import record

HEADER = "processes   polls/s   client us/poll   server us/poll   log bytes/poll   HOT share"
_BATCH = 100
_PROCESSES = (1, 2, 4, 8)
_INSERTS = 500
_LEASE = timedelta(seconds=90)
_GUARD = "return_order_not_archived_insert"


@dataclass(frozen=True, slots=True)
class Done:
    """What one process did: polls, its own seconds of processor, and its connection's in the server."""

    polls: int
    client: float
    server: float


async def _poll(url: str, seconds: float) -> Done:
    database = Database(url, pool_size=1)
    asking = text("SELECT pg_backend_pid()")
    backend = int(await database.reading(lambda connection: connection.execute(asking).scalar_one()))
    await _batch(database)
    polls, client, server, until = 0, time.process_time(), _processor(backend), time.monotonic() + seconds
    while time.monotonic() < until:
        polls += await _batch(database)
    done = Done(polls, time.process_time() - client, _processor(backend) - server)
    await database.close()
    return done


async def _batch(database: Database) -> int:
    claimed = await claim(database, [Lane("default", Step.TRACK, _BATCH)], f"measure:{os.getpid()}", _LEASE)
    now = datetime.now(UTC)
    made = [
        (each.order, Decision(each.order._replace(due_at=now, track_due_at=now, claims=0), StepOutcome.UNCHANGED, ()))
        for each in claimed
    ]
    return len(await record(database, made)) if made else 0


def _processor(process: int) -> float:
    """User and system seconds of a process (proc(5), /proc/pid/stat, fields 14 and 15)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _process(url: str, seconds: float, results: Any) -> None:
    results.put(asyncio.run(_poll(url, seconds)))


def polled_by(count: int, url: str, seconds: float) -> list[Done]:
    """So many processes at once."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_process, args=(url, seconds, results)) for _ in range(count)]
    for process in processes:
        process.start()
    done = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return done


async def _counters(url: str) -> tuple[int, int, int]:
    """Bytes of the write-ahead log so far, updates of returns, and those that touched no index."""
    connection = await asyncpg.connect(url)
    row = await connection.fetchrow("""
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, n_tup_upd, n_tup_hot_upd
  FROM pg_stat_user_tables WHERE relname = 'return_order'""")
    await connection.close()
    return tuple(row)


def polls(url: str, seconds: float) -> None:
    """Polls a second by how many processes, and what each costs."""
    print(HEADER)
    for count in _PROCESSES:
        log, updates, hot = asyncio.run(_counters(url))
        done = polled_by(count, url, seconds)
        time.sleep(1.5)  # a server tells its statistics a second later
        log, updates, hot = (
            after - before for after, before in zip(asyncio.run(_counters(url)), (log, updates, hot), strict=True)
        )
        made = sum(each.polls for each in done)
        client, server = (1e6 * sum(each) / made for each in ([d.client for d in done], [d.server for d in done]))
        print(
            f"{count:9} {made / seconds:9.0f} {client:16.0f} {server:16.0f} {log / made:16.0f} {hot / updates:11.2f}",
            flush=True,
        )


async def inserts(url: str) -> None:
    """A shop that commits each insert by itself, with and without the look into the archive, in turn."""
    connection = await asyncpg.connect(url)
    archived = await connection.fetchval("SELECT reltuples::bigint FROM pg_class WHERE relname = 'archived_return'")
    rates: dict[str, list[float]] = {"ENABLE": [], "DISABLE": []}
    number = 0
    for turn in range(12):
        mode = "ENABLE" if turn % 2 else "DISABLE"
        await connection.execute(f"ALTER TABLE return_order {mode} TRIGGER {_GUARD}")
        began = time.perf_counter()
        for _ in range(_INSERTS):
            number += 1
            await connection.execute(
                "INSERT INTO return_order (account, reference, payload) VALUES ('measure', $1, $2)",
                f"M-{number}",
                json.dumps(PAYLOAD),
            )
        rates[mode].append(_INSERTS / (time.perf_counter() - began))
    await connection.execute(f"ALTER TABLE return_order ENABLE TRIGGER {_GUARD}")
    await connection.execute("DELETE FROM return_order WHERE account = 'measure'")
    await connection.close()
    guarded, bare = (statistics.median(rates[mode]) for mode in ("ENABLE", "DISABLE"))
    print(
        f"inserts/s, one connection, {max(archived, 0)} archived: {guarded:.0f}, without the guard {bare:.0f};", end=" "
    )
    print(f"the guard costs {1e6 / guarded - 1e6 / bare:.0f} us of {1e6 / guarded:.0f}")


def main(url: str, seconds: float) -> None:
    """Polls by one process and by several, then inserts."""
    polls(url, seconds)
    asyncio.run(inserts(url))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 8.0)
