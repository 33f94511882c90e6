"""Whether somebody holds a row, as SQL; and the end of leases whose holder is surely gone."""

from sqlalchemy import text

from worker.domain.clocks import LATEST
from worker.store.database import Database
from worker.store.dialect import NOW, POSTGRESQL, SQLITE

COMMAND = "command:"
"""What the `lease_owner` of a command begins with; a worker's begins with the name of its host."""

_SECONDS = f"{LATEST.total_seconds():.0f} seconds"
LATEST_END = {
    POSTGRESQL: f"now() + interval '{_SECONDS}'",
    SQLITE: f"strftime('%Y-%m-%d %H:%M:%f', 'now', '+{_SECONDS}')",
}
"""The latest moment at which a lease, or a hold of a carrier's, can end: `worker.domain.clocks.lasts` as SQL."""


def is_free(dialect: str, row: str = "return_order") -> str:
    """Whether nobody holds `row`: no lease, one that is over, or one that was taken under a clock that was ahead."""
    until = f"{row}.lease_until"
    return f"({until} IS NULL OR {until} < {NOW[dialect]} OR {until} > {LATEST_END[dialect]})"


async def end_leases(database: Database) -> int:
    """On SQLite, whose file only one worker has open, end what workers before this one held; returns how many rows.

    `claims` stays: what killed them is tried alone. A command may be at work beside us, and keeps what it holds.
    """
    if database.file is None:
        return 0
    async with database.transaction() as connection:
        ended = await connection.execute(
            text(f"""UPDATE return_order SET lease_owner = NULL, lease_until = NULL
             WHERE due_at IS NOT NULL AND lease_owner NOT LIKE '{COMMAND}%'""")
        )
        return ended.rowcount
