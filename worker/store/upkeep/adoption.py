"""Puts returns in that are at the carrier already: each is inserted and recorded in one transaction, all or none."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from worker.domain.decision import Decision
from worker.domain.returns import ReturnOrder
from worker.store.columns import read_moment
from worker.store.database import Database
from worker.store.dialect import NOW, POSTGRESQL, json_rows, later
from worker.store.records import record_within
from worker.store.refusals import RowsKept, refused_as
from worker.store.transactions import in_transaction, reading
from worker.store.upkeep.intake import InsertRefused, NewReturn

_AT_ONCE = 500  # returns in one statement

_INSERT = {
    dialect: text(f"""
INSERT INTO return_order (account, reference, payload, adopt_carrier_ref)
VALUES (:account, :reference, {"CAST(:payload AS jsonb)" if dialect == POSTGRESQL else ":payload"}, :carrier_ref)
RETURNING id, shop_changes, created_at""")
    for dialect in NOW
}
# No worker sees the lease: it is over with the transaction. What is recorded has to be under one.
_LEASE = {
    dialect: text(f"""
UPDATE return_order SET lease_owner = :owner, lease_until = {later(dialect, "60")}, lease_token = 1 WHERE id = :id""")
    for dialect in NOW
}
_THERE = {
    dialect: text(
        " UNION ALL ".join(
            f"""SELECT r.account, r.reference, {key} AS id FROM {table} r
  JOIN {json_rows(dialect, "wanted", {"account": "text", "reference": "text"}, "w")}
    ON r.account = w.account AND r.reference = w.reference"""
            for table, key in (("return_order", "r.id"), ("archived_return", "NULL"))
        )
    )
    for dialect in NOW
}


@dataclass(frozen=True, slots=True)
class Adoption:
    """A return to put in, the carrier's number of it, and what becomes of its row, at the database's time."""

    new: NewReturn
    carrier_ref: str
    decide: Callable[[ReturnOrder, datetime], Decision]


async def insert_adopted(database: Database, adoptions: Sequence[Adoption], owner: str) -> list[Decision]:
    """Put all of them in, or none; returns what became of each.

    Raises `CarrierRefTaken`, and `InsertRefused` where the database takes one of them not.
    """
    with refused_as(InsertRefused):  # by a rule that is asked when all of them are committed
        return await _insert_all(database, adoptions, owner)


@in_transaction
def _insert_all(connection: Connection, adoptions: Sequence[Adoption], owner: str) -> list[Decision]:
    decided: list[Decision] = []
    for start in range(0, len(adoptions), _AT_ONCE):
        made = [_inserted(connection, each, owner) for each in adoptions[start : start + _AT_ONCE]]
        if len(record_within(connection, made)) < len(made):
            raise InsertRefused(str(RowsKept()))
        decided += [decision for _, decision in made]
    return decided


def _inserted(connection: Connection, adoption: Adoption, owner: str) -> tuple[ReturnOrder, Decision]:
    dialect, new = connection.dialect.name, adoption.new
    values = {"account": new.account, "reference": new.reference, "payload": json.dumps(new.payload)}
    with refused_as(InsertRefused, new.reference):
        row = connection.execute(_INSERT[dialect], values | {"carrier_ref": adoption.carrier_ref}).first()
    if row is None:
        raise InsertRefused(f"{new.reference}: {RowsKept()}")
    connection.execute(_LEASE[dialect], {"id": row.id, "owner": owner})
    now = read_moment(row.created_at)
    order = ReturnOrder(
        id=row.id,
        account=new.account,
        reference=new.reference,
        adopt_carrier_ref=adoption.carrier_ref,
        due_at=now,
        shop_changes=row.shop_changes,
        lease_token=1,
        created_at=now,
    )
    return order, adoption.decide(order, now)


@reading
def find_there(connection: Connection, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int | None]:
    """Which of these accounts and references there are, each with its id, None where it is archived."""
    found: dict[tuple[str, str], int | None] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = [{"account": account, "reference": name} for account, name in wanted[start : start + _AT_ONCE]]
        rows = connection.execute(_THERE[connection.dialect.name], {"wanted": json.dumps(some)})
        found |= {(row.account, row.reference): row.id for row in rows}
    return found
