"""What waits for subscribers: how much and since when, who serves them, and what is dropped after their `keep`."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from worker.domain.news import SubscriberKind
from worker.store.columns import read_moment
from worker.store.dialect import AMONG_IDS, NOW, SKIP_LOCKED, later
from worker.store.leases import LATEST_END
from worker.store.news import MESSAGE, names
from worker.store.presence import NEWS
from worker.store.transactions import in_transaction, reading

MOST_COUNTED: Final = 10_000
"""So many events of a subscriber are counted at most: each look counts, and more need no exact number."""

OUTBOX, UNSENT, MISSED = "return_event", "webhook_event", "webhook_missed"
"""The tables in which events wait: for a shop that deletes them, to be sent, and after they were given up."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one subscriber stands: whether a living worker serves it; of a table how many events wait, and since when."""

    name: str
    kind: SubscriberKind
    is_served: bool
    pending: int
    oldest: datetime | None
    keep: timedelta


_STANDINGS = {
    dialect: text(f"""
SELECT s.name, s.kind, s.keep_seconds,
       EXISTS (SELECT 1 FROM worker_serves v JOIN worker_presence p ON p.worker = v.worker
                WHERE v.kind = '{NEWS}' AND v.name = s.name AND p.until > {now} AND p.until <= {LATEST_END[dialect]})
         AS is_served,
       (SELECT count(*) FROM (SELECT 1 FROM {OUTBOX} e WHERE e.subscriber = s.name LIMIT {MOST_COUNTED}) AS found)
         AS pending,
       (SELECT e.observed_at FROM {OUTBOX} e WHERE e.subscriber = s.name ORDER BY e.id LIMIT 1) AS oldest
  FROM news_subscriber s ORDER BY s.name""")
    for dialect, now in NOW.items()
}


@reading
def read_standings(connection: Connection) -> list[Standing]:
    """How each registered subscriber stands."""
    return [
        Standing(
            *(row.name, SubscriberKind(row.kind), bool(row.is_served), row.pending, read_moment(row.oldest)),
            timedelta(seconds=row.keep_seconds),
        )
        for row in connection.execute(_STANDINGS[connection.dialect.name])
    ]


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a look at a part of a table dropped, by subscriber, and after which id the next goes on; None: at its end.

    What waited for a subscriber that is gone is not counted.
    """

    counts: Mapping[str, int]
    after: int | None


# When it happened, or was given up. An event that is sent once more by hand, or is being tried, is not old.
_IS_BEFORE = {
    OUTBOX: "e.observed_at < {0}",
    UNSENT: "e.observed_at < {0} AND e.due_at < {0}",
    MISSED: "e.given_up_at < {0}",
}
# The oldest have the lowest ids, as good as always: one that is younger than the least `keep` ends the look.
_LOOK = {
    (dialect, table): text(f"""
SELECT e.id, s.name, s.name IS NULL OR ({is_before.format(later(dialect, "-s.keep_seconds"))}) AS is_old,
       NOT ({is_before.format(later(dialect, "-k.least"))}) AS is_young
  FROM {table} e LEFT JOIN news_subscriber s ON s.name = e.subscriber
 CROSS JOIN (SELECT coalesce(min(keep_seconds), 0) AS least FROM news_subscriber) AS k
 WHERE e.id > :after ORDER BY e.id LIMIT :most""")
    for dialect in NOW
    for table, is_before in _IS_BEFORE.items()
}
# What a shop's open transaction deletes is left to it.
_FREE = {
    (dialect, table): text(f"SELECT id FROM {table} WHERE id {ids} ORDER BY id{SKIP_LOCKED[dialect]}")
    for dialect, ids in AMONG_IDS.items()
    for table in _IS_BEFORE
}
_MISS = {
    dialect: text(f"""
INSERT INTO {MISSED} (subscriber, {names(MESSAGE)}, error_message)
SELECT e.subscriber, {names(MESSAGE, "e.")}, coalesce(e.error_message, 'it was not sent within `keep`')
  FROM {UNSENT} e JOIN news_subscriber s ON s.name = e.subscriber WHERE e.id {ids} ORDER BY e.id""")
    for dialect, ids in AMONG_IDS.items()
}
_DROP = {
    (dialect, table): text(f"DELETE FROM {table} WHERE id {ids}")
    for dialect, ids in AMONG_IDS.items()
    for table in _IS_BEFORE
}


@in_transaction
def drop_old(connection: Connection, table: str, after: int, most: int) -> Dropped:
    """Of the next `most` events of `table` with ids beyond `after`, drop those older than their subscriber's `keep`.

    What is dropped of `UNSENT` goes to `MISSED`.
    """
    dialect = connection.dialect.name
    seen = connection.execute(_LOOK[dialect, table], {"after": after, "most": most}).all()
    of = {row.id: row.name for row in seen if row.is_old}
    ids: list[int] = []
    if of:
        ids = list(connection.execute(_FREE[dialect, table], {"ids": json.dumps(list(of))}).scalars())
        values = {"ids": json.dumps(ids)}
        if table == UNSENT:
            connection.execute(_MISS[dialect], values)
        connection.execute(_DROP[dialect, table], values)
    counts = Counter(of[event] for event in ids if of[event] is not None)
    is_end = len(seen) < most or bool(seen[-1].is_young)
    return Dropped(counts, None if is_end else seen[-1].id)
