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
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.domain.lifecycle import Step
from worker.domain.ramp import ANY
from worker.domain.returns import ReturnOrder
from worker.store.bookmarks import NO_MARKS, Marks, after
from worker.store.claimed import DOUBTFUL_SINCE, POSTGRESQL_RETURNED, SQLITE_RETURNED, Claimed, read_claimed
from worker.store.columns import read_moment, sqlite_text
from worker.store.database import Database
from worker.store.dialect import NOW, POSTGRESQL, SQLITE
from worker.store.durability import DURABLY
from worker.store.holds import HEALTH, read_health
from worker.store.leases import is_free
from worker.store.queues import QUEUED, WITHDRAWN, waiting
from worker.store.readable import read_rows, readable
from worker.store.refusals import as_a_whole
from worker.store.sqlite_file import SqliteFile


@dataclass(frozen=True, slots=True)
class Lane:
    """How many rows of one account whose queue is `step` may be taken."""

    account: str
    step: Step
    quota: int


# ANY (ARRAY(...)): the planner cannot know how few rows the quotas let through, and would join with the whole table.
# DURABLY: a token that a crash takes back would be given twice, and one holder would undo what the other has begun.
_POSTGRESQL_CLAIM = f"""
WITH lane AS (
  SELECT l.account, l.step, l.quota, l.after_due, l.after_id
    FROM json_to_recordset(CAST(:lanes AS json))
      AS l(account text, step text, quota int, after_due timestamptz, after_id bigint)
), taken AS MATERIALIZED (
  SELECT due.id FROM lane CROSS JOIN LATERAL (
    {waiting(POSTGRESQL, QUEUED, "lane.quota")} FOR UPDATE SKIP LOCKED) due
), withdrawn AS MATERIALIZED (
  SELECT due.id FROM lane CROSS JOIN LATERAL (
    {waiting(POSTGRESQL, WITHDRAWN, "lane.quota")} FOR UPDATE SKIP LOCKED) due WHERE lane.step = 'cancel'
)
UPDATE return_order AS o
   SET lease_owner = :owner, lease_until = now() + make_interval(secs => :lease),
       lease_token = o.lease_token + 1, claims = o.claims + 1
 WHERE o.id = ANY (ARRAY(SELECT taken.id FROM taken UNION ALL SELECT withdrawn.id FROM withdrawn)) AND {DURABLY}
RETURNING {{returned}}
"""

# Rows with a claim that came to nothing are left out: what killed that worker must be tried alone. `updated_at`: a row
# that was recorded after the carrier was asked is known better than the answer knows it.
SEEN = """{0}.account = :account AND {0}.state = 'tracking' AND {0}.claims = 0 AND {0}.cancel_requested_at IS NULL
     AND {0}.retry_requested_at IS NULL AND {0}.lease_owner IS NULL"""

_POSTGRESQL_CLAIM_SEEN = text(f"""
WITH taken AS MATERIALIZED (
  SELECT r.id FROM return_order r
   WHERE {SEEN.format("r")} AND r.updated_at < :asked_at
     AND r.carrier_ref = ANY (ARRAY(SELECT json_array_elements_text(CAST(:refs AS json))))
   ORDER BY r.id FOR UPDATE SKIP LOCKED
)
UPDATE return_order AS o
   SET lease_owner = :owner, lease_until = now() + make_interval(secs => :lease),
       lease_token = o.lease_token + 1, claims = o.claims + 1
 WHERE o.id = ANY (ARRAY(SELECT taken.id FROM taken)) AND {DURABLY}
RETURNING {POSTGRESQL_RETURNED}, now() AS claimed_at
""")

# What is in doubt, or was withdrawn, became due a moment ago, else somebody would have taken it: of a long backlog the
# end is looked at. A row with claims that came to nothing is left to the claim that tries it alone.
_SETTLE = """SELECT r.id FROM (
    SELECT l.id FROM return_order l
     WHERE l.account = :account AND l.next_step = 'create' AND l.due_at <= {now}
     ORDER BY l.due_at DESC, l.id DESC LIMIT 1000) AS last JOIN return_order r ON r.id = last.id
   WHERE (r.create_started_at IS NOT NULL OR r.cancel_requested_at IS NOT NULL) AND r.claims = 0
     AND {free}
   ORDER BY r.due_at, r.id LIMIT :quota"""

_POSTGRESQL_SETTLE = f"""
WITH taken AS MATERIALIZED ({_SETTLE.format(now="now()", free=is_free(POSTGRESQL, "r"))} FOR UPDATE OF r SKIP LOCKED)
UPDATE return_order AS o
   SET lease_owner = :owner, lease_until = now() + make_interval(secs => :lease),
       lease_token = o.lease_token + 1, claims = o.claims + 1
 WHERE o.id = ANY (ARRAY(SELECT taken.id FROM taken)) AND {DURABLY}
RETURNING {{returned}}
"""

_SQLITE_NOW = NOW[SQLITE]
# SQLite has no LATERAL: of each lane as many are found as any may have, and no more taken than its quota. It has one
# writer, so nothing needs to be skipped.
_SQLITE_CLAIM = f"""
UPDATE return_order
   SET lease_owner = :owner, lease_until = strftime('%Y-%m-%d %H:%M:%f', 'now', :lease),
       lease_token = lease_token + 1, claims = claims + 1
 WHERE id IN (
  SELECT due.value
    FROM (SELECT json_extract(value, '$.account') AS account, json_extract(value, '$.step') AS step,
                 json_extract(value, '$.quota') AS quota FROM json_each(:lanes)) AS lane,
         json_each(CASE lane.step
           WHEN 'cancel' THEN (SELECT json_group_array(id) FROM ({waiting(SQLITE, WITHDRAWN, ":most")}))
           ELSE (SELECT json_group_array(id) FROM ({waiting(SQLITE, QUEUED, ":most")})) END) AS due
   WHERE due.key < lane.quota)
RETURNING {{returned}}"""
_SQLITE_SETTLE = f"""
UPDATE return_order
   SET lease_owner = :owner, lease_until = strftime('%Y-%m-%d %H:%M:%f', 'now', :lease),
       lease_token = lease_token + 1, claims = claims + 1
 WHERE id IN ({_SETTLE.format(now=_SQLITE_NOW, free=is_free(SQLITE, "r"))})
RETURNING {{returned}}"""
_SQLITE_CLAIM_SEEN = text(f"""
UPDATE return_order
   SET lease_owner = :owner, lease_until = strftime('%Y-%m-%d %H:%M:%f', 'now', :lease),
       lease_token = lease_token + 1, claims = claims + 1
 WHERE {SEEN.format("return_order")} AND updated_at < :asked_at
   AND carrier_ref IN (SELECT value FROM json_each(:refs))
RETURNING {SQLITE_RETURNED}, {_SQLITE_NOW} AS claimed_at""")

_CLAIM = {POSTGRESQL: _POSTGRESQL_CLAIM, SQLITE: _SQLITE_CLAIM}
_SETTLE_THEM = {POSTGRESQL: _POSTGRESQL_SETTLE, SQLITE: _SQLITE_SETTLE}

# A row that the shop locks at this moment is not waited for: so many could be that no connection were left for others.
# clock_timestamp(): now() is when the statement began.
_INTENT = {
    POSTGRESQL: text(f"""
UPDATE return_order SET create_started_at = now(), first_attempt_at = coalesce(first_attempt_at, now())
 WHERE id = :id AND lease_token = :token AND shop_changes = :shop_changes AND create_started_at IS NULL
   AND state = 'pending' AND lease_until > clock_timestamp() + make_interval(secs => :call)
   AND {DOUBTFUL_SINCE.format("return_order")} IS NULL
   AND EXISTS (SELECT 1 FROM database_place p WHERE p.place = returns_worker_place())
   AND id IN (SELECT r.id FROM return_order r WHERE r.id = :id FOR UPDATE SKIP LOCKED) AND {DURABLY}
RETURNING create_started_at"""),
    SQLITE: text(f"""
UPDATE return_order
   SET create_started_at = {_SQLITE_NOW}, first_attempt_at = coalesce(first_attempt_at, {_SQLITE_NOW})
 WHERE id = :id AND lease_token = :token AND shop_changes = :shop_changes AND create_started_at IS NULL
   AND state = 'pending' AND lease_until > strftime('%Y-%m-%d %H:%M:%f', 'now', :call)
   AND {DOUBTFUL_SINCE.format("return_order")} IS NULL
RETURNING create_started_at"""),
}

NOBODY: Mapping[str, bool] = MappingProxyType({})
_RAMP = {
    POSTGRESQL: text(f"SELECT {HEALTH}, now() AS now FROM carrier_account a WHERE name = :name FOR UPDATE SKIP LOCKED"),
    SQLITE: text(f"SELECT {HEALTH}, {_SQLITE_NOW} AS now FROM carrier_account a WHERE name = :name"),
}
_IN_FLIGHT = {
    dialect: text(f"""SELECT count(*) FROM (
      SELECT {is_free(dialect, "r")} AS free FROM return_order r
       WHERE r.account = :name AND r.next_step = 'create' AND r.due_at <= {now}
       ORDER BY r.due_at, r.id LIMIT 1000) first WHERE NOT first.free""")
    for dialect, now in ((POSTGRESQL, "now()"), (SQLITE, _SQLITE_NOW))
}

_COUNT_CREATION = text("""
UPDATE database_place SET creations = creations + 1 WHERE place = :place AND creations >= :creations
RETURNING creations""")

# A row that somebody's open transaction locks is passed over, so that it does not keep the others.
_HAND_BACK = {
    POSTGRESQL: text("""
WITH x AS MATERIALIZED (
  SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS x(id bigint, token bigint, unsent bool, untried bool)
), free AS MATERIALIZED (
  SELECT r.id FROM return_order r WHERE r.id IN (SELECT x.id FROM x) ORDER BY r.id FOR UPDATE SKIP LOCKED
)
UPDATE return_order o SET lease_owner = NULL, lease_until = NULL, claims = greatest(o.claims - :counted, 0),
       create_started_at = CASE WHEN x.unsent THEN NULL ELSE o.create_started_at END,
       first_attempt_at = CASE WHEN x.untried THEN NULL ELSE o.first_attempt_at END
  FROM x WHERE o.id = x.id AND o.lease_token = x.token AND o.lease_owner IS NOT NULL AND x.id IN (SELECT id FROM free)
RETURNING o.id"""),
    SQLITE: text("""
UPDATE return_order SET lease_owner = NULL, lease_until = NULL, claims = max(claims - :counted, 0),
       create_started_at = CASE WHEN x.unsent THEN NULL ELSE create_started_at END,
       first_attempt_at = CASE WHEN x.untried THEN NULL ELSE first_attempt_at END
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.token') AS token,
               json_extract(value, '$.unsent') AS unsent, json_extract(value, '$.untried') AS untried
          FROM json_each(:rows)) x
 WHERE return_order.id = x.id AND return_order.lease_token = x.token AND lease_owner IS NOT NULL
RETURNING id"""),
}


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
    with as_a_whole("a rule that was added lets no return be taken"):
        taken = await readable(database, partial(_claim, database, lanes, owner, lease, marks, careful))
    return sorted(taken, key=lambda row: (row.due_at or row.claimed_at, row.order.id))


async def _claim(
    database: Database,
    lanes: Sequence[Lane],
    owner: str,
    lease: timedelta,
    marks: Marks,
    careful: Mapping[str, bool],
    bare: bool,
) -> list[Claimed]:
    wanted = [lane for lane in lanes if lane.quota > 0]
    if not wanted:
        return []
    counted = [lane for lane in wanted if lane.step is Step.CREATE and lane.account in careful]
    async with database.transaction() if counted else database.statement() as connection:
        for lane in counted:
            allowed = await _allowed(database, connection, lane.account, probing=careful[lane.account])
            wanted[wanted.index(lane)] = replace(lane, quota=min(lane.quota, allowed))
        wanted = [lane for lane in wanted if lane.quota > 0]
        if not wanted:
            return []
        rows = [
            {"account": lane.account, "step": lane.step, "quota": lane.quota} | after(marks, lane.account, lane.step)
            for lane in wanted
        ]
        parameters: dict[str, Any] = {"lanes": json.dumps(rows), "owner": owner}
        if database.dialect == POSTGRESQL:
            held: dict[str, Any] = {"lease": lease.total_seconds()}
        else:
            held = {"lease": f"{lease.total_seconds():+.3f} seconds", "most": max(lane.quota for lane in wanted)}
        return await read_rows(database, connection, _CLAIM[database.dialect], parameters | held, bare=bare)


async def _allowed(database: Database, connection: AsyncConnection, account: str, *, probing: bool) -> int:
    """How many more creations may be taken; the account's row is locked, so that nobody else counts meanwhile.

    What was known when the turn began may be over: a doubt that another step has told since counts here.

    Rows that are leased lie at the beginning of what is due. A row that somebody locks stands for none.
    """
    found = (await connection.execute(_RAMP[database.dialect], {"name": account})).mappings().one_or_none()
    if found is None:
        return 0
    now = read_moment(found["now"])
    assert now is not None
    health = read_health(found)
    if health.creations.is_open(now) and not probing:
        return 0
    allowed = health.ramp.allowed(now)
    if allowed is None:
        return ANY
    in_flight = (await connection.execute(_IN_FLIGHT[database.dialect], {"name": account})).scalar_one()
    return max(0, allowed - int(in_flight))


async def claim_seen(
    database: Database, account: str, refs: Sequence[str], asked_at: datetime, owner: str, lease: timedelta
) -> list[Claimed]:
    """Take the followed returns that a carrier's list showed, due or not; `asked_at`: when, on the database's clock.

    Left out are rows that somebody holds, asked something of, or recorded since. They come as `track` steps.
    """
    held = lease.total_seconds()
    parameters: dict[str, Any] = {"account": account, "refs": json.dumps(list(refs)), "owner": owner}
    if database.dialect == POSTGRESQL:
        statement, parameters = _POSTGRESQL_CLAIM_SEEN, parameters | {"asked_at": asked_at, "lease": held}
    else:
        times = {"asked_at": sqlite_text(asked_at), "lease": f"{held:+.3f} seconds"}
        statement, parameters = _SQLITE_CLAIM_SEEN, parameters | times
    async with database.statement() as connection:
        claimed = [read_claimed(row) for row in await connection.execute(statement, parameters)]
    # One that cannot be read is left to the claim that takes it when it is due.
    return [replace(e, order=e.order._replace(next_step=Step.TRACK)) for e in claimed if e.order.unreadable is None]


async def claim_to_settle(database: Database, account: str, quota: int, owner: str, lease: timedelta) -> list[Claimed]:
    """Take creations that are in doubt, and returns not yet sent that were withdrawn, while no creation may be sent."""
    held = lease.total_seconds()
    parameters = {"account": account, "quota": quota, "owner": owner}
    parameters |= {"lease": held if database.dialect == POSTGRESQL else f"{held:+.3f} seconds"}

    async def take(bare: bool) -> list[Claimed]:
        async with database.statement() as connection:
            return await read_rows(database, connection, _SETTLE_THEM[database.dialect], parameters, bare=bare)

    return await readable(database, take)


async def start_creation(database: Database, order: ReturnOrder, call: timedelta) -> datetime | None:
    """Commit the intent to create, before anything is sent; returns its time.

    None when the lease is lost or lasts no longer than the `call`, the shop changed or locks the row, or the database
    is not where it was when the worker looked last: nothing may be sent then.
    """
    seconds = call.total_seconds()
    parameters = {
        "id": order.id,
        "token": order.lease_token,
        "shop_changes": order.shop_changes,
        "call": seconds if database.dialect == POSTGRESQL else f"{seconds:+.3f} seconds",
    }
    if database.file is not None:
        return await _start_witnessed(database, database.file, parameters)
    async with database.statement() as connection:
        started = (await connection.execute(_INTENT[database.dialect], parameters)).scalar()
    return read_moment(started)


async def _start_witnessed(database: Database, file: SqliteFile, parameters: Mapping[str, Any]) -> datetime | None:
    """The intent, counted in the database and in the witness beside it: neither can be set back without the other."""
    async with database.transaction() as connection:
        started = (await connection.execute(_INTENT[SQLITE], parameters)).scalar()
        known = {"place": file.place, "creations": file.creations}
        count = (await connection.execute(_COUNT_CREATION, known)).scalar() if started is not None else None
        if count is None:
            await connection.rollback()
            return None
    file.sent(count)
    return read_moment(started)


async def hand_back(database: Database, orders: Sequence[ReturnOrder], *, counted: bool = True) -> set[int]:
    """Give up rows whose step was not started; a claim that was `counted` is not held against them.

    An intent to create that we committed ourselves, and never sent, is taken back with them. Returns the ids that were
    handed back; the others are not ours any more, or locked.
    """
    if not orders:
        return set()
    rows = [
        {
            "id": order.id,
            "token": order.lease_token,
            "unsent": order.create_started_at is None,
            "untried": order.first_attempt_at is None,
        }
        for order in orders
    ]
    async with database.statement() as connection:
        parameters = {"rows": json.dumps(rows), "counted": int(counted)}
        return {row.id for row in await connection.execute(_HAND_BACK[database.dialect], parameters)}
