"""Writes decisions down: one fenced statement for a batch, history and labels in the same transaction.

A row is changed only if its lease token and its state are still those the decision was made on. A row that is missing
from the answer was taken by somebody else meanwhile, and its result is dropped; or somebody's open transaction locks
it: it is passed over, so that it does not keep the others of its batch, and tried again by itself.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, exc, text

from worker.domain.decision import Decision
from worker.domain.lifecycle import State
from worker.domain.outcomes import StoredLabel
from worker.domain.returns import ReturnOrder
from worker.store.columns import types_of
from worker.store.database import Database
from worker.store.dialect import AMONG_IDS, LOCKED, NOW, POSTGRESQL, SQLITE, extracted, json_rows, typed
from worker.store.durability import DURABLY
from worker.store.failures import first_line, is_taken
from worker.store.news import (
    COUNT,
    HISTORY,
    IS_UNTOLD,
    KINDS,
    RETURNED,
    SAID,
    TOLD_HISTORY,
    UNTOLD_HISTORY,
    UNTOLD_RETURNED,
    add_history,
    dumped,
    history_of,
    insert_history,
    names,
    part_of,
    upsert,
)
from worker.store.tables import WRITTEN_BY_SHOP, PackageRow, ReturnOrderRow
from worker.store.transactions import in_transaction, reading


class CarrierRefTaken(Exception):
    """Another return of the account already has this `carrier_ref`."""


# The columns a decision sets; left out are the row's key and times, the lease, and what it is fenced by.
_VALUES = types_of(
    ReturnOrderRow,
    *WRITTEN_BY_SHOP,
    *("id", "created_at", "updated_at", "lease_owner", "lease_until", "lease_token", "shop_changes", "due_at"),
    *("erased_at", "files_removed_at", "event_count"),
)
_values_of = attrgetter(*_VALUES)
_FENCE = {
    **{"id": "bigint", "lease_token": "bigint", "from_state": "text", "shop_changes": "int", "due_at": "timestamptz"},
    "doubtful": "bool",
}
_PACKAGE = types_of(PackageRow, "id", "return_order_id", "position")
_PARTS = {"packages": "json"}


_SAME_STATE = "o.state = x.from_state"

# Of a row that cannot be read nothing else is written: what stands in it is not lost, and its doubt stays.
_SET_ASIDE = (
    *("state", "next_step", "label_due_at", "track_due_at", "error_code", "error_message"),
    *("label_error_code", "label_error_message", "claims"),
)


def _set(columns: Iterable[str], now: str, count: str = COUNT) -> str:
    # A request that the shop made while we held the row is not in the decision: it leaves the row due at once. Nor is a
    # restore in it that was noticed meanwhile: the row must not look as if it had been recorded after that.
    return f"""{", ".join(f"{name} = x.{name}" for name in columns)},
       {count}{"," if count else ""}
       due_at = CASE WHEN o.shop_changes = x.shop_changes THEN x.due_at ELSE {now} END,
       lease_owner = NULL, lease_until = NULL,
       updated_at = CASE WHEN NOT x.doubtful AND o.updated_at < (SELECT p.restored_at FROM database_place p)
                         THEN o.updated_at ELSE {now} END"""


def _postgresql_record(
    columns: Iterable[str] = _VALUES,
    unchanged: str = _SAME_STATE,
    durably: str = DURABLY,
    history: str = TOLD_HISTORY,
) -> Any:
    """With `UNTOLD_HISTORY`, what somebody is to be told of is left out; a row of NULLs says that there is somebody.

    To make ready for events takes PostgreSQL a tenth of a small record's time, also where there are none. Without any
    `history` it is for rows that have none, as most polls.
    """
    told, untold = history is TOLD_HISTORY, history is UNTOLD_HISTORY
    members = _FENCE | _VALUES | _PARTS | (HISTORY if history else {})
    returned = RETURNED if told else UNTOLD_RETURNED if untold else "o.id"
    news = " UNION ALL (SELECT NULL, NULL FROM news_subscriber LIMIT 1)" if untold else ""
    return text(f"""
WITH x AS MATERIALIZED (
  SELECT * FROM {json_rows(POSTGRESQL, "rows", members, "x")}
), free AS MATERIALIZED (
  SELECT r.id FROM return_order r WHERE r.id IN (SELECT x.id FROM x) ORDER BY r.id FOR UPDATE SKIP LOCKED
), u AS (
  UPDATE return_order AS o SET {_set(columns, "now()", COUNT if history else "")}
    FROM x WHERE o.id = x.id AND o.lease_token = x.lease_token AND o.lease_owner IS NOT NULL AND {unchanged}
     AND x.id IN (SELECT free.id FROM free) AND {durably}{f" AND {IS_UNTOLD}" if untold else ""}
  RETURNING {returned}, o.lease_token, x.packages
), {f"{history}, " if history else ""}p AS (
  INSERT INTO package (return_order_id, position, {names(_PACKAGE)})
  SELECT u.id, p.position, {names(_PACKAGE, "p.")}
    FROM u CROSS JOIN LATERAL json_to_recordset(u.packages) AS p(position int, {typed(_PACKAGE)})
  {upsert(_PACKAGE)}
)
SELECT u.id, u.lease_token FROM u{f" WHERE {SAID}" if told else news}""")


def _sqlite_record(columns: Iterable[str] = _VALUES, unchanged: str = _SAME_STATE, *, tells: bool = True) -> Any:
    """Without `tells`, for rows that have no history: what is read of JSON for them costs time at each poll."""
    members = _FENCE | _VALUES | ({"told": "int"} if tells else {})
    return text(f"""
UPDATE return_order AS o SET {_set(columns, NOW[SQLITE], COUNT if tells else "")}
  FROM {json_rows(SQLITE, "rows", members, "x")}
 WHERE o.id = x.id AND o.lease_token = x.lease_token AND o.lease_owner IS NOT NULL AND {unchanged}
RETURNING id, lease_token{f", event_count, {KINDS}" if tells else ""}""")


_RECORD = {POSTGRESQL: _postgresql_record(), SQLITE: _sqlite_record()}
# What is followed is asked for again when its record is lost; of everything else a creation may follow.
_RECORD_FOLLOWED = {POSTGRESQL: _postgresql_record(durably="true"), SQLITE: _RECORD[SQLITE]}
_RECORD_SET_ASIDE = {POSTGRESQL: _postgresql_record(_SET_ASIDE, "true"), SQLITE: _sqlite_record(_SET_ASIDE, "true")}
_UNTOLD = {
    _RECORD[POSTGRESQL]: _postgresql_record(history=UNTOLD_HISTORY),
    _RECORD_FOLLOWED[POSTGRESQL]: _postgresql_record(durably="true", history=UNTOLD_HISTORY),
}
_WITHOUT_HISTORY = {
    _RECORD[POSTGRESQL]: _postgresql_record(history=""),
    _RECORD_FOLLOWED[POSTGRESQL]: _postgresql_record(durably="true", history=""),
    _RECORD[SQLITE]: _sqlite_record(tells=False),
}


_SQLITE_PACKAGES = text(f"""
INSERT INTO package (return_order_id, {names(["position", *_PACKAGE])})
SELECT json_extract(row.value, '$.id'), {extracted(["position", *_PACKAGE], "part.value")}
  FROM json_each(:rows) AS row, json_each(row.value, '$.packages') AS part WHERE true
{upsert(_PACKAGE)}""")

# Apart from the hot statement: naming these columns there would fire the shop's triggers at every poll. A request that
# the shop made meanwhile is not forgotten; one that a person makes is made in any case, and the trigger makes it due.
_REQUESTS = {"id": "bigint", "shop_changes": "int", "cancelled": "bool", "asked": "bool", "retried": "bool"}
_CHANGE_REQUESTS = {
    dialect: text(f"""
UPDATE return_order AS o
   SET cancel_requested_at = CASE WHEN x.cancelled THEN NULL WHEN x.asked THEN {now} ELSE o.cancel_requested_at END,
       retry_requested_at = CASE WHEN x.retried THEN NULL ELSE o.retry_requested_at END
  FROM {json_rows(dialect, "rows", _REQUESTS, "x")}
 WHERE o.id = x.id AND (x.asked OR o.shop_changes = x.shop_changes)""")
    for dialect, now in NOW.items()
}

# A row may be in a batch twice, when its lease ran out and the same process took it again: only one claim is written.
_Claim = tuple[int, int]
_Row = Mapping[str, Any]


async def record(database: Database, made: Sequence[tuple[ReturnOrder, Decision]]) -> set[int]:
    """Write decisions, each made on the order before it, in one transaction; returns the ids that were written.

    Rows that cannot be read are set aside in another one. Of an id that is missing `standings` tells why. Raises
    `CarrierRefTaken` when a creation's number belongs to another return.
    """
    apart = [pair for pair in made if pair[0].unreadable is not None]
    if 0 < len(apart) < len(made):
        return await record(database, [pair for pair in made if pair not in apart]) | await record(database, apart)
    rows, changes = _rows(made, database.dialect)
    run = database.transaction if changes else database.statement
    statement = (_RECORD_SET_ASIDE if apart else _how(made))[database.dialect]
    if not any(row["told"] for row in rows):
        with _number_taken():
            return (await run(_write, _WITHOUT_HISTORY.get(statement, statement), rows, changes))[0]
    untold = None if database.has_subscribers else _UNTOLD.get(statement)
    with _number_taken():
        written, database.has_subscribers = await run(_write, statement, rows, changes, untold)
    return written


def record_within(connection: Connection, made: Sequence[tuple[ReturnOrder, Decision]]) -> set[int]:
    """The same of rows that can be read, as a part of a transaction."""
    dialect = connection.dialect.name
    with _number_taken():
        return _write(connection, _how(made)[dialect], *_rows(made, dialect))[0]


@contextmanager
def _number_taken() -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError as error:
        if is_taken(error) and "carrier_ref" in first_line(error):  # what follows it may quote the carrier
            raise CarrierRefTaken from error
        raise


def _rows(made: Sequence[tuple[ReturnOrder, Decision]], dialect: str) -> tuple[list[_Row], list[_Row]]:
    in_order = sorted(made, key=lambda pair: pair[0].id)
    changes: list[_Row] = [row for before, decision in made if (row := _requests(before, decision.order)) is not None]
    return [_row(before, decision, dialect) for before, decision in in_order], changes


def _write(
    connection: Connection,
    statement: Any,
    rows: Sequence[_Row],
    changes: Sequence[_Row],
    untold: Any = None,
) -> tuple[set[int], bool]:
    """The ids that were written, and whether somebody may be to be told; `untold` is tried first."""
    dialect = connection.dialect.name
    found = connection.execute(statement if untold is None else untold, {"rows": dumped(rows, dialect)}).all()
    written = {(row.id, row.lease_token) for row in found}
    if has_subscribers := untold is None or (None, None) in written:
        written.discard((None, None))
        if untold is not None and (rest := [row for row in rows if row["told"] and _claim_of(row) not in written]):
            found = connection.execute(statement, {"rows": dumped(rest, dialect)}).all()
            written |= {(row.id, row.lease_token) for row in found}
    if dialect == SQLITE:
        _insert_parts(connection, [row for row in rows if _claim_of(row) in written], found)
    requests = [row for row in changes if _claim_of(row) in written]
    if requests:
        connection.execute(_CHANGE_REQUESTS[dialect], {"rows": json.dumps(requests)})
    return {order_id for order_id, _ in written}, has_subscribers


class Standing(Enum):
    """How a row that a record did not write stands to the claim that the record was of."""

    LOCKED = "locked"  # it is still ours: somebody's open transaction locked it
    WRITTEN = "written"  # our claim is the last one, and over
    LOST = "lost"


@reading
def standings(connection: Connection, orders: Iterable[ReturnOrder]) -> dict[int, Standing]:
    """How each of these stands, by its id."""
    claims = {order.id: order for order in orders}
    rows = connection.execute(_TOKENS[connection.dialect.name], {"ids": json.dumps(list(claims))})
    found = {row.id: _standing(row, claims[row.id]) for row in rows}
    return {order_id: found.get(order_id, Standing.LOST) for order_id in claims}


def _standing(row: Any, claim: ReturnOrder) -> Standing:
    if row.lease_token != claim.lease_token:
        return Standing.LOST
    if row.lease_owner is None:
        return Standing.WRITTEN
    return Standing.LOCKED if row.state == claim.state else Standing.LOST  # somebody changed it by hand


_TOKENS = {
    dialect: text(f"SELECT id, lease_token, lease_owner, state FROM return_order WHERE id {ids}")
    for dialect, ids in AMONG_IDS.items()
}


_KEEPS_LABELS = {
    dialect: text(f"SELECT 1 FROM return_order WHERE id = :id AND erased_at IS NULL{lock}")
    for dialect, lock in LOCKED.items()
}


@in_transaction
def replace_label(connection: Connection, order_id: int, label: StoredLabel) -> bool:
    """Write down a label that was fetched outside of a claim, by a person; False: it was erased, or archived, since."""
    if connection.execute(_KEEPS_LABELS[connection.dialect.name], {"id": order_id}).first() is None:
        return False
    add_history(connection, [{"id": order_id, **history_of(connection.dialect.name, labels=[label])}])
    return True


def _claim_of(row: Mapping[str, Any]) -> _Claim:
    return row["id"], row["lease_token"]


def _how(made: Iterable[tuple[ReturnOrder, Decision]]) -> Mapping[str, Any]:
    return _RECORD_FOLLOWED if all(before.state is State.TRACKING for before, _ in made) else _RECORD


def _insert_parts(connection: Connection, rows: Sequence[Mapping[str, Any]], counted: Sequence[Any]) -> None:
    insert_history(connection, rows, counted)
    parts = [{"id": row["id"], "packages": row["packages"]} for row in rows if row["packages"]]
    if parts:
        connection.execute(_SQLITE_PACKAGES, {"rows": dumped(parts, SQLITE)})


def _row(before: ReturnOrder, decision: Decision, dialect: str) -> dict[str, Any]:
    after = decision.order
    return dict(zip(_VALUES, _values_of(after), strict=True)) | {
        "id": before.id,
        "lease_token": before.lease_token,
        "from_state": before.state,
        "shop_changes": before.shop_changes,
        "doubtful": before.doubtful and before.unreadable is None,
        "due_at": after.due_at,
        **history_of(dialect, decision.transitions, decision.labels),
        "packages": [part_of(package, dialect) for package in decision.packages],
    }


def _requests(before: ReturnOrder, after: ReturnOrder) -> dict[str, Any] | None:
    changes = {
        "cancelled": before.cancel_requested_at is not None and after.cancel_requested_at is None,
        "asked": before.cancel_requested_at is None and after.cancel_requested_at is not None,
        "retried": before.retry_requested_at is not None and after.retry_requested_at is None,
    }
    if not any(changes.values()):
        return None
    return {"id": before.id, "lease_token": before.lease_token, "shop_changes": before.shop_changes, **changes}
