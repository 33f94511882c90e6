"""What a start does with the database: waits for it, goes on where others ended, says what is at risk there."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf

import structlog

from worker.domain.cadence import grown
from worker.engine.clock_watch import ClockWatch
from worker.engine.outage import say_back
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.database_clock import ClockDiffers, read_clock
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.durability import risks
from worker.store.failures import DatabaseRefused, DatabaseUnavailable, DatabaseUnusable
from worker.store.leases import end_leases
from worker.store.migrating import SchemaLocked
from worker.store.schema import SchemaMismatch

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds between two tries
_SAY_AGAIN = 10.0  # seconds after which the same reason is logged once more

_WAY_IN = {
    POSTGRESQL: "make the database or the role, grant it what it lacks (deploy/sql/roles.sql), or set the right user"
    " and password in database.url or its file",
    SQLITE: "let the worker's user write the file of database.url, and in its folder",
}
_WAY_THERE = {
    POSTGRESQL: "start the database, or set the right address in database.url",
    SQLITE: "mount or make the folder of database.url, or end what keeps the file from being written",
}

log = structlog.get_logger()


async def wait_for_database(
    database: Database, start: Callable[[], Awaitable[None]], wait: timedelta, clock: Callable[[], float]
) -> None:
    """Do all that a start asks of the database, from the beginning each time, until it goes well or `wait` is over.

    Then raises `DatabaseUnavailable`, `ClockDiffers`, or `SchemaMismatch` where the database came without its schema.
    At once are raised `DatabaseUnusable`, which waiting does not change, `SchemaLocked`, which was waited for already,
    and a `SchemaMismatch` before anything was waited for.
    """
    began, tries, said, said_at = clock(), 0, "", -inf
    while True:
        pause = grown(_FIRST_PAUSE, 2.0, tries, _LONGEST_PAUSE)
        try:
            await start()
        except (DatabaseUnusable, SchemaLocked):
            raise
        except (DatabaseUnavailable, ClockDiffers, SchemaMismatch) as error:
            if isinstance(error, SchemaMismatch) and not said:
                raise
            left = began + wait.total_seconds() - clock()
            if left < pause:
                if isinstance(error, DatabaseRefused):  # it may still let us in later: nothing proves that it is wrong
                    raise DatabaseUnavailable(f"it refuses to be used: {error}") from error
                raise
            if str(error) != said:
                pause, tries, said_at = _FIRST_PAUSE, 0, -inf  # another reason: something is happening there
            if clock() - said_at > _SAY_AGAIN:
                said, said_at = str(error), clock()
                _say(database, error, left)
            await database.close()  # nothing of this try: what comes may be another file, or another server
        else:
            return say_back(database, "start")
        await asyncio.sleep(pause)
        tries += 1


async def take_over(database: Database, watch: ClockWatch) -> None:
    """Go on where workers before this one ended: with the clock as they saw it, without the leases of the killed."""
    watch.begin(await read_clock(database), await database_now(database))
    if ended := await end_leases(database):
        log.info("leases_ended", count=ended, hint="a worker before this one held these returns when it ended")


async def warn_of_risks(database: Database) -> None:
    """Say once what the server may forget in a crash or a failover."""
    for risk in await risks(database):
        log.warning("database_may_forget", risk=risk)


def _say(database: Database, error: Exception, left: float) -> None:
    database.outage.failed("start", refused=isinstance(error, DatabaseRefused))
    told = {"doing": "start", "error": str(error), "waits": round(left)}
    match error:
        case ClockDiffers():
            log.warning("clock_differs", hint="set the wrong clock right", **told)
        case SchemaMismatch():
            log.warning("schema_differs", hint="it is waited for, too", **told)
        case DatabaseRefused():
            log.warning("database_refuses", hint=_WAY_IN[database.dialect], **told)
        case _:
            log.warning("database_unavailable", hint=_WAY_THERE[database.dialect], **told)
