"""The command that backs up: a verified copy of the SQLite file; for PostgreSQL the way to do it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import MOST, Exit, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import opened_settings, run
from worker.settings import Settings
from worker.store.database import Database
from worker.store.schema import SchemaMismatch, SchemaState, schema_state
from worker.store.upkeep.backup import BackupFailed, copy, destination, remember_backup, remove_older

_PG_DUMP = """error: PostgreSQL is backed up by its own tools, for example:

  pg_dump --format=custom --no-owner --file=returns.dump "postgresql://USER@HOST/DATABASE"

and restored into an empty database by pg_restore. A worker that starts on a restored database notices it, and looks up
or holds what may have been created since. For a backup that is never older than a moment, archive the write-ahead log
(https://www.postgresql.org/docs/current/continuous-archiving.html)."""


def backup(
    context: typer.Context,
    dest: Annotated[Path, typer.Argument(help="The file to write; in a folder one named by the time.")],
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, max=MOST, help="In a folder: keep so many, remove older ones.")
    ] = None,
) -> None:
    """Copy the SQLite database while work goes on, check the copy, and put it in place."""

    async def work() -> None:
        settings, _ = opened_settings(context)
        if settings.database.kind != "sqlite":
            fail(_PG_DUMP)
        if keep is not None and not dest.is_dir():
            fail(f"error: --keep is for a folder, and there is none at {shown(str(dest))}: make it first", Exit.USAGE)
        await _copy(settings, dest, keep)

    run(work())


async def _copy(settings: Settings, dest: Path, keep: int | None) -> None:
    database = Database(settings.database.url, pool_size=1)
    assert database.path is not None
    try:
        if not database.path.is_file() or await schema_state(database) is SchemaState.MISSING:
            raise SchemaMismatch(f"there is no database at {database.path.absolute()}")
        made_at = datetime.now(UTC)
        target = destination(database.path, dest, made_at)
        with progress("copying the database"):
            size = await asyncio.to_thread(copy, database.path, target)
        say(f"{target}: {size} bytes, checked")
        await remember_backup(database, made_at)
        removed, newer = (
            await asyncio.to_thread(remove_older, database.path, target, keep) if keep is not None else ([], [])
        )
    except BackupFailed as error:
        fail(f"error: {error}")
    finally:
        await database.close()
    for file in removed:
        say(f"{file}: removed")
    for file in newer:
        say(f"warning: {file} is named by a time to come: a clock was wrong; it counts as newest until you remove it")
    if settings.labels.store.startswith("file:"):
        say(f"label files are not in it: copy {settings.labels.store.removeprefix('file:')} after it")
