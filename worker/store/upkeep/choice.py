"""Finds the returns that a person means, and takes them under a lease as a worker does, due or not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection, text
from sqlmodel import col

from worker.domain.lifecycle import State
from worker.domain.returns import ReturnOrder
from worker.store.accounts import database_now
from worker.store.claimed import Claimed
from worker.store.database import Database
from worker.store.dialect import AMONG_IDS, among
from worker.store.leases import is_free, taking_free
from worker.store.readable import read_rows, readable, take_rows
from worker.store.tables import ReturnOrderRow
from worker.store.transactions import reading
from worker.store.upkeep.history import filtered

_LOOK = {dialect: f"SELECT {{returned}} FROM return_order WHERE id {ids}" for dialect, ids in AMONG_IDS.items()}

# `due_at` may be NULL here: what a person deals with is mostly not due. The token is raised: who held the row
# before, and comes back to record, is too late.
_TAKE = {
    dialect: taking_free(
        dialect,
        f"SELECT r.id FROM return_order r WHERE r.id {ids} AND {is_free(dialect, 'r')} ORDER BY r.id",
        counted=False,
    )
    for dialect, ids in AMONG_IDS.items()
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which returns are meant; a filter that is empty does not count. `older_than`: recorded last so long ago."""

    account: str | None = None
    states: Sequence[State] = ()
    error_code: str | None = None
    older_than: timedelta | None = None
    limit: int | None = None

    def means(self, order: ReturnOrder) -> bool:
        """Whether a return is still what it was chosen for: a worker may have recorded something since."""
        if self.states and order.state not in self.states:
            return False
        return self.error_code is None or order.error_code == self.error_code


async def choose(database: Database, choice: Choice) -> list[int]:
    """The ids of the returns that are meant, the oldest first; nothing is done any more about one that is erased."""
    statement = filtered([col(ReturnOrderRow.id)], choice.account, choice.states).limit(choice.limit)
    statement = statement.where(col(ReturnOrderRow.erased_at).is_(None))
    if choice.error_code is not None:
        statement = statement.where(col(ReturnOrderRow.error_code) == choice.error_code)
    if choice.older_than is not None:
        before = await database_now(database) - choice.older_than
        statement = statement.where(col(ReturnOrderRow.updated_at) < before)
    return await database.reading(lambda connection: list(connection.execute(statement).scalars()))


async def look_at(database: Database, ids: Sequence[int]) -> list[Claimed]:
    """The returns as they are, without taking them."""
    look = partial(read_rows, _LOOK, {"ids": json.dumps(list(ids))})
    return sorted(await readable(database, database.reading, look), key=lambda claimed: claimed.order.id)


async def take(database: Database, ids: Sequence[int], owner: str, lease: timedelta) -> list[Claimed]:
    """Those of the returns that nobody holds, under a lease; it counts as no claim of theirs."""
    return await take_rows(database, _TAKE, {"ids": json.dumps(list(ids))}, owner, lease)


_HOLDERS = {
    dialect: text(
        " UNION ALL ".join(
            f"SELECT carrier_ref, reference FROM {table}"
            f" WHERE account = :account AND carrier_ref IS NOT NULL AND carrier_ref {among(dialect, 'numbers', 'text')}"
            for table in ("return_order", "archived_return")
        )
    )
    for dialect in AMONG_IDS
}


@reading
def holders_of(connection: Connection, account: str, numbers: Sequence[str]) -> dict[str, str]:
    """Which of these numbers of the carrier's returns of an account have, archived or not, each with its reference."""
    values = {"account": account, "numbers": json.dumps(list(numbers))}
    rows = connection.execute(_HOLDERS[connection.dialect.name], values)
    return {row.carrier_ref: row.reference for row in rows}
