"""Inserts returns the way a shop does, for the command line."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.sql.elements import TextClause

from worker.store.database import Database
from worker.store.dialect import POSTGRESQL, SQLITE, json_rows
from worker.store.failures import refusal_of
from worker.store.refusals import RowsKept, in_pieces, refused_as
from worker.store.transactions import in_transaction

_AT_ONCE = 500  # rows of a statement
_SIZE_AT_ONCE = 4_000_000  # characters of their payloads, give or take the last one's
_NAMED = 100


@dataclass(frozen=True, slots=True)
class NewReturn:
    """What a shop writes: the account's name, its own reference, and the payload."""

    account: str
    reference: str
    payload: dict[str, Any]


class AlreadyThere(Exception):
    """`count` references exist already, archived or not; `references` has the first of them. Nothing was inserted."""

    def __init__(self, references: tuple[str, ...], count: int) -> None:
        super().__init__(f"already there: {', '.join(references)}")
        self.references, self.count = references, count


class InsertRefused(Exception):
    """The database takes no such return; the message names it and says why, and nothing was inserted."""


class _BatchRefused(Exception):
    def __init__(self, batch: Sequence[NewReturn], why: str) -> None:
        super().__init__(why)
        self.batch, self.why = batch, why


async def insert_returns(
    database: Database,
    returns: Iterable[NewReturn],
    *,
    skip_existing: bool = False,
    tell: Callable[[int], None] = lambda done: None,
) -> int:
    """Insert all of them or none; returns how many are new. `tell` is told how many were worked through.

    Raises `AlreadyThere` when a reference exists in its account, unless existing ones shall be skipped, and
    `InsertRefused`.
    """
    try:
        with refused_as(InsertRefused):  # a rule that is asked when all of them are committed
            return await _insert_all(database, returns, skip_existing, tell)
    except _BatchRefused as refused:
        await _name_refused(database, refused)
        raise


async def insert_some(
    database: Database, returns: Sequence[NewReturn]
) -> tuple[list[NewReturn], list[tuple[NewReturn, str]]]:
    """Insert those that can be; returns those that were there already, and those that the database refuses, and why."""
    there: list[NewReturn] = []

    async def insert(some: Sequence[NewReturn]) -> None:
        there.extend(await _insert_batch(database, some))

    refused = [each for batch in _batches(returns) for each in await in_pieces(batch, insert)]
    return there, refused


@in_transaction
def _insert_all(
    connection: Connection, returns: Iterable[NewReturn], skip_existing: bool, tell: Callable[[int], None]
) -> int:
    existing: list[str] = []
    done = there = 0
    for batch in _batches(returns):
        try:
            found = _insert(connection, batch)
        except Exception as error:
            why = _why_refused(error)
            if why is None:
                raise
            raise _BatchRefused(batch, why) from error
        there += len(found)
        existing = [*existing, *(each.reference for each in found)][:_NAMED]
        done += len(batch)
        tell(done)
    if there and not skip_existing:
        raise AlreadyThere(tuple(existing), there)
    return done - there


@in_transaction
def _name_refused(connection: Connection, refused: "_BatchRefused") -> None:
    """Raise `InsertRefused` for the first row that the database refuses by itself; it keeps none of the others.

    A savepoint before each batch would have named it at once, and made everybody else's reads slower: PostgreSQL keeps
    64 subtransactions of a transaction in memory (https://www.postgresql.org/docs/current/subxacts.html).
    """
    for new in refused.batch:
        try:
            _insert(connection, [new])
        except Exception as error:
            why = _why_refused(error)
            if why is None:
                raise
            raise InsertRefused(f"{new.reference}: {why}") from error
    raise InsertRefused(refused.why)


def _why_refused(error: Exception) -> str | None:
    return str(error) if isinstance(error, RowsKept) else refusal_of(error)


def _insert(connection: Connection, batch: Sequence[NewReturn]) -> list[NewReturn]:
    """Insert what is not there; returns what is. Raises `RowsKept` where neither becomes of one."""
    rows = [
        {"place": place, "account": new.account, "reference": new.reference, "payload": json.dumps(new.payload)}
        for place, new in enumerate(batch)
    ]
    dialect, values = connection.dialect.name, {"rows": json.dumps(rows)}
    inserted = {tuple(row) for row in connection.execute(_INSERT[dialect], values)}
    if len(inserted) == len(batch):
        return []
    there = {tuple(row) for row in connection.execute(_ARE_THERE[dialect], values)}
    left: list[NewReturn] = []
    for new in batch:
        key = (new.account, new.reference)
        if key in inserted:
            inserted.remove(key)  # one that comes a second time is there by now
        elif key in there:
            left.append(new)
        else:
            raise RowsKept
    return left


_insert_batch = in_transaction(_insert)


def _batches(returns: Iterable[NewReturn]) -> Iterator[list[NewReturn]]:
    batch: list[NewReturn] = []
    size = 0
    for new in returns:
        batch.append(new)
        size += len(str(new.payload))
        if len(batch) == _AT_ONCE or size >= _SIZE_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


_COLUMNS = {"place": "integer", "account": "text", "reference": "text", "payload": "text"}


def _insert_statement(dialect: str, payload: str) -> TextClause:
    return text(f"""INSERT INTO return_order (account, reference, payload)
      SELECT n.account, n.reference, {payload} FROM {json_rows(dialect, "rows", _COLUMNS, "n")}
       WHERE NOT EXISTS (
        SELECT 1 FROM archived_return a WHERE a.account = n.account AND a.reference = n.reference) ORDER BY n.place
      ON CONFLICT (account, reference) DO NOTHING RETURNING account, reference""")


_INSERT = {
    POSTGRESQL: _insert_statement(POSTGRESQL, "CAST(n.payload AS jsonb)"),
    SQLITE: _insert_statement(SQLITE, "n.payload"),
}
_ARE_THERE = {
    dialect: text(
        " UNION ALL ".join(
            f"SELECT t.account, t.reference FROM {json_rows(dialect, 'rows', _COLUMNS, 'n')}"
            f" JOIN {table} t ON t.account = n.account AND t.reference = n.reference"
            for table in ("return_order", "archived_return")
        )
    )
    for dialect in _INSERT
}
