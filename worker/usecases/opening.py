"""Opens the database that the settings name, for one use case."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from worker.settings import Settings
from worker.store.database import Database
from worker.store.restores import DatabaseMoved, retirement
from worker.store.schema import SchemaMismatch, require_current
from worker.store.sqlite_file import absence


def database_of(settings: Settings, current: Callable[[], str] | None = None) -> Database:
    """The database of the settings, with one connection; `current` gives its URL where that may be replaced."""
    told = settings.database
    return Database(told.url, current=current, pool_size=1, pooler=told.pooler, schema=told.schema)


@asynccontextmanager
async def opened_database(
    settings: Settings, *, only_to_read: bool = False, tell: Callable[[str], None]
) -> AsyncIterator[Database]:
    """The database, with the schema that this version works with; raises `SchemaMismatch`.

    One that has moved elsewhere is opened only to read it, and `tell` is told so; else it raises `DatabaseMoved`.
    """
    database = database_of(settings)
    try:
        missing = database.path and absence(database.path)
        if missing:
            raise SchemaMismatch(missing)
        await require_current(database)
        retired = await retirement(database)
        if retired is not None:
            if not only_to_read:
                raise DatabaseMoved(retired)
            tell(f"{retired}; this is how it was then")
        yield database
    finally:
        await database.close()


def no_database(path: Path) -> SchemaMismatch:
    """The error to raise where a command needs a SQLite file that has to be there already."""
    return SchemaMismatch(f"there is no database at {path.absolute()}")
