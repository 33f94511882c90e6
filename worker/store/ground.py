"""Where in PostgreSQL our tables may be made, and whether a role sees what is there."""

from sqlalchemy import Connection, text

from worker.store.dialect import POSTGRESQL
from worker.store.failures import DatabaseRefused
from worker.store.search_path import quoted

_THERE = text("SELECT oid FROM pg_namespace WHERE nspname = CAST(:schema AS name)")
_MAY_MAKE_IT = text("SELECT has_database_privilege(current_database(), 'CREATE')")
_MAY_USE_IT = text("SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = CAST(:schema AS name)")
_ANY = text("SELECT current_setting('search_path') <> 'pg_temp'")
_ROLE = text("SELECT quote_ident(CAST(current_user AS text))")


class NoGround(Exception):
    """There is no schema to make tables in; the message says what to do."""


def make_room(connection: Connection, schema: str | None) -> None:
    """Make this schema where it is missing; raises `NoGround` where it must not, or where there is none.

    The next in the search path is the temporary schema (`search_path.connected`): there the tables would be made, and
    be gone with the connection.
    """
    if connection.dialect.name != POSTGRESQL:
        return
    if schema is None:
        if not connection.execute(_ANY).scalar_one():
            raise NoGround("no schema of this role's search path is there: make one, or name one by database.schema")
        return
    role = connection.execute(_ROLE).scalar_one()
    if _is_there(connection, schema):
        if _is_closed(connection, schema):
            raise NoGround(
                f"{role} may not use the schema {schema}: as its owner, GRANT USAGE, CREATE ON SCHEMA {quoted(schema)}"
                f" TO {role}"
            )
        return
    if not connection.execute(_MAY_MAKE_IT).scalar_one():
        raise NoGround(
            f"the schema {schema} is missing, and {role} may not make it: as an administrator,"
            f" CREATE SCHEMA {quoted(schema)} AUTHORIZATION {role}"
        )
    connection.exec_driver_sql(f"CREATE SCHEMA {quoted(schema)}")


def require_sight(connection: Connection, schema: str | None) -> None:
    """Raise `DatabaseRefused` where this schema is there and closed to the role, to which it looks empty."""
    if connection.dialect.name == POSTGRESQL and schema is not None and _is_closed(connection, schema):
        role = connection.execute(_ROLE).scalar_one()
        raise DatabaseRefused(
            f"{role} may not look into the schema {schema}: GRANT USAGE ON SCHEMA {quoted(schema)} TO {role}, and what"
            " else it needs: deploy/sql/roles.sql"
        )


def _is_there(connection: Connection, schema: str) -> bool:
    return connection.execute(_THERE, {"schema": schema}).scalar_one_or_none() is not None


def _is_closed(connection: Connection, schema: str) -> bool:
    return connection.execute(_MAY_USE_IT, {"schema": schema}).scalar_one_or_none() is False
