"""Whether somebody holds a row, and how it is taken, as SQL; and the end of leases whose holder is surely gone."""

import os
import socket
import uuid

from sqlalchemy import Connection, text

from worker.domain.clocks import LATEST
from worker.store.database import Database
from worker.store.dialect import NOW, POSTGRESQL, SQLITE, later
from worker.store.durability import DURABLY
from worker.store.transactions import in_transaction

COMMAND = "command:"
"""What the `lease_owner` of a command begins with; a worker's begins with the name of its host."""

LATEST_END = {dialect: later(dialect, f"{LATEST.total_seconds():.0f}") for dialect in NOW}
"""The latest moment at which a lease, or a hold of a carrier's, can end: `worker.domain.clocks.lasts` as SQL."""


def owner_of_command() -> str:
    """What a lease that a person's command, or a page's button, takes is signed with: another one each time."""
    return f"{COMMAND}{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def is_free(dialect: str, row: str = "return_order") -> str:
    """Whether nobody holds `row`: no lease, one that is over, or one that was taken under a clock that was ahead."""
    until = f"{row}.lease_until"
    return f"({until} IS NULL OR {until} < {NOW[dialect]} OR {until} > {LATEST_END[dialect]})"


def taking(dialect: str, ids: str, *, counted: bool = True) -> str:
    """The statement that takes the rows whose `id` is what `ids` says, by `:owner` for `:lease` seconds.

    It gives `{returned}` back. DURABLY: a token that a crash takes back would be given twice, and one holder would undo
    what the other has begun.
    """
    return f"""UPDATE return_order SET lease_owner = :owner, lease_until = {later(dialect, ":lease")},
       lease_token = lease_token + 1{", claims = claims + 1" if counted else ""}
 WHERE id {ids}{f" AND {DURABLY}" if dialect == POSTGRESQL else ""}
RETURNING {{returned}}"""


def taking_free(dialect: str, chosen: str, *, counted: bool = True) -> str:
    """The same for the ids of a query for rows `r`, but for those that somebody's open transaction locks.

    ANY (ARRAY(...)): the planner cannot know how few rows it finds, and would join with the whole table.
    """
    if dialect == SQLITE:
        return taking(dialect, f"IN ({chosen})", counted=counted)
    return f"""WITH taken AS MATERIALIZED ({chosen} FOR UPDATE OF r SKIP LOCKED)
{taking(dialect, "= ANY (ARRAY(SELECT taken.id FROM taken))", counted=counted)}"""


async def end_leases(database: Database) -> int:
    """On SQLite, whose file only one worker has open, end what workers before this one held; returns how many rows.

    `claims` stays: what killed them is tried alone. A command may be at work beside us, and keeps what it holds. Of
    webhooks only workers hold any.
    """
    return 0 if database.file is None else await _end_leases(database)


@in_transaction
def _end_leases(connection: Connection) -> int:
    connection.execute(text("UPDATE news_subscriber SET lease_owner = NULL, lease_until = NULL"))
    ended = connection.execute(
        text(f"""UPDATE return_order SET lease_owner = NULL, lease_until = NULL
         WHERE due_at IS NOT NULL AND lease_owner NOT LIKE '{COMMAND}%'""")
    )
    return ended.rowcount
