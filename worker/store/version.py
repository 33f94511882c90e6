"""Of which revision the schema is, and in which table that is written.

The table is `returns_worker_schema`. Until schema 0012 it was Alembic's default, `alembic_version`, which the shop's
own Alembic uses too. One is ours where our tables stand beside it, and its revision looks like ours; we take over from
it. It stays, and is written with each migration: it tells an older worker that the database is newer, where else that
would begin with the first migration.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, text

from worker.store.dialect import NOW, POSTGRESQL, SQLITE

VERSION_TABLE = "returns_worker_schema"
FORMER_TABLE = "alembic_version"

Ask = Callable[[str], Iterable[Any]]
"""Runs a query; its rows."""

_REVISION = re.compile(r"\d{4}")
_REMEMBERED_SINCE = "0013"  # the revision that has a place to remember that an `alembic_version` was ours

_STANDS = {  # in the schema of the search path, or in the file
    POSTGRESQL: "SELECT to_regclass('{}') IS NOT NULL",
    SQLITE: "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '{}'",
}
_HAS_REVISIONS = {  # whatever else may have that name
    POSTGRESQL: "SELECT count(*) FROM pg_attribute WHERE attrelid = CAST(to_regclass('{}') AS oid)"
    " AND attname = 'version_num' AND NOT attisdropped",
    SQLITE: "SELECT count(*) FROM pragma_table_info('{}') WHERE name = 'version_num'",
}
# The tables of the first schema, each with a column that nobody else's has.
_FIRST = """(SELECT 'return_order' AS name, 'lease_token' AS own UNION ALL SELECT 'status_transition', 'return_order_id'
  UNION ALL SELECT 'package', 'label_code' UNION ALL SELECT 'label', 'sha256'
  UNION ALL SELECT 'carrier_account', 'spent_until') AS first"""
_OURS_STAND = {
    POSTGRESQL: f"""SELECT count(*) = 5 FROM {_FIRST}
  JOIN pg_attribute a ON a.attrelid = CAST(to_regclass(first.name) AS oid) AND a.attname = first.own""",
    SQLITE: f"SELECT count(*) = 5 FROM {_FIRST} JOIN pragma_table_info(first.name) AS c ON c.name = first.own",
}
# Alembic makes it the same way where there is none.
_VERSION_TABLE = f"""
CREATE TABLE {VERSION_TABLE} (
  version_num VARCHAR(32) NOT NULL, CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"""
_READERS = f"""
SELECT DISTINCT coalesce(quote_ident(CAST(r.rolname AS text)), 'PUBLIC')
  FROM pg_class c, aclexplode(c.relacl) AS a LEFT JOIN pg_roles r ON r.oid = a.grantee
 WHERE c.oid = CAST(to_regclass('{FORMER_TABLE}') AS oid) AND a.privilege_type = 'SELECT'"""


def revision(dialect: str, ask: Ask) -> str | None:
    """The schema's revision; None where it is written nowhere, or several are."""
    if not _stands(dialect, ask, VERSION_TABLE):
        return _former_revision(dialect, ask)
    written = _written(dialect, ask, VERSION_TABLE)
    return written[0] if len(written) == 1 else None


def is_anothers(dialect: str, ask: Ask) -> bool:
    """Whether the name of the version table is taken; asked where `revision` knows none."""
    return _stands(dialect, ask, VERSION_TABLE) and (
        not _only(ask(_HAS_REVISIONS[dialect].format(VERSION_TABLE))) or bool(_written(dialect, ask, VERSION_TABLE))
    )


def our_tables_stand(dialect: str, ask: Ask) -> bool:
    """Whether the tables of the first schema are there."""
    return bool(_only(ask(_OURS_STAND[dialect])))


def asking(connection: Connection) -> Ask:
    """The database behind a connection, to be asked."""
    return connection.exec_driver_sql


def take_over(connection: Connection) -> bool:
    """Write the revision in a table of our own, if it is in an `alembic_version`; whether it was."""
    dialect, ask = connection.dialect.name, asking(connection)
    former = None if _stands(dialect, ask, VERSION_TABLE) else _former_revision(dialect, ask)
    if former is None:
        return False
    connection.execute(text(_VERSION_TABLE))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:revision)"), {"revision": former})
    if dialect == POSTGRESQL:  # workers go on before roles.sql is run once more
        for (role,) in list(ask(_READERS)):
            connection.exec_driver_sql(f"GRANT SELECT ON {VERSION_TABLE} TO {role}")
    return True


def keep_former(connection: Connection, before: str | None, after: str, *, taken_over: bool) -> None:
    """Write the revision into an `alembic_version` that was ours, unless it was dropped or is the shop's by now."""
    if after < _REMEMBERED_SINCE or not (taken_over or _is_kept(asking(connection))):
        return
    values = {"before": before, "after": after}
    is_there = before in _written(connection.dialect.name, asking(connection), FORMER_TABLE)
    statement = text(f"UPDATE {FORMER_TABLE} SET version_num = :after WHERE version_num = :before")
    is_ours = is_there and connection.execute(statement, values).rowcount == 1
    if taken_over or not is_ours:
        since = NOW[connection.dialect.name] if is_ours else "NULL"
        connection.execute(text(f"UPDATE database_place SET version_taken_over_at = {since}"))


def former_is_kept(connection: Connection) -> bool:
    """Whether an `alembic_version` that was ours is written for older workers."""
    return _is_kept(asking(connection))


def _is_kept(ask: Ask) -> bool:
    return bool(_only(ask("SELECT version_taken_over_at IS NOT NULL FROM database_place")))


def _stands(dialect: str, ask: Ask, table: str) -> bool:
    return bool(_only(ask(_STANDS[dialect].format(table))))


def _former_revision(dialect: str, ask: Ask) -> str | None:
    # Our tables first: a shop's own table may be closed to us.
    if not our_tables_stand(dialect, ask):
        return None
    ours = [each for each in _written(dialect, ask, FORMER_TABLE) if _REVISION.fullmatch(each)]
    return ours[0] if len(ours) == 1 else None


def _written(dialect: str, ask: Ask, table: str) -> list[str]:
    """The revisions that a version table holds; none where there is no such table. A shop's may hold numbers."""
    if not _only(ask(_HAS_REVISIONS[dialect].format(table))):
        return []
    return [row[0] for row in ask(f"SELECT CAST(version_num AS text) FROM {table} WHERE version_num IS NOT NULL")]


def _only(rows: Iterable[Any]) -> Any:
    """The only value of the only row, None where there is none."""
    return next((row[0] for row in rows), None)
