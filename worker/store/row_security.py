"""Says where PostgreSQL's row level security hides rows from us: who sees nothing takes it for nothing to do."""

from sqlalchemy import Connection, text

from worker.store.dialect import POSTGRESQL
from worker.store.tables import ReturnOrderRow
from worker.store.transactions import reading
from worker.store.version import VERSION_TABLE

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

_TABLES = [*ReturnOrderRow.metadata.tables, VERSION_TABLE]


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
