"""Changes the schema beside a shop that goes on: what somebody has locked is waited for briefly, and again and again.

While a change waits for its table, whatever comes later waits behind it: behind a dump of an hour, an hour of inserts
(https://www.postgresql.org/docs/current/explicit-locking.html). So an attempt gives up soon and lets go of everything,
and the next one comes after longer than that.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from worker.domain.cadence import grown
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL
from worker.store.failures import DatabaseUnavailable, is_locked
from worker.store.transactions import reading

LOCK_TIMEOUT = 2.0
"""Seconds for which one attempt waits for a lock, and so the longest that a shop waits behind it.

PostgreSQL ends an autovacuum that is in the way when it has been waited for longer than `deadlock_timeout`, a second
(https://www.postgresql.org/docs/current/runtime-config-locks.html): with less it would never give way.
"""
_LONGEST_PAUSE = 30.0  # seconds

# How long a migration works is its own affair: an index of a million rows takes minutes. `transaction_timeout` came
# with PostgreSQL 17. All of it ends with the transaction, so that it passes a pooler.
_BEGIN = text("""
SELECT pg_backend_pid(), set_config('lock_timeout', :milliseconds, true), (
  SELECT count(set_config(name, '0', true)) FROM pg_settings
   WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'))""")

# Everybody may see a session's role and application; what it does, and since when, its own role and pg_read_all_stats
# (https://www.postgresql.org/docs/current/monitoring-stats.html). Its query may quote a customer, and is not asked for.
# Pid 0 stands for a prepared transaction (https://www.postgresql.org/docs/current/functions-info.html).
_HOLDERS = text("""
SELECT DISTINCT b.pid, a.usename, a.application_name, a.state, to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS') AS since
  FROM unnest(pg_blocking_pids(CAST(:pid AS integer))) AS b (pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid
 ORDER BY 1 LIMIT 5""")
_UNKNOWN = "somebody's open transaction"

T = TypeVar("T")


class SchemaLocked(DatabaseUnavailable):
    """The schema could not be changed in the time given, since somebody held a lock; the message says who."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long a change of the schema waits for others' locks."""

    at_most: float = inf
    """Seconds in all."""
    tell: Callable[[str, float], None] = lambda holder, pause: None
    """Told after each attempt who holds the lock, and in how many seconds comes the next one."""
    lock_timeout: float = LOCK_TIMEOUT
    chance: Callable[[], float] = random.random


async def patiently(database: Database, change: Callable[[Connection], T], waiting: Waiting) -> T:
    """Make the change in one transaction, as often as it takes; raises `SchemaLocked` when that takes too long."""
    give_up_at = time.monotonic() + waiting.at_most
    for pause in pauses(waiting.lock_timeout, waiting.chance):
        holders = _Holders()
        try:
            return await _attempt(database, change, waiting.lock_timeout, holders)
        except DatabaseUnavailable as error:
            if not is_locked(error):
                raise
            if time.monotonic() + pause > give_up_at:
                raise SchemaLocked(
                    f"the schema cannot be changed while {holders.said} holds a lock: wait until that has ended, or end"
                    " it, and start this again"
                ) from error
        waiting.tell(holders.said, pause)
        await asyncio.sleep(pause)
    raise AssertionError("there is always another pause")


def pauses(lock_timeout: float, chance: Callable[[], float]) -> Iterator[float]:
    """Seconds between two attempts: always longer than one may block, and soon much longer.

    Each differs by chance, so that several workers that wait for one dump do not keep in step.
    """
    first = lock_timeout * 1.5
    for tries in count():
        yield grown(first, 2.0, tries, max(first, _LONGEST_PAUSE)) * (0.8 + 0.4 * chance())


class _Holders:
    """Who was in the way when it was looked last."""

    said = _UNKNOWN

    def seen(self, rows: list[Any]) -> None:
        if rows:
            self.said = ", ".join(_described(row) for row in rows)


def _described(row: Any) -> str:
    if row.pid == 0:
        return "a prepared transaction (pg_prepared_xacts)"
    since = row.since and f"since {row.since} UTC"
    return f"pid {row.pid} ({', '.join(filter(None, (row.usename, row.application_name, row.state, since)))})"


async def _attempt(database: Database, change: Callable[[Connection], T], lock_timeout: float, holders: _Holders) -> T:
    ended, watching = asyncio.Event(), None

    def attempt(connection: Connection) -> T:
        nonlocal watching
        if connection.dialect.name == POSTGRESQL:  # whose transactions are on the event loop
            began = connection.execute(_BEGIN, {"milliseconds": str(round(lock_timeout * 1000))})
            watching = asyncio.create_task(_watch(database, began.one()[0], lock_timeout / 4, ended, holders))
        return change(connection)

    try:
        return await database.unhurried(attempt)
    finally:
        ended.set()
        if watching is not None:  # not sooner: a pooler may have a single connection, which it gets now
            await watching


async def _watch(database: Database, pid: int, every: float, ended: asyncio.Event, holders: _Holders) -> None:
    """Look on another connection who is in this one's way, until it has ended: nobody can say it afterwards."""
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), every)
        if ended.is_set():
            return
        with suppress(DatabaseUnavailable):  # it may give no second connection; then the holder stays unknown
            holders.seen(await _who_holds(database, pid))


@reading
def _who_holds(connection: Connection, pid: int) -> list[Any]:
    return list(connection.execute(_HOLDERS, {"pid": pid}))
