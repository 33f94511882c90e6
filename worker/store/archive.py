"""Moves returns that are over into `archived_return`, and reads them there.

A return is moved with all that belongs to it, as one document, in one transaction with others: at every moment, and
whoever is killed, it is in exactly one of the two places. Returns that a worker holds, that are due for whatever reason
or that somebody asked something of stay; so do rows that somebody's open transaction locks.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlmodel import SQLModel, col

from worker.domain.lifecycle import State
from worker.store.columns import Document, Moment, UnreadableDocument, sqlite_text
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.queries import History, accounts_in
from worker.store.tables import ArchivedReturnRow, LabelRow, PackageRow, ReturnOrderRow, StatusTransitionRow

OVER = (State.COMPLETED, State.CANCELLED)
"""States in which a return can be archived. A rejected one is the shop's to put back, however old it is."""

_PARTS: dict[str, tuple[type[SQLModel], str]] = {
    "transitions": (StatusTransitionRow, "id"),
    "packages": (PackageRow, "position"),
    "labels": (LabelRow, "position"),
}
_STATES = ", ".join(f"'{state}'" for state in OVER)
_OVER = f"""r.state IN ({_STATES}) AND r.updated_at < :before AND (:account IS NULL OR r.account = :account)
   AND r.due_at IS NULL AND r.lease_owner IS NULL
   AND r.cancel_requested_at IS NULL AND r.retry_requested_at IS NULL"""
_POSTGRESQL_OVER = _OVER.replace(":account", "CAST(:account AS text)")

# No index leads to what is over. So that no statement takes long, however many returns stay where they are, each reads
# this many at most.
_WINDOW = 200_000
_WITHIN = "r.id > :after AND r.id <= :upto"
_CHOOSE = {
    POSTGRESQL: text(f"""
SELECT r.id FROM return_order r WHERE {_WITHIN} AND {_POSTGRESQL_OVER}
 ORDER BY r.id LIMIT :most FOR UPDATE SKIP LOCKED"""),
    SQLITE: text(f"SELECT r.id FROM return_order r WHERE {_WITHIN} AND {_OVER} ORDER BY r.id LIMIT :most"),
}
_COUNT = {
    POSTGRESQL: text(f"SELECT count(*) FROM return_order r WHERE {_WITHIN} AND {_POSTGRESQL_OVER}"),
    SQLITE: text(f"SELECT count(*) FROM return_order r WHERE {_WITHIN} AND {_OVER}"),
}
_NEWEST = text("SELECT coalesce(max(id), 0) FROM return_order")


def _columns(table: type[SQLModel]) -> list[Any]:
    return list(table.__table__.c)  # type: ignore[attr-defined]


def _postgresql_document() -> str:
    parts = ", ".join(
        f"""'{member}', coalesce((SELECT jsonb_agg(to_jsonb(p) ORDER BY p.{order})
             FROM {table.__tablename__} p WHERE p.return_order_id = o.id), '[]')"""
        for member, (table, order) in _PARTS.items()
    )
    return f"jsonb_build_object('order', to_jsonb(o), {parts})"


def _sqlite_row(table: type[SQLModel], row: str) -> str:
    """The row as a JSON object; a document that is no JSON, which SQLite may keep, is the text that it is."""
    members = (
        f"'{c.name}', CASE WHEN json_valid({row}.{c.name}) THEN json({row}.{c.name}) ELSE {row}.{c.name} END"
        if isinstance(c.type, Document)
        else f"'{c.name}', {row}.{c.name}"
        for c in _columns(table)
    )
    return f"json_object({', '.join(members)})"


def _sqlite_document() -> str:
    parts = ", ".join(
        f"""'{member}', json((SELECT json_group_array({_sqlite_row(table, "p")}) FROM (
             SELECT * FROM {table.__tablename__} WHERE return_order_id = o.id ORDER BY {order}) AS p))"""
        for member, (table, order) in _PARTS.items()
    )
    return f"json_object('order', {_sqlite_row(ReturnOrderRow, 'o')}, {parts})"


_IDS = {
    POSTGRESQL: "IN (SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:ids AS json)) AS value)",
    SQLITE: "IN (SELECT value FROM json_each(:ids))",
}
_DOCUMENT = {POSTGRESQL: _postgresql_document(), SQLITE: _sqlite_document()}
_KEEP = {
    dialect: text(f"""
INSERT INTO archived_return (id, account, reference, carrier_ref, ended_at, document)
SELECT o.id, o.account, o.reference, o.carrier_ref, o.updated_at, {document}
  FROM return_order o WHERE o.id {_IDS[dialect]}""")
    for dialect, document in _DOCUMENT.items()
}
# What belongs to them goes with them: by the foreign keys, on SQLite by a trigger too.
_REMOVE = {dialect: text(f"DELETE FROM return_order WHERE id {ids}") for dialect, ids in _IDS.items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """How many returns were moved in one transaction, up to which id they were looked for, and whether that was all."""

    count: int
    last: int
    finished: bool


@dataclass(frozen=True, slots=True)
class Archived:
    """An archived return: whose it is, since when, and all of it; None where its document was emptied since.

    `unreadable`: why its document, which is there, cannot be read.
    """

    account: str
    reference: str
    archived_at: datetime
    history: History | None
    unreadable: str | None = None


async def archive_batch(database: Database, before: datetime, account: str | None, after: int, most: int) -> Batch:
    """Archive up to `most` returns that were over `before`, with ids beyond `after`; of one account, or of all."""
    upto = after + _WINDOW
    values = _values(database, before, account) | {"after": after, "upto": upto, "most": most}
    async with database.transaction() as connection:
        newest = (await connection.execute(_NEWEST)).scalar_one()
        chosen = [row.id for row in await connection.execute(_CHOOSE[database.dialect], values)]
        if chosen:  # each statement by itself: rows that were waited for are read as they are now
            ids = {"ids": json.dumps(chosen)}
            await connection.execute(_KEEP[database.dialect], ids)
            await connection.execute(_REMOVE[database.dialect], ids)
    last = chosen[-1] if len(chosen) == most else upto
    return Batch(len(chosen), last, last >= newest)


async def count_over(database: Database, before: datetime, account: str | None) -> int:
    """How many returns could be archived."""
    values = _values(database, before, account)
    async with database.reading() as connection:
        newest = (await connection.execute(_NEWEST)).scalar_one()
        count = 0
        for after in range(0, newest, _WINDOW):
            window = values | {"after": after, "upto": after + _WINDOW}
            count += (await connection.execute(_COUNT[database.dialect], window)).scalar_one()
    return count


async def find_archived(database: Database, reference: str, account: str | None) -> list[Archived]:
    """The archived returns with this reference, of one account or of all."""
    statement = select(*_columns(ArchivedReturnRow)).order_by(col(ArchivedReturnRow.account))
    statement = statement.where(col(ArchivedReturnRow.reference) == reference)
    statement = statement.where(
        col(ArchivedReturnRow.account) == account
        if account is not None
        else col(ArchivedReturnRow.account).in_(accounts_in("archived_return"))
    )
    async with database.reading() as connection:
        rows = [ArchivedReturnRow(**row) for row in (await connection.execute(statement)).mappings()]
    return [
        Archived(row.account, row.reference, row.archived_at, _history(row), getattr(row.document, "why", None))
        for row in rows
    ]


def _values(database: Database, before: datetime, account: str | None) -> dict[str, Any]:
    return {"before": before if database.dialect == POSTGRESQL else sqlite_text(before), "account": account}


def _history(row: ArchivedReturnRow) -> History | None:
    if isinstance(row.document, UnreadableDocument) or "order" not in row.document:
        return None
    order = _read(ReturnOrderRow, row.document["order"] | {"account": row.account})
    transitions, packages, labels = (
        [_read(table, part) for part in row.document[member]] for member, (table, _) in _PARTS.items()
    )
    return History(order, transitions, packages, labels)


def _read(table: type[SQLModel], values: dict[str, Any]) -> Any:
    """A row as it was; a column that came later is None."""
    return table(**{c.name: _value(c, values.get(c.name)) for c in _columns(table)})


def _value(column: Any, value: Any) -> Any:
    if value is None or not isinstance(column.type, Moment):
        return value
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
