"""Inserts returns the way a shop does, for the command line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exc, text

from worker.store.database import Database
from worker.store.dialect import POSTGRESQL
from worker.store.failures import first_line


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


class PayloadRefused(Exception):
    """The database takes no such payload; the message names the return, and nothing was inserted."""


async def insert_returns(database: Database, returns: Sequence[NewReturn], *, skip_existing: bool = False) -> int:
    """Insert all of them or none; returns how many are new.

    Raises `AlreadyThere` when a reference exists in its account, unless existing ones shall be skipped, and
    `PayloadRefused`.
    """
    cast = "CAST(:payload AS jsonb)" if database.dialect == POSTGRESQL else ":payload"
    kind = "CAST({} AS text)" if database.dialect == POSTGRESQL else "{}"
    account, reference = kind.format(":account"), kind.format(":reference")
    statement = text(f"""INSERT INTO return_order (account, reference, payload)
      SELECT {account}, {reference}, {cast} WHERE NOT EXISTS (
        SELECT 1 FROM archived_return a WHERE a.account = {account} AND a.reference = {reference})
      ON CONFLICT (account, reference) DO NOTHING RETURNING id""")
    existing: list[str] = []
    async with database.transaction() as connection:
        for new in returns:
            values = {"account": new.account, "reference": new.reference, "payload": json.dumps(new.payload)}
            try:
                inserted = (await connection.execute(statement, values)).first()
            except exc.DBAPIError as error:
                if "payload" not in first_line(error):
                    raise
                raise PayloadRefused(f"{new.reference}: {first_line(error)}") from error
            if inserted is None:
                existing.append(new.reference)
        if existing and not skip_existing:
            await connection.rollback()
            raise AlreadyThere(tuple(existing))
    return len(returns) - len(existing)
