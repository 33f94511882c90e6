"""What we recorded of orders at a carrier: the newest numbers, and whose return has a number or bears a reference.

Both are for a look-up, whose absence they must prove. Both read little however many returns there are: the first the
newest lines of the history, since no index knows when a number was recorded; the second by unique indexes.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.lookup import Owner, Recorded
from worker.domain.tracking import TrackingStatus
from worker.store.columns import bound, read_moment
from worker.store.dialect import POSTGRESQL, SQLITE, json_values
from worker.store.transactions import reading

_LINES = 5000
"""The newest lines of the history that are looked through: the creations of minutes when every account works at its
limit, of days in most shops."""
_MOST = 20  # numbers; a list that shows the newest ones shows the others too

# A number that the carrier may have deleted since is no evidence: one that we withdrew or that somebody asked to
# withdraw, one that the carrier says it has not, one whose shipments it cancelled. Nor is one that a person typed in,
# nor one that was adopted: it may be old, and stand far down in the list.
_STILL_THERE = f"""r.carrier_ref IS NOT NULL AND r.adopt_carrier_ref IS NULL AND r.cancel_requested_at IS NULL
   AND r.state IN ('{State.TRACKING}', '{State.COMPLETED}', '{State.NEEDS_ATTENTION}')
   AND coalesce(r.error_code, '') <> '{ErrorCode.CARRIER_LOST_IT}'
   AND coalesce(r.tracking_status, '') <> '{TrackingStatus.CANCELLED}'"""
_CREATED = f"t.field = 'state' AND t.old_value = '{State.PENDING}' AND t.new_value = '{State.TRACKING}'"


def _recorded(dialect: str) -> str:
    """Line by line from the newest on, until there are enough: CROSS JOIN keeps SQLite to it, LATERAL PostgreSQL."""
    row = "SELECT r.* FROM return_order r WHERE r.id = t.return_order_id"
    order = f"LATERAL ({row} OFFSET 0) AS r" if dialect == POSTGRESQL else "return_order AS r"
    joined = "" if dialect == POSTGRESQL else "r.id = t.return_order_id AND"
    return f"""
SELECT r.carrier_ref, r.create_started_at FROM (
  SELECT id, return_order_id, field, old_value, new_value FROM status_transition ORDER BY id DESC LIMIT {_LINES}
) AS t CROSS JOIN {order}
 WHERE {joined} {_CREATED} AND r.account IN (SELECT a.value FROM {json_values(dialect, "accounts")} AS a)
   AND r.create_started_at >= :since AND {_STILL_THERE}
 ORDER BY t.id DESC LIMIT {_MOST}"""


def _owners(dialect: str) -> str:
    """Each number, and each reference, in each account: one look into a unique index, and never a join of tables."""
    return " UNION ".join(
        _owners_in(dialect, table, column, accounts, wanted)
        for column, accounts, wanted in (("carrier_ref", "near", "numbers"), ("reference", "same_key", "references"))
        for table in ("return_order", "archived_return")
    )


def _owners_in(dialect: str, table: str, column: str, accounts: str, wanted: str) -> str:
    rows = f"SELECT r.account, r.reference, r.carrier_ref FROM {table} AS r"
    mine = f"r.account = a.value AND r.{column} = w.value AND r.id <> :id"
    each = f"{json_values(dialect, accounts)} AS a CROSS JOIN {json_values(dialect, wanted)} AS w"
    if dialect == POSTGRESQL:
        return f"SELECT o.* FROM {each} CROSS JOIN LATERAL ({rows} WHERE {mine} OFFSET 0) AS o"
    return f"SELECT r.account, r.reference, r.carrier_ref FROM {each} CROSS JOIN {table} AS r WHERE {mine}"


_RECORDED = {dialect: text(_recorded(dialect)) for dialect in (POSTGRESQL, SQLITE)}
_OWNERS = {dialect: text(_owners(dialect)) for dialect in (POSTGRESQL, SQLITE)}


@reading
def read_recorded(connection: Connection, accounts: Sequence[str], since: datetime) -> tuple[Recorded, ...]:
    """The newest numbers that workers recorded for `accounts` with creations begun from `since` on, newest first.

    As far as the newest lines of the history go; numbers that may be gone at the carrier are left out.
    """
    parameters = {"accounts": json.dumps(list(accounts)), "since": bound(connection.dialect.name, since)}
    rows = connection.execute(_RECORDED[connection.dialect.name], parameters).all()
    return tuple(
        Recorded(row.carrier_ref, started_at)
        for row in rows
        if (started_at := read_moment(row.create_started_at)) is not None
    )


@reading
def read_owners(
    connection: Connection,
    order_id: int,
    *,
    near: Sequence[str],
    same_key: Sequence[str],
    numbers: Collection[str],
    references: Collection[str],
) -> tuple[Owner, ...]:
    """The returns, other than `order_id`, that have one of the numbers in an account of `near`, archived ones too.

    Of the accounts of `same_key` also those that bear one of the references. Nothing is asked where there is nothing.
    """
    if not numbers and not references:
        return ()
    parameters = {
        "id": order_id,
        "near": json.dumps(list(near)),
        "same_key": json.dumps(list(same_key)),
        "numbers": json.dumps(sorted(numbers)),
        "references": json.dumps(sorted(references)),
    }
    rows = connection.execute(_OWNERS[connection.dialect.name], parameters).all()
    return tuple(Owner(row.account, row.reference, row.carrier_ref, row.account in same_key) for row in rows)
