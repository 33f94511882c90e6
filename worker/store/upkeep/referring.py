"""Finds what refers to our rows by foreign keys that are not ours: deleting a row must not take a shop's rows along.

A foreign key may refuse the deletion of what it refers to, or delete or empty what refers to it
(https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK). Only before the deletion is there
one answer for all of them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, text

from worker.store.dialect import AMONG_IDS, POSTGRESQL, SQLITE
from worker.store.failures import DatabaseRefused

_PARENT = "return_order"
_CHILDREN = ("status_transition", "package", "label")
_TABLES = (_PARENT, *_CHILDREN)


def _quoted(name: str) -> str:
    return f"""'"' || replace({name}, '"', '""') || '"'"""


# One row for each column of each key. A partition's own copy of a key has a parent.
_KEYS = {
    POSTGRESQL: text(f"""
WITH ours AS (SELECT name, CAST(to_regclass(name) AS oid) AS oid FROM unnest(ARRAY{list(_TABLES)}) AS name)
SELECT ours.name AS target, CAST(CAST(c.conrelid AS regclass) AS text) AS referrer, CAST(c.conname AS text) AS name,
       quote_ident(a.attname) AS own, quote_ident(k.attname) AS key, current_user AS role,
       has_schema_privilege(r.relnamespace, 'USAGE') AND has_column_privilege(r.oid, a.attnum, 'SELECT') AS readable
  FROM pg_constraint c JOIN ours ON ours.oid = c.confrelid JOIN pg_class r ON r.oid = c.conrelid
 CROSS JOIN LATERAL ROWS FROM (unnest(c.conkey), unnest(c.confkey)) WITH ORDINALITY AS pair(own, key, position)
  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = pair.own
  JOIN pg_attribute k ON k.attrelid = c.confrelid AND k.attnum = pair.key
 WHERE c.contype = 'f' AND c.conparentid = 0
 ORDER BY c.oid, pair.position"""),
    SQLITE: text(f"""
SELECT lower(f."table") AS target, {_quoted("m.name")} AS referrer, 'foreign key ' || f.id AS name,
       {_quoted('f."from"')} AS own, coalesce({_quoted('f."to"')}, 'id') AS key, NULL AS role, 1 AS readable
  FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
 WHERE m.type = 'table' AND lower(f."table") IN ({", ".join(f"'{name}'" for name in _TABLES)})
 ORDER BY m.name, f.id, f.seq"""),
}


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Rows of `referrer` that refer to rows of `target`, one of our tables; names are as SQL takes them."""

    target: str
    referrer: str
    name: str
    columns: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.referrer} ({', '.join(own for own, _ in self.columns)}) refers to it [{self.name}]"

    def refers_to(self, order: str) -> str:
        """SQL that is true of the return of this alias where something refers to it, or to what belongs to it."""
        row = order if self.target == _PARENT else "k"
        same = " AND ".join(f"f.{own} = {row}.{key}" for own, key in self.columns)
        found = f"EXISTS (SELECT 1 FROM {self.referrer} f WHERE {same})".replace(":", "\\:")  # no parameter of ours
        if self.target == _PARENT:
            return found
        return f"EXISTS (SELECT 1 FROM {self.target} k WHERE k.return_order_id = {order}.id AND {found})"


def foreign_keys(connection: Connection) -> list[ForeignKey]:
    """Every foreign key to our tables that is not ours; raises `DatabaseRefused` where who refers cannot be seen."""
    rows = connection.execute(_KEYS[connection.dialect.name]).all()
    found = []
    for (target, referrer, name), group in groupby(rows, lambda row: (row.target, row.referrer, row.name)):
        columns = list(group)
        key = ForeignKey(target, referrer, name, tuple((row.own, row.key) for row in columns))
        if referrer.strip('"') in _CHILDREN and [row.own.strip('"') for row in columns] == ["return_order_id"]:
            continue  # one of ours
        if not all(row.readable for row in columns):
            raise DatabaseRefused(
                f"rows of {referrer} may refer to returns ({name}), and {columns[0].role} cannot see them:"
                f" GRANT SELECT ON {referrer} TO {columns[0].role}"
            )
        found.append(key)
    return found


def referred(
    connection: Connection, keys: Sequence[ForeignKey], ids: Sequence[int], *, lock: bool = False
) -> dict[int, ForeignKey]:
    """The returns that something refers to, each with one of the keys.

    With `lock`, on PostgreSQL, nobody can begin to refer to what belongs to them until the transaction ends; the
    returns themselves are locked by the caller.
    """
    dialect = connection.dialect.name
    values: dict[str, Any] = {"ids": json.dumps(list(ids))}
    found: dict[int, ForeignKey] = {}
    if lock and dialect == POSTGRESQL:
        for target in {key.target for key in keys} - {_PARENT}:
            locking = f"SELECT 1 FROM {target} WHERE return_order_id {AMONG_IDS[dialect]} FOR UPDATE"
            connection.execute(text(locking), values)
    for key in keys:
        statement = f"SELECT r.id FROM return_order r WHERE r.id {AMONG_IDS[dialect]} AND {key.refers_to('r')}"
        found |= {row.id: key for row in connection.execute(text(statement), values)}
    return found
