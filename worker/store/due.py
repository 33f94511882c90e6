"""Which of an account's polls are due: what a sweep looks for in the carrier's list."""

from sqlalchemy import text

from worker.store.claims import SEEN
from worker.store.database import POSTGRESQL, SQLITE, Database

_DUE = {
    dialect: text(f"""
SELECT r.carrier_ref FROM return_order r
 WHERE {SEEN.format("r")} AND r.next_step = 'track' AND r.due_at <= {now}
 ORDER BY r.due_at, r.id LIMIT :most""")
    for dialect, now in ((POSTGRESQL, "now()"), (SQLITE, "strftime('%Y-%m-%d %H:%M:%f', 'now')"))
}


async def due_refs(database: Database, account: str, most: int) -> list[str]:
    """The carrier's numbers of up to `most` returns whose poll is due, due longest first; each could be taken now."""
    async with database.reading() as connection:
        return list((await connection.execute(_DUE[database.dialect], {"account": account, "most": most})).scalars())
