"""Takes what is due under a lease, commits the intent to create, and hands back what was not started.

A claim is one statement. It gives each account and step its own share, so that no backlog starves another; it touches
only un-indexed columns; and it raises `lease_token`, the fence that every later statement of the holder is compared by.
It brings back nothing that a row could make it fail with: payloads are read afterwards (`worker.store.payloads`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType

from sqlalchemy import Connection, text
from sqlalchemy.sql.elements import TextClause

from worker.domain.lifecycle import Step
from worker.domain.ramp import ANY
from worker.domain.returns import ReturnOrder
from worker.store.claimed import DOUBTFUL_SINCE, Claimed
from worker.store.columns import bound, read_moment
from worker.store.database import Database
from worker.store.dialect import CLOCK, NOW, POSTGRESQL, SKIP_LOCKED, SQLITE, among, json_rows, later
from worker.store.durability import DURABLY
from worker.store.holds import HEALTH, read_health
from worker.store.leases import is_free, taking, taking_free
from worker.store.queues import NO_MARKS, QUEUED, WITHDRAWN, Marks, after, waiting
from worker.store.readable import read_rows, readable, take_rows
from worker.store.refusals import as_a_whole
from worker.store.sqlite_file import SqliteFile
from worker.store.transactions import in_statement, in_transaction, reading


@dataclass(frozen=True, slots=True)
class Lane:
    """How many rows of one account whose queue is `step` may be taken."""

    account: str
    step: Step
    quota: int


_LANE = {"account": "text", "step": "text", "quota": "int", "after_due": "timestamptz", "after_id": "bigint"}
_CLAIM = {
    POSTGRESQL: f"""
WITH lane AS (
  SELECT * FROM {json_rows(POSTGRESQL, "lanes", _LANE, "l")}
), taken AS MATERIALIZED (
  SELECT due.id FROM lane CROSS JOIN LATERAL (
    {waiting(POSTGRESQL, QUEUED, "lane.quota")} FOR UPDATE SKIP LOCKED) due
), withdrawn AS MATERIALIZED (
  SELECT due.id FROM lane CROSS JOIN LATERAL (
    {waiting(POSTGRESQL, WITHDRAWN, "lane.quota")} FOR UPDATE SKIP LOCKED) due WHERE lane.step = 'cancel'
)
{taking(POSTGRESQL, "= ANY (ARRAY(SELECT taken.id FROM taken UNION ALL SELECT withdrawn.id FROM withdrawn))")}""",
    # SQLite has no LATERAL: of each lane as many are found as any may have, and no more taken than its quota.
    SQLITE: taking(
        SQLITE,
        f"""IN (
  SELECT due.value
    FROM {json_rows(SQLITE, "lanes", _LANE, "lane")},
         json_each(CASE lane.step
           WHEN 'cancel' THEN (SELECT json_group_array(id) FROM ({waiting(SQLITE, WITHDRAWN, ":most")}))
           ELSE (SELECT json_group_array(id) FROM ({waiting(SQLITE, QUEUED, ":most")})) END) AS due
   WHERE due.key < lane.quota)""",
    ),
}

# Rows with a claim that came to nothing are left out: what killed that worker must be tried alone. `updated_at`: a row
# that was recorded after the carrier was asked is known better than the answer knows it.
_SEEN = """r.account = :account AND r.state = 'tracking' AND r.claims = 0 AND r.cancel_requested_at IS NULL
     AND r.retry_requested_at IS NULL AND r.lease_owner IS NULL"""
_CLAIM_SEEN = {
    dialect: taking_free(
        dialect,
        f"""SELECT r.id FROM return_order r
   WHERE {_SEEN} AND r.updated_at < :asked_at AND r.carrier_ref {among(dialect, "refs", "text")} ORDER BY r.id""",
    )
    for dialect in NOW
}

_DUE = {
    dialect: text(f"""
SELECT r.carrier_ref, r.due_at FROM return_order r
 WHERE {_SEEN} AND r.next_step = 'track' AND r.due_at <= {now}
 ORDER BY r.due_at, r.id LIMIT :most""")
    for dialect, now in NOW.items()
}

# What is in doubt, was withdrawn, or is to be adopted, became due a moment ago, else somebody would have taken it: of a
# long backlog the end is looked at. A row with claims that came to nothing is left to the claim that tries it alone.
_SETTLE = {
    dialect: taking_free(
        dialect,
        f"""SELECT r.id FROM (
    SELECT l.id FROM return_order l
     WHERE l.account = :account AND l.next_step = 'create' AND l.due_at <= {now}
     ORDER BY l.due_at DESC, l.id DESC LIMIT 1000) AS last JOIN return_order r ON r.id = last.id
   WHERE (r.create_started_at IS NOT NULL OR r.cancel_requested_at IS NOT NULL OR r.adopt_carrier_ref IS NOT NULL)
     AND r.claims = 0
     AND {is_free(dialect, "r")}
   ORDER BY r.due_at, r.id LIMIT :quota""",
    )
    for dialect, now in NOW.items()
}

# A row that the shop locks at this moment is not waited for: so many could be that no connection were left for others.
_ON_POSTGRESQL = f"""AND EXISTS (SELECT 1 FROM database_place p WHERE p.place = returns_worker_place())
   AND id IN (SELECT r.id FROM return_order r WHERE r.id = :id FOR UPDATE SKIP LOCKED) AND {DURABLY}"""
_INTENT = {
    dialect: text(f"""
UPDATE return_order SET create_started_at = {now}, first_attempt_at = coalesce(first_attempt_at, {now})
 WHERE id = :id AND lease_token = :token AND shop_changes = :shop_changes AND create_started_at IS NULL
   AND state = 'pending' AND adopt_carrier_ref IS NULL AND lease_until > {later(dialect, ":call", CLOCK)}
   AND {DOUBTFUL_SINCE} IS NULL
   {_ON_POSTGRESQL if dialect == POSTGRESQL else ""}
RETURNING create_started_at""")
    for dialect, now in NOW.items()
}

NOBODY: Mapping[str, bool] = MappingProxyType({})
_RAMP = {
    dialect: text(f"SELECT {HEALTH}, {now} AS now FROM carrier_account a WHERE name = :name{SKIP_LOCKED[dialect]}")
    for dialect, now in NOW.items()
}
_IN_FLIGHT = {
    dialect: text(f"""SELECT count(*) FROM (
      SELECT {is_free(dialect, "r")} AS free FROM return_order r
       WHERE r.account = :name AND r.next_step = 'create' AND r.due_at <= {now}
       ORDER BY r.due_at, r.id LIMIT 1000) first WHERE NOT first.free""")
    for dialect, now in NOW.items()
}

_COUNT_CREATION = text("""
UPDATE database_place SET creations = creations + 1 WHERE place = :place AND creations >= :creations
RETURNING creations""")

_HANDED = {"id": "bigint", "token": "bigint", "unsent": "bool", "untried": "bool"}


def _hand_back(dialect: str) -> TextClause:
    """A row that somebody's open transaction locks is passed over, so that it does not keep the others."""
    free = f"SELECT r.id FROM return_order r WHERE r.id IN (SELECT x.id FROM x) ORDER BY r.id{SKIP_LOCKED[dialect]}"
    return text(f"""
WITH x AS MATERIALIZED (SELECT * FROM {json_rows(dialect, "rows", _HANDED, "x")}), free AS MATERIALIZED ({free})
UPDATE return_order AS o
   SET lease_owner = NULL, lease_until = NULL, claims = CASE WHEN claims > :counted THEN claims - :counted ELSE 0 END,
       create_started_at = CASE WHEN x.unsent THEN NULL ELSE create_started_at END,
       first_attempt_at = CASE WHEN x.untried THEN NULL ELSE first_attempt_at END
  FROM x WHERE o.id = x.id AND o.lease_token = x.token AND o.lease_owner IS NOT NULL AND x.id IN (SELECT id FROM free)
RETURNING {"o." if dialect == POSTGRESQL else ""}id""")


_HAND_BACK = {dialect: _hand_back(dialect) for dialect in NOW}


async def claim(
    database: Database,
    lanes: Sequence[Lane],
    owner: str,
    lease: timedelta,
    marks: Marks = NO_MARKS,
    careful: Mapping[str, bool] = NOBODY,
) -> list[Claimed]:
    """Take up to each lane's quota of due rows, earliest first; rows leased by others are passed over.

    On PostgreSQL a lane that has a mark goes on after it. The creations of accounts that are `careful` are counted over
    all workers, and no more are taken than their ramps and circuits allow now; True: the circuit's probe is ours.
    """
    wanted = [lane for lane in lanes if lane.quota > 0]
    if not wanted:
        return []
    counted = {lane.account: careful[lane.account] for lane in wanted if _is_counted(lane, careful)}
    run = database.transaction if counted else database.statement
    with as_a_whole("a rule that was added lets no return be taken"):
        taken = await readable(database, run, partial(_claim, wanted, owner, lease, marks, counted))
    return sorted(taken, key=lambda row: (row.due_at or row.claimed_at, row.order.id))


def _is_counted(lane: Lane, careful: Mapping[str, bool]) -> bool:
    return lane.step is Step.CREATE and lane.account in careful


def _claim(
    lanes: Sequence[Lane],
    owner: str,
    lease: timedelta,
    marks: Marks,
    counted: Mapping[str, bool],
    connection: Connection,
    bare: bool,
) -> list[Claimed]:
    quotas = [
        min(lane.quota, _allowed(connection, lane.account, probing=counted[lane.account]))
        if _is_counted(lane, counted)
        else lane.quota
        for lane in lanes
    ]
    wanted = [
        {"account": lane.account, "step": lane.step, "quota": quota} | after(marks, lane.account, lane.step)
        for lane, quota in zip(lanes, quotas, strict=True)
        if quota > 0
    ]
    if not wanted:
        return []
    parameters = {"owner": owner, "lease": lease.total_seconds(), "most": max(quotas), "lanes": json.dumps(wanted)}
    return read_rows(_CLAIM, parameters, connection, bare)


def _allowed(connection: Connection, account: str, *, probing: bool) -> int:
    """How many more creations may be taken; the account's row is locked, so that nobody else counts meanwhile.

    What was known when the turn began may be over: a doubt that another step has told since counts here.

    Rows that are leased lie at the beginning of what is due. A row that somebody locks stands for none.
    """
    dialect = connection.dialect.name
    found = connection.execute(_RAMP[dialect], {"name": account}).mappings().one_or_none()
    if found is None:
        return 0
    now, health = read_moment(found["now"]), read_health(found)
    if health.creations.is_open(now) and not probing:
        return 0
    allowed = health.ramp.allowed(now)
    if allowed is None:
        return ANY
    return max(0, allowed - int(connection.execute(_IN_FLIGHT[dialect], {"name": account}).scalar_one()))


async def claim_seen(
    database: Database, account: str, refs: Sequence[str], asked_at: datetime, owner: str, lease: timedelta
) -> list[Claimed]:
    """Take the followed returns that a carrier's list showed, due or not; `asked_at`: when, on the database's clock.

    Left out are rows that somebody holds, asked something of, or recorded since. They come as `track` steps.
    """
    values = {"account": account, "refs": json.dumps(list(refs)), "asked_at": bound(database.dialect, asked_at)}
    claimed = await take_rows(database, _CLAIM_SEEN, values, owner, lease)
    # One that cannot be read is left to the claim that takes it when it is due.
    return [replace(e, order=e.order._replace(next_step=Step.TRACK)) for e in claimed if e.order.unreadable is None]


async def claim_to_settle(database: Database, account: str, quota: int, owner: str, lease: timedelta) -> list[Claimed]:
    """Take what sends nothing, while no creation may be sent: creations in doubt, and what is withdrawn or adopted."""
    return await take_rows(database, _SETTLE, {"account": account, "quota": quota}, owner, lease)


async def start_creation(database: Database, order: ReturnOrder, call: timedelta) -> datetime | None:
    """Commit the intent to create, before anything is sent; returns its time.

    None when the lease is lost or lasts no longer than the `call`, the shop changed or locks the row, or the database
    is not where it was when the worker looked last: nothing may be sent then.
    """
    file = database.file
    if file is None:
        return await database.statement(_intend, order, call)
    started_at, count = await _start_witnessed(database, order, call, file)
    if count is not None:
        file.sent(count)
    return started_at


def _intend(connection: Connection, order: ReturnOrder, call: timedelta) -> datetime | None:
    parameters = {
        "id": order.id,
        "token": order.lease_token,
        "shop_changes": order.shop_changes,
        "call": call.total_seconds(),
    }
    return read_moment(connection.execute(_INTENT[connection.dialect.name], parameters).scalar())


@in_transaction
def _start_witnessed(
    connection: Connection, order: ReturnOrder, call: timedelta, file: SqliteFile
) -> tuple[datetime | None, int | None]:
    """The intent, counted in the database and in the witness beside it: neither can be set back without the other."""
    started_at = _intend(connection, order, call)
    known = {"place": file.place, "creations": file.creations}
    count = connection.execute(_COUNT_CREATION, known).scalar() if started_at is not None else None
    if count is None:
        connection.rollback()
        return None, None
    return started_at, count


async def hand_back(database: Database, orders: Sequence[ReturnOrder], *, counted: bool = True) -> set[int]:
    """Give up rows whose step was not started; a claim that was `counted` is not held against them.

    An intent to create that we committed ourselves, and never sent, is taken back with them. Returns the ids that were
    handed back; the others are not ours any more, or locked.
    """
    return await _handed_back(database, orders, counted) if orders else set()


@in_statement
def _handed_back(connection: Connection, orders: Sequence[ReturnOrder], counted: bool) -> set[int]:
    rows = [
        {
            "id": order.id,
            "token": order.lease_token,
            "unsent": order.create_started_at is None,
            "untried": order.first_attempt_at is None,
        }
        for order in orders
    ]
    parameters = {"rows": json.dumps(rows), "counted": int(counted)}
    return {row.id for row in connection.execute(_HAND_BACK[connection.dialect.name], parameters)}


@reading
def due_refs(connection: Connection, account: str, most: int) -> dict[str, datetime | None]:
    """The carrier's numbers of up to `most` returns whose poll is due, and since when, due longest first.

    Each could be taken now.
    """
    rows = connection.execute(_DUE[connection.dialect.name], {"account": account, "most": most})
    return {ref: read_moment(due_at) for ref, due_at in rows}
