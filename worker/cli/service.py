"""The commands of the service: run, and migrate before it."""

import asyncio
import os
import sys
from contextlib import suppress
from typing import Annotated

import structlog
import typer

from worker.app import Application
from worker.cli.output import say, shown
from worker.cli.session import opened_settings, run
from worker.engine.starting import wait_for_database
from worker.renewed import renewed_url
from worker.runtime.clock import lease_clock
from worker.runtime.shutdown import stop_requested
from worker.runtime.systemd import ServiceManager
from worker.store.database import Database
from worker.store.migrating import Waiting
from worker.store.restores import require_not_moved, settle_place
from worker.store.schema import keeps_former_table, migrate
from worker.store.sqlite_file import AlreadyRunning
from worker.telemetry.outlet import Outlet

_LAST_RESORT = 4.0  # seconds beyond the grace time after which a shutdown that hangs is ended

log = structlog.get_logger()


def run_worker(
    context: typer.Context,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Stop when nothing is left to do now.")] = False,
) -> None:
    """Pick up returns and follow them, until told to stop by SIGTERM, SIGINT or SIGHUP."""
    # For good: what is said until the process has ended goes out this way, too.
    sys.stderr = outlet = Outlet(sys.stderr.fileno(), _tell_dropped, encoding=sys.stderr.encoding)

    async def work() -> None:
        settings, redactor = opened_settings(context, need_keys=True)
        application = Application(settings, redactor, ServiceManager(os.environ))
        outlet.counted_by(application.metrics.log_lines_dropped.inc)
        with stop_requested(settings.worker.grace.total_seconds() + _LAST_RESORT) as stop:
            try:
                starting = asyncio.ensure_future(application.start())
                stopping = asyncio.ensure_future(stop.wait())
                await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                if not starting.done():
                    starting.cancel()  # told to stop while it waits for the database
                    await asyncio.gather(starting, return_exceptions=True)
                    return
                await starting
                await application.run(stop, until_idle=until_idle)
            finally:
                await application.stop()

    run(work())


def _tell_dropped(lines: int) -> None:
    log.warning("log_lines_dropped", lines=lines, hint="whoever reads the log was too slow, or the disk was full")


def _tell_locked(holder: str, pause: float) -> None:
    say(shown(f"waits for {holder}, which holds a lock on the tables; tries again in {pause:.0f} s"))


def migrate_schema(context: typer.Context) -> None:
    """Bring the database's schema up to date; its data is kept."""

    async def work() -> None:
        settings, redactor = opened_settings(context)
        current = renewed_url(settings.database, redactor, lambda _: None)
        database = Database(
            settings.database.url,
            current=current,
            pool_size=1,
            pooler=settings.database.pooler,
            schema=settings.database.schema,
        )

        async def upgrade() -> None:
            before, after = await migrate(database, Waiting(tell=_tell_locked))
            await require_not_moved(database)
            with suppress(AlreadyRunning):  # then a worker has remembered the place already
                database.hold_file()
                if await settle_place(database):
                    say("the database was restored or copied: what may have been created since is looked up, or held")
            say(
                f"the schema is current ({after})"
                if before == after
                else f"migrated from {before or 'nothing'} to {after}"
            )
            if await keeps_former_table(database):
                say(
                    "the table alembic_version is kept for workers older than schema 0013, which stop at it: when none"
                    " of them runs any more, it may be dropped (DROP TABLE alembic_version)"
                )

        try:
            await wait_for_database(database, upgrade, settings.database.wait, lease_clock)
        finally:
            await database.close()

    run(work())
