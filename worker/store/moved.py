"""A SQLite database that was copied to another one by `copy-to` is retired: nothing may be written to it any more."""

from sqlalchemy import text

from worker.store.database import Database


class DatabaseMoved(Exception):
    """The returns of this database have moved to another one; the message says where to."""


async def moved_to(database: Database) -> str | None:
    """Where the returns have moved to; None where they are still here."""
    async with database.reading() as connection:
        place: str | None = (await connection.execute(text("SELECT moved_to FROM database_place"))).scalar_one()
    return place


async def require_not_moved(database: Database) -> None:
    """Raise `DatabaseMoved` for a retired database: a worker would create what another one creates already."""
    place = await moved_to(database)
    if place is not None:
        raise DatabaseMoved(moved(place))


def moved(place: str) -> str:
    """What is said of a database that has moved there."""
    return f"the returns of this database have moved to {place}: set database.url to it"
