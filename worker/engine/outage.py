"""Says in the log that the database is away or refuses to be used, that it is back, and that it is another one."""

import structlog

from worker.store.database import Database
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.restores import settle_place

_HINT = (
    "waiting does not help: grant the role what it lacks, or put its password into database.url_file; a SQLite file"
    " that is not whole is restored from a backup"
)

_LOST_FOR_LONGER = 3  # tries in a row after which a warning says that hints do not come

log = structlog.get_logger()


def say_away(database: Database, doing: str, error: DatabaseUnavailable, *, retry_in: float | None = None) -> None:
    """What the worker was `doing` failed; what is refused is said once, since only a person can change it."""
    refused = isinstance(error, DatabaseRefused)
    news = database.outage.failed(doing, refused=refused)
    wait = {} if retry_in is None else {"retry_in": round(retry_in, 1)}
    if refused:
        (log.error if news else log.debug)("database_refuses", doing=doing, error=str(error), hint=_HINT, **wait)
    else:
        log.warning("database_unavailable", doing=doing, error=str(error), **wait)


def say_back(database: Database, doing: str) -> None:
    """What the worker was `doing` went well."""
    seconds = database.outage.went_well(doing)
    if seconds is not None:
        log.info("database_back", seconds=round(seconds, 1))


async def notice_restore(database: Database) -> None:
    """Where the database was restored or copied, or failed over, put in doubt what may have been created since."""
    if await settle_place(database):
        log.warning(
            "database_restored",
            hint="it was restored, copied or failed over: what may have been created since is looked up, or held",
        )


def say_listening_failed(error: str, tries: int, retry_in: float) -> None:
    """Said once when it lasts; that the database is away is said where it is needed."""
    say = log.warning if tries == _LOST_FOR_LONGER else log.debug
    say("listening_failed", error=error, retry_in=round(retry_in, 1), hint="new returns are found by the tick")
