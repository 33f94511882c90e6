"""Tells the loop that somebody committed something: a hint and no more, since the tick finds what a lost one meant."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import asyncpg

from worker.domain.cadence import grown
from worker.domain.masking import said_by
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL
from worker.store.failures import DatabaseUnavailable
from worker.store.search_path import connected

_CHANNEL = "returns_worker"  # of this database alone: https://www.postgresql.org/docs/current/sql-notify.html
_GAP = 0.03  # seconds between two wakes: a flood of notifications must not become as many turns
_IN_VAIN = 6  # so many gaps after a wake that brought nothing: of many idle workers only one gets the row
_PROBE_EVERY = 30.0  # seconds of silence after which the connection is asked whether it still is one
_PROBE_TIMEOUT = 10.0
_LOOK_EVERY = 0.25  # seconds between looks at a SQLite file; to wake up for one takes some 0.1 ms of a core
_VERSION = "PRAGMA data_version"
_INSERTED = "SELECT seq FROM sqlite_sequence WHERE name = 'return_order'"  # the highest id that there ever was
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 30.0  # seconds until a lost source is sought again
_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error, DatabaseUnavailable)


async def watch(
    database: Database, wake: Callable[[], None], claimed: Callable[[], int], lost: Callable[[str, int, float], None]
) -> None:
    """Call `wake` when others may have committed something, until cancelled.

    Many notifications are one wake, and after one that brought nothing the next comes later; `claimed` says how many
    rows were taken so far. A source that is lost is sought again: `lost` is told why, how often in a row, and the
    seconds until then. One wake whenever it is found makes up for what was missed.
    """
    tries = 0
    while True:
        began = time.monotonic()
        try:
            if database.dialect == POSTGRESQL:
                await _follow_notifications(database, wake, claimed)
            else:
                await _follow_commits(database, wake)
        except _LOST as error:
            tries = 1 if time.monotonic() - began > _LONGEST_WAIT else tries + 1
            wait = grown(_FIRST_WAIT, 2.0, tries, _LONGEST_WAIT) * (0.5 + random.random() / 2)
            lost(said_by(error), tries, wait)
            await asyncio.sleep(wait)


async def _follow_notifications(database: Database, wake: Callable[[], None], claimed: Callable[[], int]) -> None:
    """Listen on a connection of its own: one of the pool would forget it, and be missed there."""
    connection = await connected(database.schema, False, **database.connecting(" (wake)"))
    try:
        heard = asyncio.Event()
        connection.add_termination_listener(lambda _: heard.set())
        await connection.add_listener(_CHANNEL, lambda *_: heard.set())
        wake()
        while True:
            if not await _is_set(heard, _PROBE_EVERY):
                # Only an answer tells that the other end is still there.
                await connection.execute("SELECT 1", timeout=_PROBE_TIMEOUT)
                continue
            heard.clear()
            if connection.is_closed():
                raise ConnectionError("the listening connection was closed")
            before = claimed()
            wake()
            for _ in range(_IN_VAIN):
                await asyncio.sleep(_GAP)
                if claimed() != before:
                    break
    finally:
        connection.terminate()  # nothing is in the way, and a half-open one could not be closed in order


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def _follow_commits(database: Database, wake: Callable[[], None]) -> None:
    """Look whether others have changed the file since: https://sqlite.org/pragma.html#pragma_data_version.

    The pool's own commits change that number too, and must not wake: a row that was handed back would be taken and
    handed back again. Where some of ours are among the changes, only a return that was inserted wakes.

    A look reads shared memory and waits for nobody; a thread for it would cost more than it takes. SQLite keeps count
    of its connections to a file within a process, so that closing this one ends no other's lock.
    """
    assert database.path is not None
    database.check_file()  # what has taken its place is nobody's to open
    # rw: a file that is not there is not made. No time-out: on the event loop a lock is not waited for.
    address = f"{database.path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=0, isolation_level=None)) as connection:
        writes, version, inserted = database.writes, _asked(connection, _VERSION), _asked(connection, _INSERTED)
        wake()
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            before, writes = writes, database.writes
            if (now := _asked(connection, _VERSION)) == version:
                continue
            version, last = now, inserted
            inserted = _asked(connection, _INSERTED)
            ours = writes != before or database.is_writing
            if not ours or inserted != last:
                wake()


def _asked(connection: sqlite3.Connection, question: str) -> Any:
    """The answer, all of it: then the read is over, and holds up no checkpoint."""
    rows = connection.execute(question).fetchall()
    return rows[0][0] if rows else None
