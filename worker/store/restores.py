"""Notices a database that creations are not recorded in any more: restored, copied, failed over, or moved away from."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from worker.store.columns import read_moment
from worker.store.database import Database
from worker.store.dialect import LOCKED, NOW, POSTGRESQL, SQLITE
from worker.store.durability import DURABLE
from worker.store.failures import DatabaseUnavailable
from worker.store.sqlite_file import SqliteFile
from worker.store.transactions import in_transaction, reading

_KNOWN = {
    POSTGRESQL: "SELECT place, creations, returns_worker_place() AS here FROM database_place",
    SQLITE: "SELECT place, creations, NULL AS here FROM database_place",
}


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the database was and where it is; how many creations it counts and how many were sent from it."""

    known: str | None
    here: str
    creations: int
    sent: int

    @property
    def agree(self) -> bool:
        return self.known == self.here and self.creations >= self.sent


async def settle_place(database: Database) -> bool:
    """Remember where the database is now; whether it was elsewhere, or younger, when creations were sent from it.

    If so, every return that was not at the carrier by then is in doubt from now on (`ReturnOrder.doubtful`): since the
    backup was made, or at the place that this is a copy of, it may have been created.
    """
    if database.dialect == SQLITE and database.file is None:
        return False
    if (await database.reading(_places, database.file)).agree:
        return False
    return await database.transaction(_settle, database.file)


def _settle(connection: Connection, file: SqliteFile | None) -> bool:
    if connection.dialect.name == POSTGRESQL:
        connection.execute(DURABLE)
    places = _places(connection, file, locked=True)
    # Where nothing was remembered yet, and something was sent from here: a backup from before the first start.
    moved = not places.agree and (places.known is not None or places.sent > places.creations)
    restored = f"restored_at = {NOW[connection.dialect.name]}, " if moved else ""
    connection.execute(
        text(f"UPDATE database_place SET {restored}place = :place, creations = :creations"),
        {"place": places.here, "creations": max(places.creations, places.sent)},
    )
    return moved


@reading
def backed_up_at(connection: Connection) -> datetime | None:
    """When `returns-worker backup` last wrote a verified copy of this database."""
    found = connection.execute(text("SELECT backed_up_at FROM database_place"))
    made_at: datetime | None = read_moment(found.scalar_one())
    return made_at


@in_transaction
def declare_restored(connection: Connection) -> int:
    """Put every return that is not at the carrier in doubt, as after a restore; returns how many wait to be created."""
    if connection.dialect.name == POSTGRESQL:
        connection.execute(DURABLE)
    connection.execute(text(f"UPDATE database_place SET restored_at = {NOW[connection.dialect.name]}"))
    pending = "SELECT count(*) FROM return_order WHERE state = 'pending' AND due_at IS NOT NULL"
    return int(connection.execute(text(pending)).scalar_one())


def _places(connection: Connection, file: SqliteFile | None, *, locked: bool = False) -> _Places:
    dialect = connection.dialect.name
    row = connection.execute(text(_KNOWN[dialect] + (LOCKED[dialect] if locked else ""))).one()
    if file is not None:
        return _Places(row.place, file.place, row.creations, file.creations)
    if row.here is None:
        raise DatabaseUnavailable("the server is a standby")
    return _Places(row.place, row.here, row.creations, 0)


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
