"""The PostgreSQL side of a move: one transaction that makes the schema where there is none, and takes in every row.

COPY keeps ids and fires two triggers: one looks each return up in the archive, one wakes the workers, once, with the
commit. The third, which bounds new payloads, is switched off meanwhile. Each row is read back in the same transaction
and compared with what it was given.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import Connection, text
from sqlalchemy.util import await_only

from worker.store.columns import read_moment
from worker.store.database import Database
from worker.store.durability import DURABLE
from worker.store.failures import refusal_of
from worker.store.schema import prepare_schema
from worker.store.upkeep.move.rows import SHARED, TABLES, Row, Table

_LOCK_TIMEOUT = "3s"  # how long somebody else's transaction there is waited for
_BOUND = "return_order_payload_size_insert"
_LARGEST_ID = (1 << 63) - 1


class Target:
    """The database that returns are copied into, within one transaction that somebody else commits."""

    def __init__(self, connection: Connection, schema: str | None = None) -> None:
        """Wait for another copy to it to end, and make the schema where it is missing; raises `SchemaMismatch`.

        A copy that was killed right at its commit has committed when this returns, or never will.
        """
        prepare_schema(connection, schema)
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        connection.execute(DURABLE)  # the file is retired for good by what this commits
        self._driver: Any = connection.connection.driver_connection

    async def is_free(self) -> bool:
        """Whether it has no return, archived or not; if so, nobody else can use it until the transaction ends.

        What has to be waited for is so waited for before the file is retired. A database in use is not locked.
        """
        if await self._is_empty():
            names = ", ".join(table.name for table in TABLES)
            await self._driver.execute(f"LOCK TABLE {names}, database_place IN ACCESS EXCLUSIVE MODE")
            # A payload that was there before its bound was is kept, and set aside when a worker takes it.
            await self._driver.execute(f"ALTER TABLE return_order DISABLE TRIGGER {_BOUND}")
        return await self._is_empty()

    async def _is_empty(self) -> bool:
        neither = "SELECT NOT EXISTS (SELECT FROM return_order) AND NOT EXISTS (SELECT FROM archived_return)"
        return bool(await self._driver.fetchval(neither))

    async def has(self, newest: tuple[int, str, str, str] | None) -> bool:
        """Whether it has that return, and so all of them, since they come together."""
        if newest is None:
            return False
        known = "WHERE id = $1 AND account = $2 AND reference = $3"
        statement = f"""SELECT EXISTS (SELECT FROM return_order {known} AND created_at = $4)
          OR EXISTS (SELECT FROM archived_return {known} AND archived_at = $4)"""
        return bool(await self._driver.fetchval(statement, *newest[:3], read_moment(newest[3])))

    async def put(self, table: Table, rows: Sequence[Row]) -> list[str]:
        """Take in these rows; returns what is wrong with those that it does not take, or not keep as they are."""
        if await self._refusal(table, rows) is None:
            return await self._differing(table, rows)
        refusals = [(row, await self._refusal(table, [row])) for row in rows]  # which of them?
        return [table.said(row, f"PostgreSQL refuses it: {why}") for row, why in refusals if why is not None]

    async def _refusal(self, table: Table, rows: Sequence[Row]) -> str | None:
        """Take in all of them; if PostgreSQL takes none, why."""
        try:
            async with self._driver.transaction():
                if table in SHARED:  # a worker that was started there has made rows of its own
                    await self._driver.execute(f"DELETE FROM {table.name} WHERE name = ANY($1)", [r[0] for r in rows])
                await self._driver.copy_records_to_table(table.name, records=rows, columns=table.columns)
                # What is asked only at a commit is asked now: by then the file would be retired for good.
                await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except asyncpg.PostgresError as error:
            why = refusal_of(error)
            if why is None:
                raise
            return why
        return None

    async def _differing(self, table: Table, rows: Sequence[Row]) -> list[str]:
        # Documents as text: the driver would read their numbers as floats.
        documents = {table.columns[number] for number in table.documents}
        columns = ", ".join(f"CAST({name} AS text)" if name in documents else name for name in table.columns)
        statement = f"SELECT {columns} FROM {table.name} WHERE {table.columns[0]} = ANY($1)"
        found = {kept[0]: kept for kept in await self._driver.fetch(statement, [row[0] for row in rows])}
        differing = [row for row in rows if row[0] not in found or not table.same(row, found[row[0]])]
        return [table.said(row, "PostgreSQL does not keep it as it is") for row in differing]

    async def count(self, table: Table) -> int:
        """How many rows it has."""
        return int(await self._driver.fetchval(f"SELECT count(*) FROM {table.name}"))

    async def settle(self, highest: Mapping[str, int], restored_at: datetime | None) -> None:
        """Number new rows beyond the old ones, and remember that this is where the database is."""
        for table, used in highest.items():
            here = await self._driver.fetchval(
                "SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence($1, 'id') AS regclass))", table
            )
            following = min(max(used, here or 0) + 1, _LARGEST_ID)
            # Not setval, which no roll-back takes back.
            await self._driver.execute(f"ALTER TABLE {table} ALTER COLUMN id RESTART WITH {following}")
        await self._driver.execute(f"ALTER TABLE return_order ENABLE TRIGGER {_BOUND}")
        await self._driver.execute(
            "UPDATE database_place SET place = returns_worker_place(), restored_at = $1, moved_to = NULL", restored_at
        )


async def entered(database: Database, work: Callable[[Target], Awaitable[bool]]) -> None:
    """Do the work in one transaction, which is committed if it comes to True.

    Rows are copied and compared by what only the driver can do, which is asynchronous, unlike the rest of the store.
    """

    def transaction(connection: Connection) -> None:
        if not await_only(work(Target(connection, database.schema))):
            connection.rollback()

    await database.transaction(transaction)
