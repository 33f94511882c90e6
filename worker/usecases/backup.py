"""Backs up a SQLite database while work goes on."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from worker.settings import Settings
from worker.store.schema import SchemaState, schema_state
from worker.store.upkeep.backup import BackupFailed, copy, destination, remember_backup, remove_older
from worker.usecases.not_done import NotDone, WrongRequest
from worker.usecases.opening import database_of, no_database


class NotSqlite(NotDone):
    """PostgreSQL is backed up by its own tools."""


async def back_up(
    settings: Settings, dest: Path, keep: int | None, made: Callable[[Path, int], None]
) -> tuple[list[Path], list[Path]]:
    """Write a verified copy to `dest`, in a folder to a file named by the time; there `keep` of them stay.

    `made` is told the file and its bytes before older ones are removed. Returns what was removed, and the copies whose
    names say that they are from the future: a clock was wrong. Raises `NotDone`, and `SchemaMismatch`.
    """
    if settings.database.kind != "sqlite":
        raise NotSqlite
    if keep is not None:
        _require_folder(dest)
    database = database_of(settings)
    assert database.path is not None
    try:
        if not database.path.is_file() or await schema_state(database) is SchemaState.MISSING:
            raise no_database(database.path)
        now = datetime.now(UTC)
        target = destination(database.path, dest, now)
        made(target, await asyncio.to_thread(copy, database.path, target))
        await remember_backup(database, now)
        return await asyncio.to_thread(remove_older, database.path, target, keep) if keep is not None else ([], [])
    except BackupFailed as error:
        raise NotDone(str(error)) from error
    finally:
        await database.close()


def _require_folder(dest: Path) -> None:
    if not dest.is_dir():
        raise WrongRequest(f"--keep is for a folder, and there is none at {dest}: make it first")
