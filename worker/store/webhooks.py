"""What is to be sent to webhooks: who sends it, what comes next of each return, and what became of it.

A worker that sends holds a lease in the subscriber's row, with a token that fences out an earlier holder. Of each
return it sees the head only, the event that comes first: the next one is seen when that one is gone from the table,
delivered or given up. So news is in order for each return, and no return waits for another.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text
from sqlalchemy.engine import RowMapping

from worker.domain.circuits import Circuit
from worker.domain.delivery import Again, Endpoint, EndpointHold, Verdict
from worker.domain.news import Message, Source
from worker.store.columns import FOREVER, bound, columns_of, read_moment
from worker.store.dialect import (
    AMONG_IDS,
    CLOCK,
    NOW,
    POSTGRESQL,
    SKIP_LOCKED,
    SQLITE,
    among,
    json_rows,
    json_values,
    later,
)
from worker.store.durability import DURABLY
from worker.store.holds import BRIEFLY, NOTHING, hold_lasts
from worker.store.leases import is_free
from worker.store.news_tables import WebhookMissedRow
from worker.store.outbox import MOST_COUNTED
from worker.store.transactions import in_statement, in_transaction, reading

_MOST_SAID = 500  # characters of a message
_ENDPOINT = "s.held_until, s.hold_code, s.hold_message, s.failures, s.open_until, s.in_flight_most"
_HEAD = """e.id = (SELECT b.id FROM webhook_event b
          WHERE b.subscriber = e.subscriber AND b.return_order_id = e.return_order_id
          ORDER BY b.position, b.id LIMIT 1)"""
# What comes first is looked at first, and no more than is needed: each event costs a look at its return. OFFSET 0 keeps
# PostgreSQL's planner, which cannot know how few that are, from looking at all of them before it sorts.
_BY_DUE = {
    POSTGRESQL: """(SELECT w.* FROM webhook_event w WHERE w.subscriber = :name AND w.due_at <= {until}
   ORDER BY w.due_at{down}, w.id{down} OFFSET 0) AS e
 WHERE {which} LIMIT {most}""",
    SQLITE: """webhook_event e WHERE e.subscriber = :name AND e.due_at <= {until} AND {which}
 ORDER BY e.due_at{down}, e.id{down} LIMIT {most}""",
}
_EVER = {POSTGRESQL: "'infinity'", SQLITE: "'9999-12-31 23:59:59.999'"}
_IS_WEBHOOK = "s.name = :name AND s.kind = 'webhook'"


def _is_next(dialect: str) -> str:
    return f"NOT e.return_order_id {among(dialect, 'busy', 'bigint')} AND {_HEAD}"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The first event of a return that has yet to be told, and how often telling it failed."""

    id: int
    message: Message
    attempts: int
    first_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Look:
    """How an endpoint does, and when the next event may be sent to it; None: none waits. `now` is the database's."""

    endpoint: Endpoint
    next_at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Results:
    """What was written down of some tries: how the endpoint did before, and what followed; at the database's time."""

    before: Endpoint
    verdict: Verdict
    now: datetime


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What waits for a webhook, and how its endpoint does; `pending` is counted up to `MOST_COUNTED`."""

    endpoint: Endpoint
    pending: int
    oldest_at: datetime | None
    now: datetime


_LOOK = {
    dialect: text(f"""
SELECT {_ENDPOINT}, {now} AS now, (
         SELECT e.due_at FROM {_BY_DUE[dialect].format(until=_EVER[dialect], which=_HEAD, most=1, down="")}) AS next_at
  FROM news_subscriber s WHERE {_IS_WEBHOOK}""")
    for dialect, now in NOW.items()
}
_TAKE = {
    dialect: text(f"""
UPDATE news_subscriber SET lease_owner = :owner, lease_until = {later(dialect, ":lease")}, lease_token = lease_token + 1
 WHERE name IN (SELECT s.name FROM news_subscriber s
                 WHERE {_IS_WEBHOOK} AND {is_free(dialect, "s")}{SKIP_LOCKED[dialect]})
       {f"AND {DURABLY}" if dialect == POSTGRESQL else ""}
RETURNING lease_token""")
    for dialect in NOW
}
_HAND_BACK = text("""UPDATE news_subscriber SET lease_owner = NULL, lease_until = NULL
 WHERE name = :name AND lease_owner = :owner AND lease_token = :token""")
_TOLD = tuple(Message.__dataclass_fields__)
_HEADS = {
    (dialect, last): text(f"""
SELECT e.id, e.attempts, e.first_attempt_at, {", ".join(f"e.{name}" for name in _TOLD)}
  FROM {_BY_DUE[dialect].format(until=now, which=_is_next(dialect), most=":most", down=" DESC" if last else "")}""")
    for dialect, now in NOW.items()
    for last in (False, True)
}
_READ = f"SELECT {_ENDPOINT}, s.lease_owner, s.lease_token"
_LOCK = {
    POSTGRESQL: text(f"""{BRIEFLY} {_READ}, {CLOCK[POSTGRESQL]} AS now FROM news_subscriber s CROSS JOIN briefly
 WHERE s.name = :name FOR UPDATE OF s"""),
    # its transaction is the only one that writes
    SQLITE: text(f"{_READ}, {NOW[SQLITE]} AS now FROM news_subscriber s WHERE s.name = :name"),
}
# By their ids alone, which are given once: with the subscriber beside them SQLite walks through all that waits for it.
_DELIVERED = {
    dialect: text(f"""DELETE FROM webhook_event WHERE id {AMONG_IDS[dialect]}
RETURNING return_order_id, error_message IS NOT NULL AS had_failed""")
    for dialect in NOW
}
_FAILED = {"id": "bigint", "attempts": "int", "wait": "float8", "message": "text", "was_sent": "bool"}
_AGAIN = {
    dialect: text(f"""
UPDATE webhook_event AS e SET attempts = x.attempts, error_message = x.message, due_at = {later(dialect, "x.wait")},
       first_attempt_at = CASE WHEN x.was_sent THEN coalesce(e.first_attempt_at, {now}) ELSE e.first_attempt_at END
  FROM {json_rows(dialect, "rows", _FAILED, "x")} WHERE e.id = x.id""")
    for dialect, now in NOW.items()
}
# What comes behind an event waits as long as it does. Were it due all the while, each look would pass over all of it:
# with 20,000 returns put off, and four events behind each, that took 0.2 to 0.7 s each time. By NOT, since SQLite would
# look for what is due at any time, and not for what is of the return.
_BEHIND = {
    dialect: text(f"""
UPDATE webhook_event AS b SET due_at = (
         SELECT e.due_at FROM webhook_event e
          WHERE e.subscriber = b.subscriber AND e.return_order_id = b.return_order_id ORDER BY e.position, e.id LIMIT 1)
 WHERE b.id IN (
         SELECT n.id FROM {json_rows(dialect, "rows", {"id": "bigint"}, "x")}
          CROSS JOIN webhook_event e CROSS JOIN webhook_event n
          WHERE e.id = x.id AND n.subscriber = :name AND n.return_order_id = e.return_order_id
            AND NOT n.due_at >= e.due_at)""")
    for dialect in NOW
}
_RETURNS = {
    dialect: text(f"SELECT return_order_id FROM webhook_event WHERE id {AMONG_IDS[dialect]}") for dialect in NOW
}
_NEXT = {
    dialect: text(f"""UPDATE webhook_event SET due_at = {now}
 WHERE id IN (SELECT n.id FROM {json_values(dialect, "ids")} v CROSS JOIN webhook_event n
               WHERE n.subscriber = :name AND n.return_order_id = CAST(v.value AS bigint) AND NOT n.due_at <= {now})""")
    for dialect, now in NOW.items()
}
_KEPT = ", ".join(
    each.name for each in columns_of(WebhookMissedRow) if each.name not in ("id", "given_up_at", "error_message")
)
_GIVEN_UP = {
    POSTGRESQL: [
        text(f"""
WITH x AS MATERIALIZED (SELECT * FROM {json_rows(POSTGRESQL, "rows", _FAILED, "x")}), gone AS (
  DELETE FROM webhook_event e USING x WHERE e.id = x.id RETURNING e.*, x.message
) INSERT INTO webhook_missed ({_KEPT}, error_message) SELECT {_KEPT}, message FROM gone ORDER BY id""")
    ],
    SQLITE: [
        text(f"""
INSERT INTO webhook_missed ({_KEPT}, error_message) SELECT {_KEPT}, x.message
  FROM {json_rows(SQLITE, "rows", _FAILED, "x")} JOIN webhook_event e ON e.id = x.id
 ORDER BY e.id"""),
        text("DELETE FROM webhook_event WHERE id IN (SELECT json_extract(value, '$.id') FROM json_each(:rows))"),
    ],
}
_KEEP = {
    dialect: text(f"""
UPDATE news_subscriber SET held_until = :held_until, hold_code = :hold_code, hold_message = :hold_message,
       failures = :failures, open_until = :open_until, in_flight_most = :in_flight_most,
       lease_until = {later(dialect, ":lease")}, updated_at = {now}
 WHERE name = :name""")
    for dialect, now in NOW.items()
}
# Those that are due first are the oldest, but for some that failed.
_FEW = "(SELECT e.observed_at FROM webhook_event e WHERE e.subscriber = s.name ORDER BY e.due_at LIMIT :most) AS few"
_STATES = {
    dialect: text(f"""
SELECT s.name, {_ENDPOINT}, {now} AS now, (SELECT count(*) FROM {_FEW}) AS pending,
       (SELECT min(few.observed_at) FROM {_FEW}) AS oldest_at
  FROM news_subscriber s WHERE s.kind = 'webhook'""")
    for dialect, now in NOW.items()
}


@reading
def look(connection: Connection, name: str) -> Look | None:
    """How the webhook's endpoint does, and when the next event is due; None: no such one is registered."""
    row = connection.execute(_LOOK[connection.dialect.name], {"name": name}).mappings().one_or_none()
    if row is None:
        return None
    now = read_moment(row["now"])
    return Look(_endpoint(row, now), read_moment(row["next_at"]), now)


@in_statement
def take_lease(connection: Connection, name: str, owner: str, seconds: float) -> int | None:
    """Be the one that sends to this webhook for so long; the token of the lease, None: somebody else is."""
    values = {"name": name, "owner": owner, "lease": seconds}
    token: int | None = connection.execute(_TAKE[connection.dialect.name], values).scalar_one_or_none()
    return token


@in_statement
def hand_back(connection: Connection, name: str, owner: str, token: int) -> None:
    """End this lease, and no later one."""
    connection.execute(_HAND_BACK, {"name": name, "owner": owner, "token": token})


@reading
def heads(connection: Connection, name: str, busy: Collection[int], most: int, *, last: bool = False) -> list[Outgoing]:
    """The first event of each return that is due, but for the returns that are `busy`; due longest first, or last."""
    values = {"name": name, "busy": json.dumps(sorted(busy)), "most": most}
    return [_outgoing(row) for row in connection.execute(_HEADS[connection.dialect.name, last], values).mappings()]


@in_transaction
def record_tries(
    connection: Connection,
    name: str,
    owner: str,
    token: int,
    seconds: float,
    judge: Callable[[Endpoint, datetime], Verdict],
) -> Results | None:
    """Write down what `judge` makes of some tries, and hold the lease for `seconds` more; None: it was lost.

    `judge` is given how the endpoint does by its row, which nobody else changes meanwhile, and the database's time.
    Raises `RowLocked`.
    """
    dialect = connection.dialect.name
    row = connection.execute(_LOCK[dialect], {"name": name}).mappings().one_or_none()
    if row is None or (row["lease_owner"], row["lease_token"]) != (owner, token):
        return None
    now = read_moment(row["now"])
    before = _endpoint(row, now)
    verdict = judge(before, now)
    freed: list[int] = []  # returns whose next event waited with the one before it
    if verdict.delivered:
        values = {"name": name, "ids": json.dumps(list(verdict.delivered))}
        freed += [row.return_order_id for row in connection.execute(_DELIVERED[dialect], values) if row.had_failed]
    if verdict.again:
        for statement in (_AGAIN[dialect], _BEHIND[dialect]):
            connection.execute(statement, {"name": name, "rows": _dumped(verdict.again)})
    if verdict.given_up:
        values = {"name": name, "ids": json.dumps([each.id for each in verdict.given_up])}
        freed += connection.execute(_RETURNS[dialect], values).scalars()
    for statement in _GIVEN_UP[dialect] if verdict.given_up else ():
        connection.execute(statement, {"name": name, "rows": _dumped(verdict.given_up)})
    if freed:
        connection.execute(_NEXT[dialect], {"name": name, "ids": json.dumps(freed)})
    hold, circuit = verdict.endpoint.hold, verdict.endpoint.circuit
    kept = {
        "held_until": bound(dialect, (hold.until or FOREVER) if hold is not None else None),
        "hold_code": hold.code if hold is not None else None,
        "hold_message": hold.message[:_MOST_SAID] if hold is not None else None,
        "failures": circuit.failures,
        "open_until": bound(dialect, circuit.open_until),
        "in_flight_most": verdict.endpoint.in_flight_most,
    }
    connection.execute(_KEEP[dialect], kept | {"name": name, "lease": seconds})
    return Results(before, verdict, now)


@reading
def read_endpoints(connection: Connection) -> Mapping[str, EndpointState]:
    """Every webhook that is registered, by name."""
    rows = connection.execute(_STATES[connection.dialect.name], {"most": MOST_COUNTED}).mappings()
    states = {}
    for row in rows:
        now = read_moment(row["now"])
        states[row["name"]] = EndpointState(_endpoint(row, now), row["pending"], read_moment(row["oldest_at"]), now)
    return states


def describe(state: EndpointState) -> str:
    """What keeps an endpoint waiting, in a few words without anybody's text; `NOTHING` when nothing does."""
    hold, circuit = state.endpoint.hold, state.endpoint.circuit
    if hold is not None:
        until = "it is released" if hold.until is None else f"{hold.until:%Y-%m-%d %H:%M:%S} UTC"
        return f"held until {until} ({hold.code})"
    times = f"after {circuit.failures} failures in a row"
    if circuit.is_open(state.now):
        return f"left alone until {circuit.open_until:%Y-%m-%d %H:%M:%S} UTC {times}"
    return NOTHING if circuit.is_closed else f"tried one at a time {times}"


def hold_of(row: RowMapping, now: datetime) -> EndpointHold | None:
    """What holds the subscriber of this row of `news_subscriber`, if anything does."""
    until, code = read_moment(row["held_until"]), row["hold_code"] or ""
    if until is None or not hold_lasts(until, code, now):
        return None
    return EndpointHold(until if until < FOREVER else None, code, row["hold_message"] or "")


def _endpoint(row: RowMapping, now: datetime) -> Endpoint:
    return Endpoint(hold_of(row, now), Circuit(row["failures"], read_moment(row["open_until"])), row["in_flight_most"])


def _outgoing(row: RowMapping) -> Outgoing:
    told = {name: row[name] for name in _TOLD}
    told |= {name: read_moment(row[name]) for name in ("observed_at", "carrier_time")}
    message = Message(**told | {"source": Source(row["source"])})
    return Outgoing(row["id"], message, row["attempts"], read_moment(row["first_attempt_at"]))


def _dumped(failed: Sequence[Again]) -> str:
    # To the millisecond: SQLite reads no exponent in "N seconds".
    return json.dumps(
        [
            {
                "id": each.id,
                "attempts": each.attempts,
                "wait": round(each.wait.total_seconds(), 3),
                "message": each.message[:_MOST_SAID],
                "was_sent": each.was_sent,
            }
            for each in failed
        ]
    )
