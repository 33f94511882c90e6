"""Which of an account's polls are due: what a sweep looks for in the carrier's list."""

from datetime import datetime

from sqlalchemy import Connection, text

from worker.store.claims import SEEN
from worker.store.columns import read_moment
from worker.store.dialect import NOW
from worker.store.transactions import reading

_DUE = {
    dialect: text(f"""
SELECT r.carrier_ref, r.due_at FROM return_order r
 WHERE {SEEN} AND r.next_step = 'track' AND r.due_at <= {now}
 ORDER BY r.due_at, r.id LIMIT :most""")
    for dialect, now in NOW.items()
}


@reading
def due_refs(connection: Connection, account: str, most: int) -> dict[str, datetime | None]:
    """The carrier's numbers of up to `most` returns whose poll is due, and since when, due longest first.

    Each could be taken now.
    """
    rows = connection.execute(_DUE[connection.dialect.name], {"account": account, "most": most})
    return {ref: read_moment(due_at) for ref, due_at in rows}
