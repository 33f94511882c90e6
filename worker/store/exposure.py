"""Says whether anybody may make things where our own names are looked for."""

from sqlalchemy import Connection, text

from worker.store.dialect import POSTGRESQL
from worker.store.transactions import reading

# `acldefault`: a schema whose rights nobody has touched has none written down. 0 is PUBLIC.
_OPEN_TO_ALL = text("""
SELECT quote_ident(CAST(n.nspname AS text)) FROM pg_namespace n
 WHERE n.nspname = current_schema() AND EXISTS (
   SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
    WHERE a.grantee = CAST(0 AS oid) AND a.privilege_type = 'CREATE')""")


@reading
def open_to_all(connection: Connection) -> str | None:
    """The schema of our tables as SQL names it, if PUBLIC may create in it; None if not, and on SQLite.

    Whoever may, can make a function that is called in place of PostgreSQL's own, with our rights
    (https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS). Up to PostgreSQL 14 the schema
    public was made so.
    """
    if connection.dialect.name != POSTGRESQL:
        return None
    name: str | None = connection.execute(_OPEN_TO_ALL).scalar_one_or_none()
    return name
