"""Moves returns that are over into `archived_return`, and reads them there.

A return is moved with all that belongs to it, as one document, in one transaction with others: at every moment, and
whatever is killed, it is in exactly one of the two places. Returns that a worker holds, that are due for any reason
or that somebody asked something of stay; so do rows that somebody's open transaction locks, that rows of somebody else
refer to, or that the database does not let go.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, select, text
from sqlmodel import SQLModel, col

from worker.domain.lifecycle import State
from worker.store.columns import Document, Moment, UnreadableDocument, bound, columns_of
from worker.store.database import Database
from worker.store.dialect import AMONG_IDS, POSTGRESQL, SKIP_LOCKED, SQLITE
from worker.store.refusals import RowsKept, in_pieces
from worker.store.tables import ArchivedReturnRow, LabelRow, PackageRow, ReturnOrderRow, StatusTransitionRow
from worker.store.transactions import in_transaction, reading
from worker.store.upkeep.history import History, accounts_in
from worker.store.upkeep.referring import ForeignKey, foreign_keys, referred

OVER = (State.COMPLETED, State.CANCELLED)
"""States in which a return can be archived. A rejected one is the shop's to put back, unless it is erased."""

_PARTS: dict[str, tuple[type[SQLModel], str]] = {
    "transitions": (StatusTransitionRow, "id"),
    "packages": (PackageRow, "position"),
    "labels": (LabelRow, "position"),
}
_STATES = ", ".join(f"'{state}'" for state in OVER)
_OVER = f"""(r.state IN ({_STATES}) OR r.erased_at IS NOT NULL)
   AND r.updated_at < :before AND (:account IS NULL OR r.account = :account)
   AND r.due_at IS NULL AND r.lease_owner IS NULL
   AND r.cancel_requested_at IS NULL AND r.retry_requested_at IS NULL"""

# No index leads to what is over. So that no statement takes long, however many returns stay where they are, each reads
# this many at most.
_WINDOW = 200_000
_WITHIN = "r.id > :after AND r.id <= :upto"
_LOOKED_AT = 200  # returns at once
_OVER_ON = {POSTGRESQL: _OVER.replace(":account", "CAST(:account AS text)"), SQLITE: _OVER}
_CHOOSE = {
    dialect: text(
        f"SELECT r.id, r.reference FROM return_order r WHERE {_WITHIN} AND {over} ORDER BY r.id LIMIT {_LOOKED_AT}"
    )
    for dialect, over in _OVER_ON.items()
}
# Once more, of the chosen ones: since the look at them somebody may have asked something of one, or locked it.
_STILL = "SELECT r.id FROM return_order r WHERE r.id {among} AND {over} ORDER BY r.id"
_TAKE = {
    dialect: text(_STILL.format(among=AMONG_IDS[dialect], over=over) + SKIP_LOCKED[dialect])
    for dialect, over in _OVER_ON.items()
}
# What hides rows from us must not hide what refers to ours: then it is an error.
_SEE_ALL = text("SELECT set_config('row_security', 'off', true)")
_NEWEST = text("SELECT coalesce(max(id), 0) FROM return_order")


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
        for c in columns_of(table)
    )
    return f"json_object({', '.join(members)})"


def _sqlite_document() -> str:
    parts = ", ".join(
        f"""'{member}', json((SELECT json_group_array({_sqlite_row(table, "p")}) FROM (
             SELECT * FROM {table.__tablename__} WHERE return_order_id = o.id ORDER BY {order}) AS p))"""
        for member, (table, order) in _PARTS.items()
    )
    return f"json_object('order', {_sqlite_row(ReturnOrderRow, 'o')}, {parts})"


_DOCUMENT = {POSTGRESQL: _postgresql_document(), SQLITE: _sqlite_document()}
_KEEP = {
    dialect: text(f"""
INSERT INTO archived_return (id, account, reference, carrier_ref, ended_at, erased_at, files_removed_at, document)
SELECT o.id, o.account, o.reference, o.carrier_ref, o.updated_at, o.erased_at, o.files_removed_at, {document}
  FROM return_order o WHERE o.id {AMONG_IDS[dialect]}""")
    for dialect, document in _DOCUMENT.items()
}
# What belongs to them goes with them: by the foreign keys, on SQLite by a trigger too.
_REMOVE = {dialect: text(f"DELETE FROM return_order WHERE id {ids}") for dialect, ids in AMONG_IDS.items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """How many returns were moved, up to which id they were looked for, and whether that was all.

    `referred`: those that stay since something refers to them, each with what. `refused`: those that the database did
    not let go, each with what it says.
    """

    count: int
    last: int
    finished: bool
    referred: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Archived:
    """An archived return: whose it is, since when, and all of it; None where its document was emptied by hand since.

    `unreadable`: why its document, which is there, cannot be read.
    """

    account: str
    reference: str
    archived_at: datetime
    history: History | None
    unreadable: str | None = None
    id: int = 0
    erased_at: datetime | None = None


async def archive_batch(database: Database, before: datetime, account: str | None, after: int, most: int) -> Batch:
    """Archive up to `most` returns that were over `before`, with ids beyond `after`; of one account, or of all.

    Returns that rows of somebody else refer to stay where they are, whatever their foreign key says of a deletion.
    """
    upto = after + _WINDOW
    values = _values(database.dialect, before, account)
    moved: list[int] = []
    newest, chosen, keys, kept = await _chosen(database, values | {"after": after, "upto": upto})

    async def move(rows: Sequence[Any]) -> None:
        moved.extend(await _move(database, keys, values, [row.id for row in rows]))

    free = [row for row in chosen if row.id not in kept]
    taken, is_cut = free[:most], len(free) > most
    refused = await in_pieces(taken, move)
    last = taken[-1].id if is_cut else chosen[-1].id if len(chosen) == _LOOKED_AT else upto
    return Batch(
        len(moved),
        last,
        last >= newest,
        tuple((row.reference, str(kept[row.id])) for row in chosen if row.id in kept and row.id <= last),
        tuple((row.reference, why) for row, why in refused),
    )


@reading
def _chosen(
    connection: Connection, values: dict[str, Any]
) -> tuple[int, Sequence[Any], list[ForeignKey], dict[int, ForeignKey]]:
    """The newest id, returns that could be moved, who may refer to them, and by which of those each is referred to."""
    newest = connection.execute(_NEWEST).scalar_one()
    chosen = connection.execute(_CHOOSE[connection.dialect.name], values).all()
    keys = foreign_keys(connection) if chosen else []
    return newest, chosen, keys, referred(connection, keys, [row.id for row in chosen])


@in_transaction
def _move(connection: Connection, keys: Sequence[ForeignKey], values: dict[str, Any], wanted: list[int]) -> list[int]:
    """Move those that are still over and free; each statement by itself sees what was waited for as it is now."""
    dialect = connection.dialect.name
    if dialect == POSTGRESQL:
        connection.execute(_SEE_ALL)
    found = connection.execute(_TAKE[dialect], values | {"ids": json.dumps(wanted)})
    taken = [row.id for row in found]
    kept = referred(connection, keys, taken, lock=True)
    ids = [order_id for order_id in taken if order_id not in kept]
    for change in (_KEEP, _REMOVE) if ids else ():
        if connection.execute(change[dialect], {"ids": json.dumps(ids)}).rowcount != len(ids):
            raise RowsKept  # one would be in both places, or in none
    return ids


@reading
def count_over(connection: Connection, before: datetime, account: str | None) -> tuple[int, dict[str, int]]:
    """How many returns could be archived, and how many of those that are over stay, by what refers to them."""
    dialect = connection.dialect.name
    values = _values(dialect, before, account)
    keys = foreign_keys(connection)
    # By the first key that refers to each, so that none is counted twice; else by none.
    which = "".join(f" WHEN {key.refers_to('r')} THEN {number}" for number, key in enumerate(keys))
    counting = text(
        f"SELECT {f'CASE{which} END' if keys else 'NULL'} AS by, count(*) AS found"
        f" FROM return_order r WHERE {_WITHIN} AND {_OVER_ON[dialect]} GROUP BY 1"
    )
    counts: Counter[str | None] = Counter()
    for after in range(0, connection.execute(_NEWEST).scalar_one(), _WINDOW):
        for row in connection.execute(counting, values | {"after": after, "upto": after + _WINDOW}):
            counts[None if row.by is None else str(keys[row.by])] += row.found
    free = counts.pop(None, 0)
    return free, {str(key): count for key, count in counts.items()}


@reading
def find_archived(connection: Connection, reference: str, account: str | None) -> list[Archived]:
    """The archived returns with this reference, of one account or of all."""
    statement = select(*columns_of(ArchivedReturnRow)).order_by(col(ArchivedReturnRow.account))
    statement = statement.where(col(ArchivedReturnRow.reference) == reference)
    statement = statement.where(
        col(ArchivedReturnRow.account) == account
        if account is not None
        else col(ArchivedReturnRow.account).in_(accounts_in("archived_return"))
    )
    return _archived(connection, statement)


@reading
def archived_since(connection: Connection, since: datetime, after: int, most: int) -> list[Archived]:
    """The first `most` archived returns beyond the id `after` that something happened to `since` then, by id."""
    statement = select(*columns_of(ArchivedReturnRow)).order_by(col(ArchivedReturnRow.id)).limit(most)
    statement = statement.where(col(ArchivedReturnRow.id) > after, col(ArchivedReturnRow.ended_at) >= since)
    return _archived(connection, statement)


def _archived(connection: Connection, statement: Select[Any]) -> list[Archived]:
    rows = [ArchivedReturnRow(**row) for row in connection.execute(statement).mappings()]
    return [
        Archived(
            *(row.account, row.reference, row.archived_at, _history(row), getattr(row.document, "why", None)),
            *(row.id, row.erased_at),
        )
        for row in rows
    ]


def _values(dialect: str, before: datetime, account: str | None) -> dict[str, Any]:
    return {"before": bound(dialect, before), "account": account}


def _history(row: ArchivedReturnRow) -> History | None:
    if isinstance(row.document, UnreadableDocument) or "order" not in row.document:
        return None
    order = _read(ReturnOrderRow, row.document["order"] | {"account": row.account})
    transitions, packages, labels = (
        [_read(table, part) for part in row.document[member]] for member, (table, _) in _PARTS.items()
    )
    order.erased_at, order.files_removed_at = row.erased_at, row.files_removed_at
    for label in labels:
        label.removed_at = label.removed_at or row.erased_at or row.files_removed_at
    if row.erased_by is not None:  # nothing is added to a document
        line = {"return_order_id": row.id, "field": "state", "old_value": order.state, "new_value": order.state}
        line |= {"observed_at": row.erased_at and row.erased_at.isoformat(), "reason": row.erased_by}
        transitions.append(_read(StatusTransitionRow, line))
    return History(order, transitions, packages, labels)


def _read(table: type[SQLModel], values: dict[str, Any]) -> Any:
    """A row as it was; a column that came later is None."""
    return table(**{c.name: _value(c, values.get(c.name)) for c in columns_of(table)})


def _value(column: Any, value: Any) -> Any:
    if value is None or not isinstance(column.type, Moment):
        return value
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
