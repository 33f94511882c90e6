"""Where the names in our SQL are looked for: among PostgreSQL's own, and in the schema of our tables.

By a role's own search path, a role that may create something in one of its schemas can make a function or an operator
that fits a call of ours better than PostgreSQL's own, and it runs with our rights
(https://wiki.postgresql.org/wiki/A_Guide_to_CVE-2018-1058:_Protect_Your_Search_Path). So a connection is told its path
before anything else is asked on it. pg_catalog comes first by itself; the temporary schema is named, as the last,
because unnamed it would be searched for tables before all others.
"""

from typing import Any

import asyncpg
from asyncpg.transaction import Transaction

# Asked by the role's own path, so every name in it says where it is from.
_PATH_OF_OUR_TABLES = """
SELECT pg_catalog.concat_ws(', ', pg_catalog.quote_ident(coalesce(
  (SELECT n.nspname FROM pg_catalog.pg_class c
     JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('return_order')),
  pg_catalog.current_schema())), 'pg_temp')"""


def quoted(schema: str) -> str:
    """A schema's name as SQL."""
    return '"' + schema.replace('"', '""') + '"'


async def connected(schema: str | None, pooler: bool, **told: Any) -> asyncpg.Connection:
    """A connection whose names are looked for in `schema`.

    None: in the first schema of the role's path that has our tables, else in that where the role would make them.
    With `pooler`, each transaction is told again, since the next one may reach another server connection, and leave it
    to anybody. Raises `OSError`, `asyncpg.PostgresError` or `asyncpg.InterfaceError` where there is none to be had.
    """
    try:
        connection = await asyncpg.connect(**told, connection_class=_Pooled if pooler else asyncpg.Connection)
    except asyncpg.InternalClientError as error:
        # The driver calls it its own, but it is about who answers: no server that `target_session_attrs` asks for, as
        # in a failover, or one that asks for a login that the driver has not.
        raise ConnectionError(str(error)) from error
    try:
        path = None if schema is None else f"{quoted(schema)}, pg_temp"
        if pooler:
            if path is None:
                async with connection.transaction():  # what the driver asks reaches one server connection
                    path = await connection.fetchval(_PATH_OF_OUR_TABLES)
            connection.search_path = path
        elif path is None:
            await connection.execute(f"SELECT pg_catalog.set_config('search_path', ({_PATH_OF_OUR_TABLES}), false)")
        else:
            await connection.execute(f"SET search_path TO {path}")
    except BaseException:
        connection.terminate()
        raise
    return connection


class _Pooled(asyncpg.Connection):  # type: ignore[misc]
    search_path: str | None = None

    def transaction(self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False) -> Transaction:
        return _Pinned(self, isolation, readonly, deferrable)


class _Pinned(Transaction):  # type: ignore[misc]
    async def start(self) -> None:
        await super().start()
        if self._connection.search_path is not None:
            await self._connection.execute(f"SET LOCAL search_path TO {self._connection.search_path}")
