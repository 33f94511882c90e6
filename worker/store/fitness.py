"""Whether a database is one to work in: it keeps every text, hides no row, and lets nobody else make things there."""

from sqlalchemy import Connection, text

from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.failures import DatabaseUnusable
from worker.store.news_tables import NewsSubscriberRow
from worker.store.tables import ReturnOrderRow
from worker.store.transactions import reading
from worker.store.version import VERSION_TABLE

_ASKED = {POSTGRESQL: "SHOW server_encoding", SQLITE: "PRAGMA encoding"}
_WAY_OUT = {
    POSTGRESQL: "make a database by createdb --encoding=UTF8 --template=template0, and move this one's rows there",
    SQLITE: "make a new file, and move this one's tables there",
}


def require_utf8(connection: Connection) -> None:
    """Raise `DatabaseUnusable` where texts are not kept as UTF-8.

    `initdb` takes SQL_ASCII where the environment names no language (LANG=C). There, and in LATIN1 and its like, one
    letter that the encoding does not have makes a record fail, and with it the number of a creation
    (https://www.postgresql.org/docs/current/datatype-json.html). A SQLite file in UTF-16 takes no insert: the checks of
    its moments refuse each.
    """
    dialect = connection.dialect.name
    encoding = str(connection.execute(text(_ASKED[dialect])).scalar_one())
    if encoding not in ("UTF8", "UTF-8"):
        raise DatabaseUnusable(f"its encoding is {encoding}, and not UTF-8: {_WAY_OUT[dialect]}")


# `acldefault`: a schema whose rights nobody has touched has none written down. 0 is PUBLIC.
_OPEN_TO_ALL = text("""
SELECT quote_ident(CAST(n.nspname AS text)) FROM pg_namespace n
 WHERE n.nspname = current_schema() AND EXISTS (
   SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
    WHERE a.grantee = CAST(0 AS oid) AND a.privilege_type = 'CREATE')""")


@reading
def open_to_all(connection: Connection) -> str | None:
    """The schema of our tables as SQL names it, if PUBLIC may create in it; None if not, and on SQLite.

    A role that may can make a function that is called in place of PostgreSQL's own, with our rights
    (https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS). Up to PostgreSQL 14 the schema
    public was made so.
    """
    if connection.dialect.name != POSTGRESQL:
        return None
    name: str | None = connection.execute(_OPEN_TO_ALL).scalar_one_or_none()
    return name


# It is not active for superusers, for roles with BYPASSRLS, and for the owner unless it is forced. No row is hidden
# where a permissive policy for the role lets all of them through, and no restrictive one does less
# (https://www.postgresql.org/docs/current/ddl-rowsecurity.html). What a condition other than `true` comes to, nobody
# can say. A right that the role does not have needs no policy, and an insert that is refused fails, and so is said.
_HIDING = text("""
SELECT c.relname, string_agg(a.name, ', ' ORDER BY a.name) AS actions, current_user AS role
  FROM pg_class c
 CROSS JOIN (VALUES ('r', 'SELECT'), ('w', 'UPDATE'), ('d', 'DELETE')) AS a (code, name)
 WHERE c.oid IN (SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS name)
   AND row_security_active(c.oid)
   AND CASE a.code WHEN 'd' THEN has_table_privilege(c.oid, a.name) ELSE has_any_column_privilege(c.oid, a.name) END
   AND (SELECT bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true')
           AND bool_and(p.polpermissive OR pg_get_expr(p.polqual, p.polrelid) = 'true')
          FROM pg_policy p
         WHERE p.polrelid = c.oid AND p.polcmd IN ('*', CAST(a.code AS "char"))
           AND EXISTS (SELECT FROM unnest(p.polroles) AS r WHERE r = 0 OR pg_has_role(r, 'USAGE'))) IS NOT TRUE
 GROUP BY c.relname ORDER BY c.relname""")

_ROWS = (ReturnOrderRow, NewsSubscriberRow)  # one of each file of tables, so that both are read
_TABLES = [*{name for row in _ROWS for name in row.metadata.tables}, VERSION_TABLE]


@reading
def hidden_rows(connection: Connection) -> list[str]:
    """What is wrong, a line for each table; nothing where no row can be hidden, as on SQLite."""
    if connection.dialect.name != POSTGRESQL:
        return []
    rows = connection.execute(_HIDING, {"tables": _TABLES})
    return [
        f"row level security may hide rows of {row.relname} from role {row.role} ({row.actions}): give it a policy"
        " with USING (true), or BYPASSRLS"
        for row in rows
    ]
