"""The PostgreSQL side of a move: one transaction that makes the schema where there is none, and takes in every row.

COPY keeps ids and fires two triggers: one looks each return up in the archive, one wakes the workers, once, with the
commit. Each row is read back in the same transaction and compared with what it was given.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.columns import read_moment
from worker.store.database import first_line
from worker.store.move.rows import ACCOUNTS, ARCHIVE, ORDERS, TABLES, Bundle, Problem, Table, same, sent
from worker.store.schema import prepare_schema

# https://www.postgresql.org/docs/current/errcodes-appendix.html: a value, a rule of the table, or a limit, such as that
# of an index on a reference. Anything else is no fault of a row.
_OF_A_ROW = ("22", "23", "54")
_LARGEST_ID = (1 << 63) - 1


class Target:
    """The database that returns are copied into, within one transaction that somebody else commits."""

    def __init__(self, connection: AsyncConnection, driver: Any) -> None:
        self._connection = connection
        self._driver = driver

    @classmethod
    async def entered(cls, connection: AsyncConnection) -> "Target":
        """Make the schema where it is missing, and keep other writers out; raises `SchemaMismatch`."""
        await prepare_schema(connection)
        # While the last of it is copied nobody can write to the file: somebody's lock here must not make a shop wait.
        await connection.execute(text("SET LOCAL lock_timeout = '3s'"))
        await connection.execute(text("LOCK TABLE return_order IN EXCLUSIVE MODE"))
        return cls(connection, (await connection.get_raw_connection()).driver_connection)

    async def has_returns(self) -> bool:
        """Whether there is any return, archived or not."""
        either = "SELECT EXISTS (SELECT FROM return_order) OR EXISTS (SELECT FROM archived_return)"
        return bool((await self._connection.execute(text(either))).scalar_one())

    async def has(self, newest: tuple[int, str, str, str] | None) -> bool:
        """Whether it has that return, and so all of them, since they come together."""
        if newest is None:
            return False
        order_id, account, reference, moment = newest
        known = "WHERE id = :id AND account = :account AND reference = :reference"
        statement = f"""SELECT 1 FROM return_order {known} AND created_at = :moment
          UNION ALL SELECT 1 FROM archived_return {known} AND archived_at = :moment"""
        values = {"id": order_id, "account": account, "reference": reference, "moment": read_moment(moment)}
        return (await self._connection.execute(text(statement), values)).first() is not None

    async def discard(self, ids: Sequence[int]) -> None:
        """Remove returns that were copied, with what belongs to them, to copy them anew."""
        for table in (ORDERS, ARCHIVE):
            await self._driver.execute(f"DELETE FROM {table.name} WHERE id = ANY($1::bigint[])", ids)

    async def put(self, bundles: Mapping[int, Bundle]) -> dict[int, list[Problem]]:
        """Take in these returns; returns what is wrong with those that were not taken."""
        problems = {key: bundle.problems for key, bundle in bundles.items() if bundle.problems}
        sound = {key: bundle for key, bundle in bundles.items() if not bundle.problems}
        if not sound or await self._taken(sound) is None:
            return problems
        for key, bundle in sound.items():  # one of them at least is refused: which?
            refusal = await self._taken({key: bundle})
            if refusal is not None:
                problems[key] = [refusal]
        return problems

    async def put_accounts(self, bundle: Bundle) -> None:
        """Take over what the workers share about each account, also where a worker made its row already."""
        names = ACCOUNTS.names
        places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != ACCOUNTS.owner)
        rows = bundle.rows.get(ACCOUNTS.name, [])
        await self._driver.executemany(
            f"INSERT INTO {ACCOUNTS.name} ({', '.join(names)}) VALUES ({places})"
            f" ON CONFLICT ({ACCOUNTS.owner}) DO UPDATE SET {changes}",
            [sent(row) for row in rows],
        )
        await self._compare(ACCOUNTS, rows, [row[names.index(ACCOUNTS.owner)] for row in rows], "text")

    async def settle(self, highest: Mapping[str, int], restored_at: datetime | None) -> None:
        """Number new rows beyond the old ones, and remember that this is where the database is."""
        for table, used in highest.items():
            here = await self._driver.fetchval(
                "SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence($1, 'id') AS regclass))", table
            )
            following = min(max(used, here or 0) + 1, _LARGEST_ID)
            # Not setval, which no roll-back takes back.
            await self._driver.execute(f"ALTER TABLE {table} ALTER COLUMN id RESTART WITH {following}")
        await self._driver.execute(
            "UPDATE database_place SET place = returns_worker_place(), restored_at = $1, moved_to = NULL", restored_at
        )

    async def count(self, table: Table) -> int:
        """How many rows it has."""
        return int(await self._driver.fetchval(f"SELECT count(*) FROM {table.name}"))

    async def _taken(self, bundles: Mapping[int, Bundle]) -> Problem | None:
        """Take in all of them; what PostgreSQL refuses otherwise."""
        name = ORDERS.name
        try:
            async with self._driver.transaction():
                for table in TABLES:
                    name = table.name
                    rows = [row for bundle in bundles.values() for row in bundle.rows.get(table.name, ())]
                    await self._driver.copy_records_to_table(
                        table.name, records=[sent(row) for row in rows], columns=table.names
                    )
                    await self._compare(table, rows, list(bundles), "bigint")
        except asyncpg.PostgresError as error:
            if not str(error.sqlstate).startswith(_OF_A_ROW):
                raise
            return Problem(ORDERS.name, next(iter(bundles)), f"PostgreSQL refuses its {name}: {first_line(error)}")
        return None

    async def _compare(self, table: Table, rows: Iterable[Sequence[Any]], owners: Sequence[Any], kind: str) -> None:
        key = table.names[0]
        # Documents as text: the driver would read their numbers as floats.
        columns = ", ".join(f"CAST({c.name} AS text) AS {c.name}" if c.is_document else c.name for c in table.columns)
        found = await self._driver.fetch(
            f"SELECT {columns} FROM {table.name} WHERE {table.owner} = ANY($1::{kind}[])", owners
        )
        kept = {row[key]: row for row in found}
        for row in rows:
            if row[0] not in kept or not same(row, kept.pop(row[0]).values()):
                raise NotTheSame(f"{table.name} {row[0]} was not kept as it was given")
        if kept:
            raise NotTheSame(f"{table.name} has rows that were not copied: {list(kept)[:3]}")


class NotTheSame(Exception):
    """What the target keeps is not what it was given; nothing was copied."""
