"""Erases personal data of returns that are over, and says which are due, and whose files are still to be removed.

Setting `erased_at` is what empties a return: triggers do it, in the same transaction, wherever it lies (see migration
0015). Live and archived returns share their ids, so that one list of ids means either.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from worker.domain.lifecycle import State
from worker.store.columns import bound
from worker.store.dialect import AMONG_IDS, NOW, POSTGRESQL, SKIP_LOCKED, SQLITE
from worker.store.durability import DURABLY
from worker.store.leases import is_free
from worker.store.news import add_remarks
from worker.store.transactions import in_transaction, reading

ERASABLE = (State.COMPLETED, State.CANCELLED, State.REJECTED)
"""States in which personal data may be erased."""

_STATES = ", ".join(f"'{state}'" for state in ERASABLE)
_PATIENCE = 500  # milliseconds to wait for readers of an older state; the next try is not far
# Bytes of a file at most: every writer waits for it, half a second, or some on a slow disk. Meanwhile SQLite writes a
# copy to /tmp, and a pod that has more than 64 MiB there is evicted (deploy/kubernetes).
_REWRITTEN = 50_000_000
_COUNTED = 100_000  # of what is due at most: more need no exact number, and each look counts

# A rejected return whose creation may have happened is looked for by its customer's name and address.
_DOUBT = """r.state = 'rejected' AND r.carrier_ref IS NULL AND (r.create_started_at IS NOT NULL
     OR EXISTS (SELECT 1 FROM database_place p WHERE r.updated_at < p.restored_at))"""
_OVER = {
    dialect: f"""r.erased_at IS NULL AND r.state IN ({_STATES}) AND r.due_at IS NULL
   AND {is_free(dialect, "r")} AND NOT ({_DOUBT})"""
    for dialect in NOW
}

_ERASE = {
    POSTGRESQL: text(f"""
WITH free AS MATERIALIZED (
  SELECT r.id FROM return_order r WHERE r.id {AMONG_IDS[POSTGRESQL]} AND {_OVER[POSTGRESQL]}
   ORDER BY r.id{SKIP_LOCKED[POSTGRESQL]}
)
UPDATE return_order SET erased_at = {NOW[POSTGRESQL]} WHERE id = ANY (ARRAY(SELECT free.id FROM free)) AND {DURABLY}
RETURNING id, state, carrier_status"""),
    SQLITE: text(f"""
UPDATE return_order AS r SET erased_at = {NOW[SQLITE]} WHERE r.id {AMONG_IDS[SQLITE]} AND {_OVER[SQLITE]}
RETURNING id, state, carrier_status"""),
}
_ERASE_ARCHIVED = {
    dialect: text(f"""
UPDATE archived_return SET erased_at = {now}, erased_by = :told, files_removed_at = NULL
 WHERE erased_at IS NULL AND id {AMONG_IDS[dialect]}
{f"AND {DURABLY}" if dialect == POSTGRESQL else ""} RETURNING id""")
    for dialect, now in NOW.items()
}


@in_transaction
def erase(connection: Connection, ids: Sequence[int], told: str) -> set[int]:
    """Mark and empty those of these returns that are over and not leased, with a line that says who and why.

    Returns the ids that were erased. Files of theirs are still there: see `unfinished`.
    """
    dialect, values = connection.dialect.name, {"ids": json.dumps(list(ids)), "told": told}
    erased = connection.execute(_ERASE[dialect], {"ids": values["ids"]}).all()
    if erased:
        add_remarks(connection, erased, told)
    return {row.id for row in erased} | {row.id for row in connection.execute(_ERASE_ARCHIVED[dialect], values)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where returns lie that may be erased, and since when they are over, as SQL of a row `r`."""

    table: str
    ended_at: str
    over: Mapping[str, str]


LIVE = Place("return_order", "updated_at", _OVER)
ARCHIVED = Place("archived_return", "ended_at", dict.fromkeys(NOW, "r.erased_at IS NULL"))
PLACES = (LIVE, ARCHIVED)


_AFTER = "({0}.{1} > :since OR ({0}.{1} = :since AND {0}.id > :after)) ORDER BY {0}.{1}, {0}.id LIMIT :most"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def _account(dialect: str) -> str:
    return "CAST(:account AS text)" if dialect == POSTGRESQL else ":account"


@dataclass(frozen=True, slots=True)
class Due:
    """A return that may be erased; `ended_at` as the database has it, to go on from."""

    id: int
    reference: str
    ended_at: Any


_DUE = {
    (dialect, place.table): f"""
SELECT r.id, r.reference, r.{place.ended_at} AS ended_at FROM {place.table} r
 WHERE {place.over[dialect]} AND r.{place.ended_at} < :before
   AND ({_account(dialect)} IS NULL OR r.account = {_account(dialect)})"""
    for dialect in NOW
    for place in PLACES
}
_DUE_IN = {
    (dialect, place.table): text(f"""{_DUE[dialect, place.table]}
   AND {_AFTER.format("r", place.ended_at)}""")
    for dialect in NOW
    for place in PLACES
}


@reading
def due_in(
    connection: Connection, place: Place, before: datetime, account: str | None, last: Due | None, most: int
) -> list[Due]:
    """Up to `most` returns of a place that were over `before`, longest ago first; of those that come after `last`."""
    dialect = connection.dialect.name
    values = {"before": bound(dialect, before), "account": account, "most": most, "after": last.id if last else 0}
    since = last.ended_at if last else bound(dialect, _BEGINNING)
    return [Due(*row) for row in connection.execute(_DUE_IN[dialect, place.table], values | {"since": since})]


_COUNT_DUE = {
    (dialect, place.table): text(f"SELECT count(*) FROM ({_DUE[dialect, place.table]} LIMIT :most) AS due")
    for dialect in NOW
    for place in PLACES
}


@reading
def count_due(connection: Connection, before: datetime, account: str | None = None, most: int = _COUNTED) -> int:
    """How many returns, live and archived, could be erased that were over `before`; of either not more than `most`."""
    dialect = connection.dialect.name
    values = {"before": bound(dialect, before), "account": account, "most": most}
    return sum(connection.execute(_COUNT_DUE[dialect, place.table], values).scalar_one() for place in PLACES)


@dataclass(frozen=True, slots=True)
class Files:
    """A return whose files are to be removed: by what its labels are named, and where they were stored.

    `since` and `after`: where among those that are due by `labels_after` the look goes on.
    """

    id: int
    account: str
    carrier_ref: str | None
    locations: tuple[str, ...]
    since: Any = None
    after: int = 0


_LIVE_LOCATIONS = {
    POSTGRESQL: "(SELECT json_agg(l.location) FROM label l WHERE l.return_order_id = r.id)",
    SQLITE: "(SELECT json_group_array(l.location) FROM label l WHERE l.return_order_id = r.id)",
}
_ARCHIVED_LOCATIONS = {
    POSTGRESQL: "jsonb_path_query_array(r.document, '$.labels[*].location')",
    SQLITE: """CASE WHEN json_valid(r.document) THEN (
  SELECT json_group_array(json_extract(l.value, '$.location')) FROM json_each(r.document, '$.labels') l) END""",
}
_LOCATIONS = {
    (dialect, place.table): f"r.id, r.account, r.carrier_ref, CAST({locations[dialect]} AS text) AS locations"
    for place, locations in ((LIVE, _LIVE_LOCATIONS), (ARCHIVED, _ARCHIVED_LOCATIONS))
    for dialect in NOW
}
_UNFINISHED = "r.erased_at IS NOT NULL AND r.files_removed_at IS NULL"
_FIND_UNFINISHED = {
    key: text(f"SELECT {what} FROM {key[1]} r WHERE {_UNFINISHED} AND r.id > :after ORDER BY r.id LIMIT :most")
    for key, what in _LOCATIONS.items()
}
_FIND_UNFINISHED_OF = {
    key: text(f"SELECT {what} FROM {key[1]} r WHERE {_UNFINISHED} AND r.id {AMONG_IDS[key[0]]}")
    for key, what in _LOCATIONS.items()
}
_COUNT_UNFINISHED = text(
    "SELECT "
    + " + ".join(
        f"(SELECT count(*) FROM (SELECT 1 FROM {place.table} r WHERE {_UNFINISHED} LIMIT {_COUNTED}) AS found)"
        for place in PLACES
    )
)


@reading
def unfinished(connection: Connection, place: Place, after: int, most: int) -> list[Files]:
    """Up to `most` returns of a place, with ids beyond `after`, that are erased and whose files are still there."""
    statement = _FIND_UNFINISHED[connection.dialect.name, place.table]
    return _read_files(connection.execute(statement, {"after": after, "most": most}))


@reading
def unfinished_of(connection: Connection, ids: Sequence[int]) -> list[Files]:
    """Those of these returns that are erased and whose files are still there."""
    values = {"ids": json.dumps(list(ids))}
    of_places = (_FIND_UNFINISHED_OF[connection.dialect.name, place.table] for place in PLACES)
    return [files for statement in of_places for files in _read_files(connection.execute(statement, values))]


@reading
def count_unfinished(connection: Connection) -> int:
    """How many returns are erased and their files still there."""
    return int(connection.execute(_COUNT_UNFINISHED).scalar_one())


_FILES_REMOVED = {
    (dialect, place.table): text(f"UPDATE {place.table} SET files_removed_at = {now} WHERE id {AMONG_IDS[dialect]}")
    for dialect, now in NOW.items()
    for place in PLACES
}


@in_transaction
def files_removed(connection: Connection, ids: Sequence[int]) -> None:
    """Note that nothing of these returns is in the label store any more: erased ones, or archived ones."""
    for place in PLACES:
        connection.execute(_FILES_REMOVED[connection.dialect.name, place.table], {"ids": json.dumps(list(ids))})


_FILES_CAME = {
    (dialect, place.table): text(f"""
UPDATE {place.table} SET files_removed_at = NULL WHERE files_removed_at IS NOT NULL AND id {AMONG_IDS[dialect]}""")
    for dialect in NOW
    for place in PLACES
}


@in_transaction
def files_came(connection: Connection, ids: Sequence[int]) -> None:
    """Files of these returns may have come to the label store late: those that are erased are unfinished once more."""
    for place in PLACES:
        connection.execute(_FILES_CAME[connection.dialect.name, place.table], {"ids": json.dumps(list(ids))})


_LABELS_DUE = {
    dialect: text(f"""
SELECT {_LOCATIONS[dialect, LIVE.table]}, f.fetched_at AS since, f.id AS after
  FROM label f JOIN return_order r ON r.id = f.return_order_id
 WHERE f.removed_at IS NULL AND f.fetched_at < :before AND r.updated_at < :before
   AND r.state IN ({_STATES}) AND r.due_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM label n
                    WHERE n.return_order_id = r.id AND n.removed_at IS NULL AND n.fetched_at >= :before)
   AND {_AFTER.format("f", "fetched_at")}""")
    for dialect in NOW
}
_ARCHIVED_LABELS_DUE = {
    dialect: text(f"""
SELECT {_LOCATIONS[dialect, ARCHIVED.table]}, r.ended_at AS since, r.id AS after FROM archived_return r
 WHERE r.files_removed_at IS NULL AND r.ended_at < :before AND {_AFTER.format("r", "ended_at")}""")
    for dialect in NOW
}


@reading
def labels_due_in(connection: Connection, place: Place, before: datetime, last: Files | None, most: int) -> list[Files]:
    """Returns of a place that were over `before`, and whose labels are there and older than that, after `last`.

    Each of `most` labels leads to its return.
    """
    dialect = connection.dialect.name
    values = {"before": bound(dialect, before), "most": most, "after": last.after if last else 0}
    since = last.since if last else bound(dialect, _BEGINNING)
    due = _LABELS_DUE if place is LIVE else _ARCHIVED_LABELS_DUE
    return _read_files(connection.execute(due[dialect], values | {"since": since}))


_LABELS_REMOVED = {
    dialect: text(f"""
UPDATE label SET removed_at = {now}
 WHERE removed_at IS NULL AND fetched_at < :before AND return_order_id {AMONG_IDS[dialect]}""")
    for dialect, now in NOW.items()
}


@in_transaction
def labels_removed(connection: Connection, place: Place, ids: Sequence[int], before: datetime) -> None:
    """Note that label files which were fetched `before` are gone; what is known of them stays."""
    dialect, among = connection.dialect.name, {"ids": json.dumps(list(ids))}
    if place is ARCHIVED:
        connection.execute(_FILES_REMOVED[dialect, place.table], among)
    else:
        connection.execute(_LABELS_REMOVED[dialect], among | {"before": bound(dialect, before)})


@reading
def empty_wal(connection: Connection) -> bool:
    """On SQLite, write the whole journal to the file, and cut it off: old rows stay in it otherwise.

    False: a reader of before is still at work (https://sqlite.org/pragma.html#pragma_wal_checkpoint).
    """
    if connection.dialect.name != SQLITE:
        return True
    usual = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
    connection.exec_driver_sql(f"PRAGMA busy_timeout={_PATIENCE}")  # writers wait as long as this does
    try:
        return not connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={usual}")


@reading
def rewrite(connection: Connection) -> bool:
    """On SQLite, write the file once more without what no row has any more; False: it is too large for that in passing.

    `secure_delete` writes zeroes over a row that is deleted or changed, and not over a copy of one: where rows grow and
    a page is divided, those that move to another page can still be read in the unused part of the first, and no later
    statement knows of them. VACUUM alone ends that (https://sqlite.org/lang_vacuum.html).
    """
    if connection.dialect.name != SQLITE:
        return True
    pages, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
    if pages * size > _REWRITTEN:
        return False
    connection.exec_driver_sql("VACUUM")
    return True


def _read_files(rows: Iterable[Any]) -> list[Files]:
    return [
        Files(order_id, account, carrier_ref, tuple(filter(None, json.loads(locations or "[]"))), *place)
        for order_id, account, carrier_ref, locations, *place in rows
    ]
