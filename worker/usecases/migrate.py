"""Brings the database's schema up to date, as an operator asks for it; a worker does so at its start where it may."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from worker.engine.starting import wait_for_database
from worker.runtime.clock import lease_clock
from worker.settings import Settings
from worker.store.migrating import Waiting
from worker.store.restores import require_not_moved, settle_place
from worker.store.schema import keeps_former_table, migrate
from worker.store.sqlite_file import AlreadyRunning
from worker.usecases.opening import database_of


@dataclass(slots=True)
class Migrated:
    """What a migration came to."""

    before: str | None = None  # the revision; None: there was no schema
    after: str = ""
    was_restored: bool = False  # the database was restored or copied: what is not at the carrier is in doubt by now
    keeps_former_table: bool = False  # `alembic_version` is kept, for workers older than schema 0013


async def migrate_database(
    settings: Settings, current_url: Callable[[], str], locked: Callable[[str, float], None]
) -> Migrated:
    """Apply what is missing, once the database is there; `locked` is told who is in the way, and of the seconds' pause.

    `current_url` gives the database's URL, which may be replaced while it is waited for. Raises what
    `wait_for_database` raises, `SchemaLocked`, and `DatabaseMoved`.
    """
    database, done = database_of(settings, current_url), Migrated()

    async def upgrade() -> None:
        done.before, done.after = await migrate(database, Waiting(tell=locked))
        await require_not_moved(database)
        with suppress(AlreadyRunning):  # then a worker has remembered the place already
            database.hold_file()
            done.was_restored |= await settle_place(database)  # it may have been an earlier try that found it
        done.keeps_former_table = await keeps_former_table(database)

    try:
        await wait_for_database(database, upgrade, settings.database.wait, lease_clock)
    finally:
        await database.close()
    return done
