"""Who is told of changes and how that goes, for a person; and what a person does to one: hold, release, retire."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.engine import RowMapping

from worker.domain.circuits import Circuit
from worker.domain.delivery import EndpointHold
from worker.domain.news import SubscriberKind
from worker.store.columns import FOREVER, bound, read_moment
from worker.store.dialect import NOW
from worker.store.holds import HELD_BY_PERSON
from worker.store.leases import LATEST_END
from worker.store.outbox import MISSED, MOST_COUNTED, OUTBOX, UNSENT
from worker.store.presence import NEWS
from worker.store.transactions import in_statement, in_transaction, reading
from worker.store.webhooks import hold_of

_MOST_OF_A_MESSAGE = 500  # characters, as of an account's
_REMOVED = 5000  # rows in a transaction


@dataclass(frozen=True, slots=True)
class SubscriberState:
    """How it goes with one who is told of changes; `now` is the database's time.

    `waiting` and `missed` are counted up to `MOST_COUNTED`; of a table, what waits is what the shop has not deleted.
    `last_error` is why a webhook's oldest event that was tried did not get there, in our words. `sender`: the worker
    that sends to it. `workers`: how many that live serve it.
    """

    name: str
    kind: SubscriberKind
    events: tuple[str, ...]
    accounts: tuple[str, ...]
    keep: timedelta
    waiting: int
    oldest_at: datetime | None
    missed: int
    missed_since: datetime | None
    last_error: str | None
    hold: EndpointHold | None
    circuit: Circuit
    sender: str | None
    workers: int
    now: datetime


def _of(columns: str, table: str, order: str = "") -> str:
    return f"SELECT {columns} FROM {table} e WHERE e.subscriber = s.name{order}"


def _counted(table: str) -> str:
    return f"(SELECT count(*) FROM ({_of('1', table, ' LIMIT :most')}) AS few)"


def _oldest(table: str, order: str) -> str:
    # A replay makes what is old wait behind what is newer.
    few = _of("e.observed_at", table, f" ORDER BY e.{order} LIMIT :most")
    return f"(SELECT min(few.observed_at) FROM ({few}) AS few)"


def _either(table: str, webhook: str) -> str:
    return f"CASE s.kind WHEN '{SubscriberKind.TABLE}' THEN {table} ELSE {webhook} END"


_READ = {
    dialect: text(f"""
SELECT s.name, s.kind, s.events, s.accounts, s.keep_seconds, s.held_until, s.hold_code, s.hold_message, s.failures,
       s.open_until, CASE WHEN s.lease_until > {now} THEN s.lease_owner END AS sender, {now} AS now,
       {_either(_counted(OUTBOX), _counted(UNSENT))} AS waiting,
       {_either(_oldest(OUTBOX, "id"), _oldest(UNSENT, "due_at"))} AS oldest_at,
       {_counted(MISSED)} AS missed,
       ({_of("min(e.given_up_at)", MISSED)}) AS missed_since,
       coalesce(
         ({_of("e.error_message", UNSENT, " AND e.error_message IS NOT NULL ORDER BY e.id LIMIT 1")}),
         ({_of("e.error_message", MISSED, " ORDER BY e.given_up_at DESC, e.id DESC LIMIT 1")})
       ) AS last_error,
       (SELECT count(*) FROM worker_serves v JOIN worker_presence p ON p.worker = v.worker
         WHERE v.kind = '{NEWS}' AND v.name = s.name AND p.until > {now} AND p.until <= {LATEST_END[dialect]})
         AS workers
  FROM news_subscriber s ORDER BY s.name""")
    for dialect, now in NOW.items()
}
_HOLD = {
    dialect: text(f"""UPDATE news_subscriber SET held_until = :until, hold_code = '{HELD_BY_PERSON}',
       hold_message = :message, updated_at = {now} WHERE name = :name""")
    for dialect, now in NOW.items()
}
# With one in flight, as after an outage; what was put off until later is tried now.
_RELEASE = {
    dialect: text(f"""UPDATE news_subscriber SET held_until = NULL, hold_code = NULL, hold_message = NULL, failures = 0,
       open_until = NULL, in_flight_most = 1, updated_at = {now} WHERE name = :name""")
    for dialect, now in NOW.items()
}
_DUE_NOW = {
    dialect: text(f"UPDATE webhook_event SET due_at = {now} WHERE subscriber = :name AND due_at > {now}")
    for dialect, now in NOW.items()
}
_FORGET = text("DELETE FROM news_subscriber WHERE name = :name")
TABLES = (OUTBOX, UNSENT, MISSED)
"""Where something may wait for a subscriber."""
_REMOVE = {
    table: text(f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE subscriber = :name LIMIT {_REMOVED})")
    for table in TABLES
}
_LEFT = text(
    " UNION ALL ".join(f"SELECT 1 WHERE EXISTS (SELECT 1 FROM {table} WHERE subscriber = :name)" for table in TABLES)
)


@reading
def read_subscribers(connection: Connection) -> dict[str, SubscriberState]:
    """Every subscriber that a worker has registered, by name."""
    rows = connection.execute(_READ[connection.dialect.name], {"most": MOST_COUNTED}).mappings()
    return {row["name"]: _subscriber(row) for row in rows}


@reading
def is_anything_left(connection: Connection, name: str) -> bool:
    """Whether events wait for a subscriber, registered or not."""
    return connection.execute(_LEFT, {"name": name}).first() is not None


@in_statement
def hold_subscriber(connection: Connection, name: str, message: str) -> bool:
    """Send nothing to a webhook until it is released; whether there is one of this name."""
    dialect = connection.dialect.name
    values = {"name": name, "until": bound(dialect, FOREVER), "message": message[:_MOST_OF_A_MESSAGE]}
    return connection.execute(_HOLD[dialect], values).rowcount == 1


@in_transaction
def release_subscriber(connection: Connection, name: str) -> bool:
    """End whatever keeps a webhook waiting, and try what waits now, beginning with one; whether there is one."""
    dialect = connection.dialect.name
    if connection.execute(_RELEASE[dialect], {"name": name}).rowcount == 0:
        return False
    connection.execute(_DUE_NOW[dialect], {"name": name})
    return True


@in_statement
def forget_subscriber(connection: Connection, name: str) -> None:
    """Write no event for it any more."""
    connection.execute(_FORGET, {"name": name})


@in_statement
def remove_some(connection: Connection, table: str, name: str) -> int:
    """Remove some of what waits for it in one of `TABLES`; returns how many, 0 when nothing is left."""
    return connection.execute(_REMOVE[table], {"name": name}).rowcount


def _subscriber(row: RowMapping) -> SubscriberState:
    now = read_moment(row["now"])
    return SubscriberState(
        row["name"],
        SubscriberKind(row["kind"]),
        tuple(json.loads(row["events"])),
        tuple(json.loads(row["accounts"])),
        timedelta(seconds=row["keep_seconds"]),
        row["waiting"],
        read_moment(row["oldest_at"]),
        row["missed"],
        read_moment(row["missed_since"]),
        row["last_error"],
        hold_of(row, now),
        Circuit(row["failures"], read_moment(row["open_until"])),
        row["sender"],
        row["workers"],
        now,
    )
