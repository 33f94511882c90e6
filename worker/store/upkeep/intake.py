"""Inserts returns the way a shop does, for the command line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.sql.elements import TextClause

from worker.store.database import Database
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.refusals import RowsKept, refused_as
from worker.store.transactions import in_transaction


@dataclass(frozen=True, slots=True)
class NewReturn:
    """What a shop writes: the account's name, its own reference, and the payload."""

    account: str
    reference: str
    payload: dict[str, Any]


class AlreadyThere(Exception):
    """Some references exist already, archived or not; `references` names them, and nothing was inserted."""

    def __init__(self, references: tuple[str, ...]) -> None:
        super().__init__(f"already there: {', '.join(references)}")
        self.references = references


class InsertRefused(Exception):
    """The database takes no such return; the message names it and says why, and nothing was inserted."""


async def insert_returns(database: Database, returns: Sequence[NewReturn], *, skip_existing: bool = False) -> int:
    """Insert all of them or none; returns how many are new.

    Raises `AlreadyThere` when a reference exists in its account, unless existing ones shall be skipped, and
    `InsertRefused`.
    """
    with refused_as(InsertRefused):  # by a rule that is asked when all of them are committed
        return await _insert_all(database, returns, skip_existing)


@in_transaction
def _insert_all(connection: Connection, returns: Sequence[NewReturn], skip_existing: bool) -> int:
    existing: list[str] = []
    for new in returns:
        values = {"account": new.account, "reference": new.reference, "payload": json.dumps(new.payload)}
        with refused_as(InsertRefused, new.reference):
            inserted = connection.execute(_INSERT[connection.dialect.name], values).first()
        if inserted is None and not connection.execute(_IS_THERE, values).first():
            raise InsertRefused(f"{new.reference}: {RowsKept()}")
        if inserted is None:
            existing.append(new.reference)
    if existing and not skip_existing:
        raise AlreadyThere(tuple(existing))
    return len(returns) - len(existing)


def _insert(account: str, reference: str, payload: str) -> TextClause:
    return text(f"""INSERT INTO return_order (account, reference, payload)
      SELECT {account}, {reference}, {payload} WHERE NOT EXISTS (
        SELECT 1 FROM archived_return a WHERE a.account = {account} AND a.reference = {reference})
      ON CONFLICT (account, reference) DO NOTHING RETURNING id""")


_INSERT = {
    POSTGRESQL: _insert("CAST(:account AS text)", "CAST(:reference AS text)", "CAST(:payload AS jsonb)"),
    SQLITE: _insert(":account", ":reference", ":payload"),
}
_IS_THERE = text(
    " UNION ALL ".join(
        f"SELECT 1 FROM {table} WHERE account = :account AND reference = :reference"
        for table in ("return_order", "archived_return")
    )
)
