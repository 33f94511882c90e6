"""Writes a return's history and its labels, and the events that tell of them, in one statement or transaction.

Whatever inserts into `status_transition` or `label` does it by what stands here, so that each row has its place among
the events of its return and is told to those who subscribed. On PostgreSQL the events are a part of the statement that
writes the row; on SQLite they are inserted in the same transaction, if there is a subscriber of that kind.

The events of a return are counted at the return. `event_count` is NULL until its next row is written after schema 0018:
then what there is by then counts.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, text

from worker.domain.decision import Transition
from worker.domain.documents import read_json
from worker.domain.news import LABEL_STORED, Source, Subscriber, SubscriberKind, told_reason
from worker.store.columns import sqlite_text, types_of
from worker.store.dialect import NOW, POSTGRESQL, SQLITE, extracted, json_members, json_rows, typed
from worker.store.tables import LabelRow, StatusTransitionRow
from worker.store.transactions import in_transaction

TRANSITION = types_of(StatusTransitionRow, "id", "return_order_id", "observed_at", "event_position")
LABEL = types_of(LabelRow, "id", "return_order_id", "position", "fetched_at", "event_position")

HISTORY = {"told": "int", "transitions": "json", "labels": "json"}
"""What a row says of its history, with PostgreSQL's types: the lines, the labels, and how many both are together."""

_PLACE = {"place": "int"}  # among the events that are about to be written of this return, from 1


def names(columns: Iterable[str], prefix: str = "") -> str:
    """Columns as SQL lists them."""
    return ", ".join(f"{prefix}{name}" for name in columns)


def upsert(columns: Iterable[str]) -> str:
    """A refetched label or a re-read shipment replaces the earlier row of its position."""
    return "ON CONFLICT (return_order_id, position) DO UPDATE SET " + ", ".join(
        f"{name} = excluded.{name}" for name in columns
    )


COUNT = """event_count = CASE WHEN x.told = 0 THEN o.event_count ELSE x.told + coalesce(o.event_count,
         (SELECT count(*) FROM status_transition h WHERE h.return_order_id = o.id)
         + (SELECT count(*) FROM label h WHERE h.return_order_id = o.id)) END"""
"""Counts what is about to be written: SET of an UPDATE of `return_order AS o` from rows `x`."""


def _covered(dialect: str) -> str:
    """Whether `s` is told of `e`, as `worker.domain.news.covers` has it; to LIKE a _ would mean any character."""

    events, accounts = (json_members(dialect, f"s.{column}", "p") for column in ("events", "accounts"))
    return f"""(s.events = '[]' OR EXISTS (SELECT 1 FROM {events} WHERE p.value = e.type
         OR (substr(p.value, length(p.value)) = '*'
             AND substr(e.type, 1, length(p.value) - 1) = substr(p.value, 1, length(p.value) - 1))))
     AND (s.accounts = '[]' OR EXISTS (SELECT 1 FROM {accounts} WHERE p.value = e.account))"""


_EVENT = (*("type", "account", "reference", "return_order_id", "position", "source", "source_id", "observed_at"),)
MESSAGE = (
    *_EVENT,
    *("carrier_ref", "carrier_status", "carrier_time", "old_value", "new_value", "reason"),
)
"""What an event says to a webhook, but for its subscriber."""
_OUTBOXES = {SubscriberKind.TABLE: ("return_event", _EVENT), SubscriberKind.WEBHOOK: ("webhook_event", MESSAGE)}


def _tell(dialect: str, kind: SubscriberKind, events: str, only_if: str = "") -> str:
    """Insert an event `e` for each of the subscribers of this kind that it is for."""
    table, columns = _OUTBOXES[kind]
    return f"""INSERT INTO {table} (subscriber, {names(columns)})
  SELECT s.name, {names(columns, "e.")} FROM news_subscriber s JOIN {events} e ON {_covered(dialect)}
   WHERE s.kind = '{kind}'{only_if} ORDER BY e.return_order_id, e.position"""


def _events(of_transition: str, of_label: str, reason: str) -> str:
    """The events of rows `t` and `l` of the returns `o`, all that is said of them."""
    return f"""
  SELECT '{Source.TRANSITION}' AS source, t.id AS source_id, t.return_order_id, t.event_position AS position,
         t.observed_at, t.field || '.' || t.new_value AS type, o.account, o.reference, o.carrier_ref,
         t.carrier_status, t.carrier_time, t.old_value, t.new_value, {reason} AS reason
    FROM {of_transition}
  UNION ALL
  SELECT '{Source.LABEL}', l.id, l.return_order_id, l.event_position,
         l.fetched_at, '{LABEL_STORED}', o.account, o.reference, o.carrier_ref, NULL, NULL, NULL, NULL, NULL
    FROM {of_label}"""


def _is_any(kind: SubscriberKind) -> str:
    # Not of the row: so it is asked once, and without a subscriber nothing of the rest is done.
    return f" AND EXISTS (SELECT 1 FROM news_subscriber WHERE kind = '{kind}')"


_REASON = {"told_reason": "text"}
_STORED = {"position": "int"} | LABEL | _PLACE
UNTOLD_RETURNED = "o.id, o.event_count - x.told AS counted, x.transitions, x.labels"
RETURNED = f"{UNTOLD_RETURNED}, o.account, o.reference, o.carrier_ref"
"""What the CTE `u`, the UPDATE that counted, returns for `TOLD_HISTORY`; the one before, for `UNTOLD_HISTORY`."""


def _postgresql_history(
    returning_line: str = "", returning_label: str = "", also: Mapping[str, str] = MappingProxyType({})
) -> str:
    line = {**TRANSITION, **also}
    return f"""d AS (
  SELECT u.id AS return_order_id, u.counted + d.place AS event_position, {names(line, "d.")}
    FROM u CROSS JOIN LATERAL json_to_recordset(u.transitions) AS d({typed(line | _PLACE)})
), t AS (
  INSERT INTO status_transition (return_order_id, event_position, {names(TRANSITION)})
  SELECT d.return_order_id, d.event_position, {names(TRANSITION, "d.")} FROM d
   ORDER BY d.return_order_id, d.event_position
  {returning_line}
), l AS (
  INSERT INTO label (return_order_id, event_position, {names(["position", *LABEL])}, fetched_at)
  SELECT u.id, u.counted + l.place, {names(["position", *LABEL], "l.")}, now()
    FROM u CROSS JOIN LATERAL json_to_recordset(u.labels) AS l({typed(_STORED)})
  {upsert([*LABEL, "fetched_at", "event_position"])}
  {returning_label}
)"""


UNTOLD_HISTORY = _postgresql_history()
"""CTEs that write the history of the returns that the CTE `u` updated, where nobody is to be told of it."""
IS_UNTOLD = "(x.told = 0 OR NOT EXISTS (SELECT 1 FROM news_subscriber))"
"""Whether that is so, of a row `x`."""
TOLD_HISTORY = f"""{
    _postgresql_history(
        "RETURNING id, return_order_id, event_position, observed_at, field, old_value, new_value, carrier_status,"
        " carrier_time",
        "RETURNING id, return_order_id, event_position, fetched_at",
        _REASON,
    )
}, e AS ({
    _events(
        "t JOIN d ON d.return_order_id = t.return_order_id AND d.event_position = t.event_position"
        " JOIN u o ON o.id = t.return_order_id",
        "l JOIN u o ON o.id = l.return_order_id",
        "d.told_reason",
    )
}
), r AS (
  {_tell(POSTGRESQL, SubscriberKind.TABLE, "e", _is_any(SubscriberKind.TABLE))} RETURNING subscriber
), w AS (
  {_tell(POSTGRESQL, SubscriberKind.WEBHOOK, "e", _is_any(SubscriberKind.WEBHOOK))}
), n AS (
  SELECT pg_notify('returns_news', CAST(json_build_object('subscriber', r.subscriber, 'events', count(*)) AS text))
    FROM r JOIN news_subscriber s ON s.name = r.subscriber AND s.notify GROUP BY r.subscriber
)"""
"""The same, and tell of it."""
SAID = "(SELECT count(*) FROM n) IS NOT NULL"
"""True; a query that asks it has the notifications of `TOLD_HISTORY` sent."""

KINDS = "(SELECT group_concat(DISTINCT s.kind) FROM news_subscriber s) AS kinds"
"""On SQLite the kinds of the subscribers that there are, for `insert_history`; NULL: none."""


_LINES_OF, _LABELS_OF = (
    f"json_each(:rows) AS row CROSS JOIN json_each(row.value, '$.{member}') AS part"
    for member in ("transitions", "labels")
)
_SQLITE_PLACE = "json_extract(row.value, '$.before') + json_extract(part.value, '$.place')"
_SQLITE_INSERTS = {
    "transitions": text(f"""
INSERT INTO status_transition (return_order_id, event_position, {names(TRANSITION)})
SELECT json_extract(row.value, '$.id'), {_SQLITE_PLACE}, {extracted(TRANSITION, "part.value")} FROM {_LINES_OF}"""),
    "labels": text(f"""
INSERT INTO label (return_order_id, event_position, {names(["position", *LABEL])})
SELECT json_extract(row.value, '$.id'), {_SQLITE_PLACE}, {extracted(["position", *LABEL], "part.value")}
  FROM {_LABELS_OF} WHERE true
{upsert([*LABEL, "event_position"])}, fetched_at = {NOW[SQLITE]}"""),
}


def _sqlite_written(rows: str, table: str, name: str) -> str:
    """What was just inserted; by CROSS JOIN it is looked up, and never walked through (sqlite.org/optoverview.html)."""
    return f"""{rows} CROSS JOIN return_order o ON o.id = json_extract(row.value, '$.id')
    CROSS JOIN {table} {name} ON {name}.return_order_id = o.id AND {name}.event_position = {_SQLITE_PLACE}"""


_SQLITE_EVENTS = _events(
    _sqlite_written(_LINES_OF, "status_transition", "t"),
    _sqlite_written(_LABELS_OF, "label", "l"),
    "json_extract(part.value, '$.told_reason')",
)
_SQLITE_TELL = {kind: text(_tell(SQLITE, kind, f"({_SQLITE_EVENTS})")) for kind in SubscriberKind}

_ADD = {
    POSTGRESQL: text(f"""
WITH x AS MATERIALIZED (
  SELECT * FROM {json_rows(POSTGRESQL, "rows", {"id": "bigint"} | HISTORY, "x")}
), u AS (
  UPDATE return_order AS o SET {COUNT} FROM x WHERE o.id = x.id RETURNING {RETURNED}
), {TOLD_HISTORY}
SELECT u.id FROM u WHERE {SAID}"""),
    SQLITE: text(f"""
UPDATE return_order AS o SET {COUNT}
  FROM {json_rows(SQLITE, "rows", {"id": "bigint", "told": "int"}, "x")} WHERE o.id = x.id
RETURNING id, event_count, {KINDS}"""),
}


def add_history(connection: Connection, history: Iterable[Mapping[str, Any]]) -> None:
    """Write what `history_of` made, each with the `id` of its return; the rows are locked, or nobody else has them."""
    rows = sorted(history, key=lambda row: int(row["id"]))
    dialect = connection.dialect.name
    found = connection.execute(_ADD[dialect], {"rows": dumped(rows, dialect)}).all()
    if dialect == SQLITE:
        insert_history(connection, rows, found)


def add_remarks(connection: Connection, orders: Iterable[Any], reason: str) -> None:
    """Give each of these returns, by its `id`, `state` and `carrier_status`, a line that changes no state."""
    dialect = connection.dialect.name
    lines = [(row.id, Transition("state", row.state, row.state, row.carrier_status, reason=reason)) for row in orders]
    add_history(connection, [{"id": order_id, **history_of(dialect, [line])} for order_id, line in lines])


def insert_history(connection: Connection, rows: Sequence[Mapping[str, Any]], counted: Sequence[Any]) -> None:
    """On SQLite, insert what was just counted; `counted` has an `id`, `event_count` and `KINDS` of each return."""
    rows = [row for row in rows if row["told"]]
    if not rows:
        return
    counts, kinds = {each.id: each.event_count for each in counted}, counted[0].kinds
    written = [
        {"id": row["id"], "before": counts[row["id"]] - row["told"]}
        | {member: row[member] for member in _SQLITE_INSERTS}
        for row in rows
    ]
    values = {"rows": dumped(written, SQLITE)}
    for member, statement in _SQLITE_INSERTS.items():
        if any(row[member] for row in written):
            connection.execute(statement, values)
    for kind in kinds.split(",") if kinds else ():
        connection.execute(_SQLITE_TELL[SubscriberKind(kind)], values)


_REGISTER = {
    dialect: text(f"""
INSERT INTO news_subscriber (name, kind, events, accounts, notify, keep_seconds)
VALUES (:name, :kind, :events, :accounts, :notify, :keep)
    ON CONFLICT (name) DO UPDATE SET events = excluded.events, accounts = excluded.accounts, notify = excluded.notify,
       keep_seconds = excluded.keep_seconds, updated_at = {now}
 WHERE news_subscriber.kind = excluded.kind
RETURNING name""")
    for dialect, now in NOW.items()
}


class KindChanged(Exception):
    """A subscriber is registered as another kind; the message says how that can be changed."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            f"news.{name}.kind: it is registered already, and not as a {kind}; what waits for it would never be told:"
            f" give this one another name, or remove the registered one by `returns-worker webhooks retire {name}`"
        )


@in_transaction
def register_subscribers(connection: Connection, subscribers: Sequence[Subscriber]) -> list[str]:
    """Have each told from now on, as it says; the names of others that are registered, who go on being told.

    Raises `KindChanged`, and then registers none.
    """
    for each in sorted(subscribers, key=lambda each: each.name):
        values = {
            **{"name": each.name, "kind": each.kind, "notify": each.notify},
            **{"events": json.dumps(each.events), "accounts": json.dumps(each.accounts)},
            "keep": int(each.keep.total_seconds()),
        }
        if connection.execute(_REGISTER[connection.dialect.name], values).first() is None:
            raise KindChanged(each.name, each.kind)
    registered = connection.execute(text("SELECT name FROM news_subscriber ORDER BY name")).scalars()
    return sorted(set(registered) - {each.name for each in subscribers})


def follow_renamed(connection: Connection, old: str, new: str) -> None:
    """Have those who are told of the account `old` told of `new` too, until their settings say which it is."""
    of_some = connection.execute(text("SELECT name, accounts FROM news_subscriber WHERE accounts <> '[]'")).all()
    for name, accounts in of_some:
        told_of = json.loads(accounts)
        if old in told_of and new not in told_of:
            connection.execute(
                text("UPDATE news_subscriber SET accounts = :accounts WHERE name = :name"),
                {"name": name, "accounts": json.dumps([*told_of, new])},
            )


def history_of(dialect: str, transitions: Iterable[Transition] = (), labels: Iterable[Any] = ()) -> dict[str, Any]:
    """What a row says of its history: `HISTORY`, with labels as `StoredLabel` has them."""
    lines = [
        part_of(line, dialect) | {"place": place, "told_reason": told_reason(line.reason)}
        for place, line in enumerate(transitions, 1)
    ]
    stored = [part_of(label, dialect) | {"place": place} for place, label in enumerate(labels, len(lines) + 1)]
    return {"told": len(lines) + len(stored), "transitions": lines, "labels": stored}


def part_of(value: Any, dialect: str) -> dict[str, Any]:
    """A transition, package or label as a JSON object."""
    part = asdict(value)
    if part.get("raw") is not None and dialect == POSTGRESQL:
        part["raw"] = read_json(part["raw"])
    return part


def dumped(rows: Sequence[Mapping[str, Any]], dialect: str) -> str:
    """JSON with moments as the database reads them."""
    moment = datetime.isoformat if dialect == POSTGRESQL else sqlite_text
    document = json.dumps(rows, default=moment)
    return json.dumps(_storable(rows), default=moment) if _UNSTORABLE.search(document) else document


# Neither database can give these back, and PostgreSQL refuses the whole batch: NUL, and half of a surrogate pair. What
# matches may also be a whole pair, or text that only looks like one; `_storable` leaves both as they are.
_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f])")


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {key: _storable(member) for key, member in value.items()}
    return [_storable(member) for member in value] if isinstance(value, list) else value
