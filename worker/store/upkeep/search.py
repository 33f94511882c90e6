"""Finds returns by a number, through indexes, and by their customer or in the archive, through windows of ids."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from worker.domain.sought import Matched, folded, folding_of, is_the_part_of_a_name, spellings
from worker.store.columns import moment_if_any
from worker.store.customers import addressed, of_customer
from worker.store.dialect import AMONG_IDS, POSTGRESQL, SQLITE, among
from worker.store.erasure import ARCHIVED, LIVE, PLACES, Place
from worker.store.transactions import reading
from worker.store.upkeep.history import accounts_in


@dataclass(frozen=True, slots=True)
class Hit:
    """One return, live or archived, and one thing of it that was looked for."""

    id: int
    account: str
    reference: str
    state: str | None
    carrier_ref: str | None
    archived_at: datetime | None
    erased_at: datetime | None
    matched: Matched
    value: str


_DIALECTS = (POSTGRESQL, SQLITE)
_ARCHIVED_STATE = {
    POSTGRESQL: "r.document -> 'order' ->> 'state'",
    SQLITE: "CASE WHEN json_valid(r.document) THEN json_extract(r.document, '$.order.state') END",
}
_SHOWN = {
    (dialect, table): f"r.id, r.account, r.reference, {state} AS state, r.carrier_ref, {archived} AS archived_at,"
    " r.erased_at"
    for dialect in _DIALECTS
    for table, state, archived in (
        (LIVE.table, "r.state", "NULL"),
        (ARCHIVED.table, _ARCHIVED_STATE[dialect], "r.archived_at"),
    )
}
_NEWEST_FIRST = "ORDER BY r.id DESC LIMIT :most"


def _by_column(dialect: str, table: str, column: str) -> Any:
    return text(f"""
SELECT {_SHOWN[dialect, table]}, r.{column} AS value FROM {table} r
 WHERE r.account IN ({accounts_in(table)}) AND r.{column} IS NOT NULL AND r.{column} {among(dialect, "texts", "text")}
 {_NEWEST_FIRST}""")


def _by_package(dialect: str, column: str) -> Any:
    return text(f"""
SELECT {_SHOWN[dialect, LIVE.table]}, p.{column} AS value
  FROM package p JOIN return_order r ON r.id = p.return_order_id
 WHERE p.{column} IS NOT NULL AND p.{column} {among(dialect, "texts", "text")} {_NEWEST_FIRST}""")


_BY_NUMBER = {
    dialect: [
        *(
            (matched, _by_column(dialect, table, matched))
            for table in (LIVE.table, ARCHIVED.table)
            for matched in (Matched.REFERENCE, Matched.CARRIER_REF)
        ),
        *((matched, _by_package(dialect, matched)) for matched in (Matched.LABEL_CODE, Matched.TRACKING_NUMBER)),
    ]
    for dialect in _DIALECTS
}


@reading
def with_number(connection: Connection, sought: str, most: int) -> list[Hit]:
    """Returns with this reference or number, however it is spelled; up to `most` of each kind, the newest.

    Everything is looked up in an index. Archived label codes and tracking numbers have none: see `in_window`.
    """
    values = {"texts": json.dumps(spellings(sought)), "most": most}
    statements = _BY_NUMBER[connection.dialect.name]
    return [hit for matched, each in statements for hit in _hits(connection.execute(each, values), matched)]


def _fold(dialect: str, value: str) -> str:
    if dialect == SQLITE:
        return f"folded({value})"
    return f"translate(lower({value}), CAST(:folds AS text), CAST(:into AS text))"


_WITHIN = {POSTGRESQL: "strpos({}, CAST(:folded AS text)) > 0", SQLITE: "instr({}, :folded) > 0"}
# OFFSET 0: a document is unpacked once, and not for each part of it that is looked at.
_IN_WINDOW = {
    (dialect, table): f"{table} r WHERE r.id > :after AND r.id <= :upto"
    for dialect in _DIALECTS
    for table in (place.table for place in PLACES)
} | {
    (POSTGRESQL, ARCHIVED.table): f"""
(SELECT id, account, reference, carrier_ref, archived_at, erased_at, document #> CAST('{{}}' AS text[]) AS document
   FROM {ARCHIVED.table} WHERE id > :after AND id <= :upto OFFSET 0) r WHERE true"""
}
_NUMBERS_OF_PACKAGES = {
    POSTGRESQL: """
SELECT {shown}, n.matched, p.value ->> n.matched AS value FROM archived_return r
       CROSS JOIN LATERAL jsonb_path_query(r.document, '$.packages[*]') AS p(value)
       CROSS JOIN (VALUES ('label_code'), ('tracking_number')) AS n(matched)
 WHERE r.id > :after AND r.id <= :upto AND p.value ->> n.matched {among} {newest_first}""",
    SQLITE: """
SELECT {shown}, p.key AS matched, p.value AS value
  FROM archived_return r JOIN json_tree(CASE WHEN json_valid(r.document) THEN r.document END, '$.packages') p
 WHERE r.id > :after AND r.id <= :upto AND p.key IN ('label_code', 'tracking_number')
   AND p.value {among} {newest_first}""",
}


def _of_payload(dialect: str, place: Place) -> Any:
    table = place.table
    name = of_customer(dialect, place, "name")
    code = of_customer(dialect, place, "address", "postal_code")
    needle = "CAST(:folded AS text)" if dialect == POSTGRESQL else ":folded"
    inner = f"""
SELECT {_SHOWN[dialect, table]}, {name} AS name, {code} AS postal_code,
       CASE WHEN :within THEN {_WITHIN[dialect].format(_fold(dialect, name))}
            ELSE {_fold(dialect, name)} = {needle} END AS has_name,
       {_fold(dialect, code)} = {needle} AS has_postal_code
  FROM {_IN_WINDOW[dialect, table]}"""
    return text(f"SELECT * FROM ({inner}) AS r WHERE r.has_name OR r.has_postal_code {_NEWEST_FIRST}")


_OF_PAYLOAD = {dialect: [_of_payload(dialect, place) for place in PLACES] for dialect in _DIALECTS}
_OF_PACKAGES = {
    dialect: text(
        statement.format(
            shown=_SHOWN[dialect, ARCHIVED.table],
            among=among(dialect, "texts", "text"),
            newest_first=_NEWEST_FIRST,
        )
    )
    for dialect, statement in _NUMBERS_OF_PACKAGES.items()
}

# Of what is still to be adopted: too few, and for too short a time, to be worth an index that each insert has to fill.
_TO_ADOPT = {
    dialect: text(f"""
SELECT {_SHOWN[dialect, LIVE.table]}, r.adopt_carrier_ref AS value FROM {_IN_WINDOW[dialect, LIVE.table]}
   AND r.carrier_ref IS NULL AND r.adopt_carrier_ref {among(dialect, "texts", "text")} {_NEWEST_FIRST}""")
    for dialect in _DIALECTS
}

_BY_ID = {
    dialect: [text(f"SELECT {_SHOWN[dialect, place.table]} FROM {place.table} r WHERE r.id {ids}") for place in PLACES]
    for dialect, ids in AMONG_IDS.items()
}


@reading
def in_window(connection: Connection, sought: str, after: int, upto: int, most: int) -> list[Hit]:
    """Returns with ids beyond `after` and up to `upto` whose customer, or whose archived package, has this text.

    And those that are still to be adopted under this number. Up to `most` live and archived ones, the newest. No index
    leads there: each payload in between is read.
    """
    dialect = connection.dialect.name
    if dialect == SQLITE:  # its own `lower` knows ASCII alone
        driver: Any = connection.connection.driver_connection
        driver.create_function("folded", 1, _folded, deterministic=True)
    small = folded(sought)
    window = {"after": after, "upto": upto, "most": most}
    values: dict[str, Any] = window | {
        "folded": small,
        "within": is_the_part_of_a_name(sought),
    }
    if dialect == POSTGRESQL:
        values["folds"], values["into"] = folding_of(small)
    hits = _with_address(connection, sought, after, upto, most) if "@" in sought else []
    for statement in _OF_PAYLOAD[dialect]:
        for row in connection.execute(statement, values).mappings():
            for matched in (Matched.NAME, Matched.POSTAL_CODE):
                if row[f"has_{matched}"]:
                    hits.append(_hit(row, matched, row[matched]))
    texts = window | {"texts": json.dumps(spellings(sought))}
    hits += _hits(connection.execute(_TO_ADOPT[dialect], texts), Matched.CARRIER_REF)
    rows = connection.execute(_OF_PACKAGES[dialect], texts).mappings()
    return hits + [_hit(row, Matched(row["matched"]), row["value"]) for row in rows]


def _with_address(connection: Connection, sought: str, after: int, upto: int, most: int) -> list[Hit]:
    found = addressed(connection, sought, after, upto)
    ids = json.dumps(sorted(found, reverse=True)[:most])
    return [
        _hit(row, Matched.EMAIL, found[row["id"]][1])
        for statement in _BY_ID[connection.dialect.name]
        for row in connection.execute(statement, {"ids": ids}).mappings()
    ]


def _folded(value: Any) -> str | None:
    return folded(value) if isinstance(value, str) else None


def _hits(rows: Any, matched: Matched) -> Iterator[Hit]:
    return (_hit(row, matched, row["value"]) for row in rows.mappings())


def _hit(row: Any, matched: Matched, value: Any) -> Hit:
    return Hit(
        *(row["id"], row["account"], row["reference"], row["state"], row["carrier_ref"]),
        *(moment_if_any(row["archived_at"]), moment_if_any(row["erased_at"])),
        *(matched, str(value)),
    )
