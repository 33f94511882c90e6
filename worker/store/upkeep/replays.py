"""Tells a subscriber once more what happened: from the history of returns, live or archived, and what was given up.

An event is known by its source, the id there and its moment. One that still waits is not doubled; one that was given up
goes back as it was. All others are made of the history, which no longer has everything that was said at first:
docs/integrate/webhooks.md says what.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text
from sqlmodel import col

from worker.domain.news import LABEL_STORED, Message, Source, SubscriberKind, covers, told_reason
from worker.store.columns import bound, columns_of, read_moment, sqlite_text, types_of
from worker.store.dialect import AMONG_IDS, LOCKED, POSTGRESQL, json_rows, json_values
from worker.store.news_tables import ReturnEventRow, WebhookMissedRow
from worker.store.tables import LabelRow, ReturnOrderRow, StatusTransitionRow
from worker.store.transactions import in_transaction, reading
from worker.store.upkeep.history import History
from worker.store.upkeep.webhooks import SubscriberState

_WINDOW = 20_000  # ids that one statement looks through: no index leads to what happened since

# Without what only one table has, and whose they are.
_MESSAGE = types_of(WebhookMissedRow, "id", "subscriber", "error_message", "given_up_at")
_IN_OUTBOX = types_of(ReturnEventRow, "id", "subscriber")
_PLACES = {
    SubscriberKind.TABLE: ("return_event", _IN_OUTBOX),
    SubscriberKind.WEBHOOK: ("webhook_event", _MESSAGE),
}
_KEY = "return_order_id, source, source_id, observed_at"

_NEWEST = text("SELECT coalesce(max(id), 0) FROM return_order")
_CHANGED = text("""SELECT r.id FROM return_order r WHERE r.id > :after AND r.id <= :upto
   AND (EXISTS (SELECT 1 FROM status_transition t WHERE t.return_order_id = r.id AND t.observed_at >= :since)
     OR EXISTS (SELECT 1 FROM label l WHERE l.return_order_id = r.id AND l.fetched_at >= :since))
 ORDER BY r.id""")
# One repeats at a time for a subscriber: another one would not see yet what waits by it.
_ALONE = {
    dialect: text(f"SELECT 1 FROM news_subscriber WHERE name = :name{locked}") for dialect, locked in LOCKED.items()
}
_WAITING = {
    (dialect, kind): text(f"SELECT {_KEY} FROM {table} WHERE subscriber = :name AND return_order_id {ids}")
    for dialect, ids in AMONG_IDS.items()
    for kind, (table, _) in _PLACES.items()
}
# Return by return (OFFSET 0 keeps it so): much is inserted as this goes on, and PostgreSQL, which does not know how
# large the table has become, would read all of it each time.
_WAITING[POSTGRESQL, SubscriberKind.WEBHOOK] = text(f"""SELECT e.* FROM {json_values(POSTGRESQL, "ids")} value
 CROSS JOIN LATERAL (SELECT {_KEY} FROM webhook_event w
                      WHERE w.subscriber = :name AND w.return_order_id = CAST(value.value AS bigint) OFFSET 0) e""")
_INSERT = {
    (dialect, kind): text(f"""INSERT INTO {table} (subscriber, {", ".join(told)})
    SELECT :name, {", ".join(f"x.{name}" for name in told)} FROM {json_rows(dialect, "events", told, "x")}
     ORDER BY x.return_order_id, x.position""")
    for dialect in AMONG_IDS
    for kind, (table, told) in _PLACES.items()
}
_MISSED_OF = {
    dialect: text(f"""SELECT id, {_KEY} FROM webhook_missed
     WHERE subscriber = :name AND return_order_id {ids} AND observed_at <= :upto
       AND (CAST(:since AS {_MESSAGE["observed_at"] if dialect == POSTGRESQL else "text"}) IS NULL
            OR observed_at >= :since){LOCKED[dialect]}""")
    for dialect, ids in AMONG_IDS.items()
}
_MISSED = {
    (dialect, by_account): text(f"""SELECT id, {_KEY} FROM webhook_missed
     WHERE subscriber = :name AND given_up_at <= :upto{" AND account = :account" if by_account else ""}
     ORDER BY given_up_at, id LIMIT :most{locked}""")
    for dialect, locked in LOCKED.items()
    for by_account in (False, True)
}
_BACK = {
    dialect: text(f"""INSERT INTO webhook_event (subscriber, {", ".join(_MESSAGE)})
    SELECT subscriber, {", ".join(_MESSAGE)} FROM webhook_missed WHERE id {ids}
     ORDER BY return_order_id, position, id""")
    for dialect, ids in AMONG_IDS.items()
}
_NO_MORE_MISSED = {dialect: text(f"DELETE FROM webhook_missed WHERE id {ids}") for dialect, ids in AMONG_IDS.items()}

_Key = tuple[int, str, int, datetime]


@dataclass(frozen=True, slots=True)
class Span:
    """What is repeated: what happened between two moments; `since` None: from the beginning."""

    since: datetime | None
    upto: datetime

    def holds(self, event: Message) -> bool:
        """Whether it happened then."""
        return (self.since is None or self.since <= event.observed_at) and event.observed_at <= self.upto


@dataclass(frozen=True, slots=True)
class Repeated:
    """So many events wait once more; so many others, `waiting`, had not been sent yet, and were left."""

    events: int = 0
    waiting: int = 0

    def __add__(self, more: "Repeated") -> "Repeated":
        """Both together."""
        return Repeated(self.events + more.events, self.waiting + more.waiting)


def events_of(order: Any, transitions: Iterable[Any], labels: Iterable[Any]) -> list[Message]:
    """Every event that a return's history still has, by position.

    What was recorded before events were counted is counted by its time, from 1: so many are those that
    `return_order.event_count` begins with.
    """
    whose = (order.account, order.reference, order.id)
    told = [
        Message(
            *(f"{row.field}.{row.new_value}", *whose, row.event_position or 0, Source.TRANSITION, row.id),
            *(row.observed_at, order.carrier_ref, row.carrier_status, row.carrier_time),
            *(row.old_value, row.new_value, told_reason(row.reason)),
        )
        for row in transitions
    ]
    told += [
        Message(LABEL_STORED, *whose, row.event_position or 0, Source.LABEL, row.id, row.fetched_at, order.carrier_ref)
        for row in labels
    ]
    told.sort(key=lambda event: (event.observed_at, event.source is Source.LABEL, event.source_id))
    uncounted = [event for event in told if not event.position]
    counted = [replace(event, position=number) for number, event in enumerate(uncounted, 1)]
    return sorted((*counted, *(event for event in told if event.position)), key=lambda event: event.position)


@reading
def changed_since(connection: Connection, since: datetime, after: int) -> tuple[list[int], int, int]:
    """The ids of live returns that something happened to since then, of some beyond the id `after`.

    With the id up to which they were looked for, and the newest one.
    """
    newest = connection.execute(_NEWEST).scalar_one()
    upto = after + _WINDOW
    values = {"since": bound(connection.dialect.name, since), "after": after, "upto": upto}
    return list(connection.execute(_CHANGED, values).scalars()), upto, newest


@in_transaction
def repeat_live(connection: Connection, subscriber: SubscriberState, ids: Sequence[int], span: Span) -> Repeated:
    """Let a subscriber be told once more of what happened to these returns, as far as it wants to know."""
    told = [event for history in _histories(connection, ids) for event in events_of(*history)]
    return _repeat(connection, subscriber, ids, told, span)


@in_transaction
def repeat_archived(
    connection: Connection, subscriber: SubscriberState, told: Sequence[History], span: Span
) -> Repeated:
    """The same of archived ones."""
    events = [
        event
        for each in told
        # What an erasure adds to the end of an archived history is no row, and so no event.
        for event in events_of(each.order, (row for row in each.transitions if row.id is not None), each.labels)
    ]
    return _repeat(connection, subscriber, [each.order.id for each in told], events, span)


@in_transaction
def repeat_missed(
    connection: Connection, subscriber: SubscriberState, account: str | None, upto: datetime, most: int
) -> Repeated:
    """Let up to `most` events that were given up before `upto` be sent once more, as they were; 0 events: all were."""
    dialect = connection.dialect.name
    connection.execute(_ALONE[dialect], {"name": subscriber.name})
    values = {"name": subscriber.name, "upto": bound(dialect, upto), "most": most, "account": account}
    rows = connection.execute(_MISSED[dialect, account is not None], values).all()
    missed = {_key_of(row): row.id for row in rows}
    waiting = _waiting(connection, subscriber, {key[0] for key in missed})
    _put_back(connection, missed, waiting)
    back = missed.keys() - waiting
    return Repeated(len(back), len(missed) - len(back))


def _repeat(
    connection: Connection, subscriber: SubscriberState, ids: Sequence[int], told: Iterable[Message], span: Span
) -> Repeated:
    dialect, kind = connection.dialect.name, subscriber.kind
    connection.execute(_ALONE[dialect], {"name": subscriber.name})
    events = {_key_of(event): event for event in told if span.holds(event) and _wants(subscriber, event)}
    waiting, missed = _waiting(connection, subscriber, ids), dict[_Key, int]()
    if kind is SubscriberKind.WEBHOOK:
        moments = {"since": bound(dialect, span.since), "upto": bound(dialect, span.upto)}
        values = {"name": subscriber.name, "ids": json.dumps(list(ids))} | moments
        missed = {_key_of(row): row.id for row in connection.execute(_MISSED_OF[dialect], values)}
        _put_back(connection, missed, waiting)
    new = [event for key, event in events.items() if key not in waiting and key not in missed]
    if new:
        moment = datetime.isoformat if dialect == POSTGRESQL else sqlite_text
        rows = json.dumps([asdict(event) for event in new], default=moment)
        connection.execute(_INSERT[dialect, kind], {"name": subscriber.name, "events": rows})
    return Repeated(len(new) + len(missed.keys() - waiting), len(waiting & (events.keys() | missed.keys())))


def _wants(subscriber: SubscriberState, event: Message) -> bool:
    return (not subscriber.accounts or event.account in subscriber.accounts) and (
        not subscriber.events or any(covers(pattern, event.type) for pattern in subscriber.events)
    )


def _waiting(connection: Connection, subscriber: SubscriberState, ids: Iterable[int]) -> set[_Key]:
    values = {"name": subscriber.name, "ids": json.dumps(list(ids))}
    return {_key_of(row) for row in connection.execute(_WAITING[connection.dialect.name, subscriber.kind], values)}


def _put_back(connection: Connection, missed: Mapping[_Key, int], waiting: set[_Key]) -> None:
    """What was given up waits again as it was, unless it waits already."""
    dialect = connection.dialect.name
    back = [row_id for key, row_id in missed.items() if key not in waiting]
    if back:
        connection.execute(_BACK[dialect], {"ids": json.dumps(back)})
    if missed:
        connection.execute(_NO_MORE_MISSED[dialect], {"ids": json.dumps(list(missed.values()))})


def _key_of(row: Any) -> _Key:
    """What an event is known by."""
    return row.return_order_id, row.source, row.source_id, read_moment(row.observed_at)


def _histories(connection: Connection, ids: Sequence[int]) -> list[tuple[Any, list[Any], list[Any]]]:
    """Each return with its transitions and its labels, without what no event says, such as the carrier's answers."""
    orders = select(*(col(each) for each in _OF_RETURN)).where(col(ReturnOrderRow.id).in_(ids))
    transitions, labels = (_by_return(connection, table, ids) for table in (StatusTransitionRow, LabelRow))
    return [(row, transitions.get(row.id, []), labels.get(row.id, [])) for row in connection.execute(orders)]


_OF_RETURN = (ReturnOrderRow.id, ReturnOrderRow.account, ReturnOrderRow.reference, ReturnOrderRow.carrier_ref)


def _by_return(connection: Connection, table: Any, ids: Sequence[int]) -> dict[int, list[Any]]:
    columns = [column for column in columns_of(table) if column.name != "raw"]
    found: dict[int, list[Any]] = {}
    for row in connection.execute(select(*columns).where(table.return_order_id.in_(ids))):
        found.setdefault(row.return_order_id, []).append(row)
    return found
