"""A SQLite database that was copied to another one by `copy-to` is retired: nothing may be written to it any more."""

from sqlalchemy import Connection, text

from worker.store.database import Database
from worker.store.transactions import reading


class DatabaseMoved(Exception):
    """This database is retired; the message says where its returns are, or why that is not known yet."""


@reading
def retirement(connection: Connection) -> str | None:
    """What is said of a database that is retired; None of one that is in use."""
    place, completed_at = (connection.execute(text("SELECT moved_to, move_completed_at FROM database_place"))).one()
    return None if place is None else retired(place, is_complete=completed_at is not None)


async def require_not_moved(database: Database) -> None:
    """Raise `DatabaseMoved` for a retired database: a worker would create what another one creates already."""
    said = await retirement(database)
    if said is not None:
        raise DatabaseMoved(said)


def retired(place: str, *, is_complete: bool) -> str:
    """What is said of a database that has moved there, or was about to."""
    if is_complete:
        return f"the returns of this database have moved to {place}: set database.url to it"
    return (
        f"this database is retired, and its copy to {place} may not be complete: complete it by copy-to with the same"
        " URL, or open this database again by copy-to --abandon"
    )
