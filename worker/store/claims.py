"""Takes what is due under a lease, commits the intent to create, and hands back what was not started.

A claim is one statement. It gives each account and step its own share, so that no backlog starves another; it touches
only un-indexed columns; and it raises `lease_token`, the fence that every later statement of the holder is compared by.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from worker.domain.errors import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus
from worker.store.columns import read_moment
from worker.store.database import POSTGRESQL, SQLITE, Database


@dataclass(frozen=True, slots=True)
class Lane:
    """How many rows of one account whose next step is `step` may be taken."""

    account: str
    step: Step
    quota: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row under our lease; `claimed_at` and `due_at` are on the database's clock."""

    order: ReturnOrder
    due_at: datetime
    claimed_at: datetime


# What a claim brings back: what `decide` and the steps look at. The payload stays behind for a poll, which needs none.
_COLUMNS = """id, account, reference, state, next_step, due_at, label_due_at, track_due_at, tracking_status,
  carrier_status, carrier_ref, return_url, create_started_at, carrier_created_at, attempts, failing_since,
  unchanged_polls, error_code, error_message, label_attempts, label_error_code, label_error_message,
  cancel_requested_at, retry_requested_at, shop_changes, lease_token, claims"""

# ANY (ARRAY(...)): the planner cannot know how few rows the quotas let through, and would join with the whole table.
_POSTGRESQL_CLAIM = text(f"""
WITH lane AS (
  SELECT l.account, l.step, l.quota
    FROM json_to_recordset(CAST(:lanes AS json)) AS l(account text, step text, quota int)
), taken AS MATERIALIZED (
  SELECT due.id FROM lane CROSS JOIN LATERAL (
    SELECT r.id FROM return_order r
     WHERE r.account = lane.account AND r.next_step = lane.step AND r.due_at <= now()
       AND (r.lease_until IS NULL OR r.lease_until < now())
     ORDER BY r.due_at, r.id LIMIT lane.quota FOR UPDATE SKIP LOCKED) due
)
UPDATE return_order AS o
   SET lease_owner = :owner, lease_until = now() + make_interval(secs => :lease),
       lease_token = o.lease_token + 1, claims = o.claims + 1
 WHERE o.id = ANY (ARRAY(SELECT taken.id FROM taken))
RETURNING {", ".join(f"o.{name.strip()}" for name in _COLUMNS.split(","))},
  CASE WHEN o.next_step <> 'track' THEN CAST(o.payload AS text) END AS payload, now() AS claimed_at
""")

_SQLITE_NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"

# clock_timestamp(): now() is when the statement began, and it may have waited for a lock of the shop's since.
_INTENT = {
    POSTGRESQL: text("""
UPDATE return_order SET create_started_at = now()
 WHERE id = :id AND lease_token = :token AND shop_changes = :shop_changes AND create_started_at IS NULL
   AND state = 'pending' AND lease_until > clock_timestamp() + make_interval(secs => :call)
RETURNING create_started_at"""),
    SQLITE: text(f"""
UPDATE return_order SET create_started_at = {_SQLITE_NOW}
 WHERE id = :id AND lease_token = :token AND shop_changes = :shop_changes AND create_started_at IS NULL
   AND state = 'pending' AND lease_until > strftime('%Y-%m-%d %H:%M:%f', 'now', :call)
RETURNING create_started_at"""),
}

_HAND_BACK = {
    POSTGRESQL: text("""
UPDATE return_order o SET lease_owner = NULL, lease_until = NULL, claims = greatest(o.claims - 1, 0),
       create_started_at = CASE WHEN x.unsent THEN NULL ELSE o.create_started_at END
  FROM json_to_recordset(CAST(:rows AS json)) AS x(id bigint, token bigint, unsent bool)
 WHERE o.id = x.id AND o.lease_token = x.token AND o.lease_owner IS NOT NULL"""),
    SQLITE: text("""
UPDATE return_order SET lease_owner = NULL, lease_until = NULL, claims = max(claims - 1, 0),
       create_started_at = CASE WHEN x.unsent THEN NULL ELSE create_started_at END
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.token') AS token,
               json_extract(value, '$.unsent') AS unsent FROM json_each(:rows)) x
 WHERE return_order.id = x.id AND return_order.lease_token = x.token AND lease_owner IS NOT NULL"""),
}


async def claim(database: Database, lanes: Sequence[Lane], owner: str, lease: timedelta) -> list[Claimed]:
    """Take up to each lane's quota of due rows, earliest first; rows leased by others are passed over."""
    wanted = [lane for lane in lanes if lane.quota > 0]
    if not wanted:
        return []
    async with database.statement() as connection:
        if database.dialect == POSTGRESQL:
            rows = [{"account": lane.account, "step": lane.step, "quota": lane.quota} for lane in wanted]
            parameters = {"lanes": json.dumps(rows), "owner": owner, "lease": lease.total_seconds()}
            result = await connection.execute(_POSTGRESQL_CLAIM, parameters)
        else:
            result = await connection.execute(*_sqlite_claim(wanted, owner, lease))
        claimed = [_claimed(row) for row in result.mappings()]
    return sorted(claimed, key=lambda row: (row.due_at, row.order.id))


async def start_creation(database: Database, order: ReturnOrder, call: timedelta) -> datetime | None:
    """Commit the intent to create, before anything is sent; returns its time.

    None when the lease is lost or lasts no longer than the `call`, or the shop changed the row meanwhile: nothing may
    be sent then.
    """
    seconds = call.total_seconds()
    parameters = {
        "id": order.id,
        "token": order.lease_token,
        "shop_changes": order.shop_changes,
        "call": seconds if database.dialect == POSTGRESQL else f"{seconds:+.3f} seconds",
    }
    async with database.statement() as connection:
        started = (await connection.execute(_INTENT[database.dialect], parameters)).scalar()
    return read_moment(started)


async def hand_back(database: Database, orders: Sequence[ReturnOrder]) -> None:
    """Give up rows whose step was not started; the claim is not counted against them.

    An intent to create that we committed ourselves, and never sent, is taken back with them.
    """
    if not orders:
        return
    rows = [{"id": order.id, "token": order.lease_token, "unsent": order.create_started_at is None} for order in orders]
    async with database.statement() as connection:
        await connection.execute(_HAND_BACK[database.dialect], {"rows": json.dumps(rows)})


def _sqlite_claim(lanes: Sequence[Lane], owner: str, lease: timedelta) -> tuple[Any, Mapping[str, Any]]:
    """SQLite has no LATERAL: one sub-select for each lane, and one writer, so nothing needs to be skipped."""
    parameters: dict[str, Any] = {"owner": owner, "lease": f"{lease.total_seconds():+.3f} seconds"}
    selects = []
    for index, lane in enumerate(lanes):
        selects.append(f"""SELECT id FROM (SELECT id FROM return_order
     WHERE account = :account{index} AND next_step = :step{index} AND due_at <= {_SQLITE_NOW}
       AND (lease_until IS NULL OR lease_until < {_SQLITE_NOW})
     ORDER BY due_at, id LIMIT :quota{index})""")
        parameters |= {f"account{index}": lane.account, f"step{index}": lane.step, f"quota{index}": lane.quota}
    union = " UNION ALL ".join(selects)
    statement = f"""UPDATE return_order
   SET lease_owner = :owner, lease_until = strftime('%Y-%m-%d %H:%M:%f', 'now', :lease),
       lease_token = lease_token + 1, claims = claims + 1
 WHERE id IN ({union})
RETURNING {_COLUMNS}, CASE WHEN next_step <> 'track' THEN payload END AS payload, {_SQLITE_NOW} AS claimed_at"""
    return text(statement), parameters


def _claimed(row: RowMapping) -> Claimed:
    due_at, claimed_at = read_moment(row["due_at"]), read_moment(row["claimed_at"])
    assert due_at is not None
    assert claimed_at is not None
    return Claimed(_order(row, due_at), due_at, claimed_at)


def _order(row: RowMapping, due_at: datetime) -> ReturnOrder:
    return ReturnOrder(
        id=row["id"],
        account=row["account"],
        reference=row["reference"],
        state=State(row["state"]),
        next_step=Step(row["next_step"]),
        due_at=due_at,
        label_due_at=read_moment(row["label_due_at"]),
        track_due_at=read_moment(row["track_due_at"]),
        payload=row["payload"],
        tracking_status=TrackingStatus(row["tracking_status"]) if row["tracking_status"] else None,
        carrier_status=row["carrier_status"],
        carrier_ref=row["carrier_ref"],
        return_url=row["return_url"],
        create_started_at=read_moment(row["create_started_at"]),
        carrier_created_at=read_moment(row["carrier_created_at"]),
        attempts=row["attempts"],
        failing_since=read_moment(row["failing_since"]),
        unchanged_polls=row["unchanged_polls"],
        error_code=_code(row["error_code"]),
        error_message=row["error_message"],
        label_attempts=row["label_attempts"],
        label_error_code=_code(row["label_error_code"]),
        label_error_message=row["label_error_message"],
        cancel_requested_at=read_moment(row["cancel_requested_at"]),
        retry_requested_at=read_moment(row["retry_requested_at"]),
        shop_changes=row["shop_changes"],
        lease_token=row["lease_token"],
        claims=row["claims"],
    )


def _code(value: str | None) -> ErrorCode | None:
    """None for a code of a newer version: a row that it left behind must not stop this one."""
    return ErrorCode(value) if value in _CODES else None


_CODES = frozenset(ErrorCode)
