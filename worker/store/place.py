"""Notices a database that is not the one creations were recorded in: restored from a backup, copied, failed over."""

from sqlalchemy import text

from worker.store.database import POSTGRESQL, SQLITE, Database, DatabaseUnavailable

_NOW = {POSTGRESQL: "now()", SQLITE: "strftime('%Y-%m-%d %H:%M:%f', 'now')"}


async def settle_place(database: Database) -> bool:
    """Remember where the database is now; whether it was elsewhere, or younger, when creations were sent from it.

    If so, every return that was not at the carrier by then is in doubt from now on (`ReturnOrder.doubtful`): since the
    backup was made, or at the place that this is a copy of, it may have been created.
    """
    async with database.transaction() as connection:
        locking = " FOR UPDATE" if database.dialect == POSTGRESQL else ""
        known = (await connection.execute(text(f"SELECT place, creations FROM database_place{locking}"))).one()
        if database.dialect == POSTGRESQL:
            here = (await connection.execute(text("SELECT returns_worker_place()"))).scalar_one()
            if here is None:
                raise DatabaseUnavailable("the server is a standby")
            sent = 0
        elif database.file is None:
            return False
        else:
            here, sent = database.file.place, database.file.creations
        if known.place == here and known.creations >= sent:
            return False
        moved = known.place is not None
        restored = f"restored_at = {_NOW[database.dialect]}, " if moved else ""
        await connection.execute(
            text(f"UPDATE database_place SET {restored}place = :place, creations = :creations"),
            {"place": here, "creations": max(known.creations, sent)},
        )
        return moved


async def declare_restored(database: Database) -> int:
    """Put every return that is not at the carrier in doubt, as after a restore; returns how many wait to be created."""
    async with database.transaction() as connection:
        await connection.execute(text(f"UPDATE database_place SET restored_at = {_NOW[database.dialect]}"))
        pending = "SELECT count(*) FROM return_order WHERE state = 'pending' AND due_at IS NOT NULL"
        return int((await connection.execute(text(pending))).scalar_one())
