"""The database as a program in another language sees it: the drivers themselves, nothing of ours in between."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

Refused = (sqlite3.Error, asyncpg.PostgresError)
"""What a driver raises when the database itself says no."""


class Shop:
    """One connection in autocommit; parameters are `$1`, `$2` on both databases."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.sqlite = isinstance(connection, sqlite3.Connection)

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Self]:
        """Connect to a database's URL."""
        if url.startswith("sqlite:"):
            connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=10)
            connection.row_factory = sqlite3.Row
            try:
                yield cls(connection)
            finally:
                connection.close()
            return
        connection = await asyncpg.connect(url)
        try:
            yield cls(connection)
        finally:
            await connection.close()

    async def fetch(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run one statement; the rows it answers with."""
        if self.sqlite:
            named = {str(number): value for number, value in enumerate(values, 1)}
            return [dict(row) for row in self.connection.execute(statement, named).fetchall()]
        return [dict(row) for row in await self.connection.fetch(statement, *values)]

    async def run(self, statement: str, *values: Any) -> None:
        """Run one statement whose answer does not matter."""
        await self.fetch(statement, *values)

    async def row(self, statement: str, *values: Any) -> dict[str, Any]:
        """Run one statement; its only row."""
        (row,) = await self.fetch(statement, *values)
        return row

    async def value(self, statement: str, *values: Any) -> Any:
        """Run one statement; the only value of its only row."""
        (value,) = (await self.row(statement, *values)).values()
        return value

    async def order(self, order_id: int) -> dict[str, Any]:
        """The row of one return."""
        return await self.row("SELECT * FROM return_order WHERE id = $1", order_id)

    async def transitions(self, order_id: int) -> list[dict[str, Any]]:
        """The history of one return."""
        return await self.fetch("SELECT * FROM status_transition WHERE return_order_id = $1 ORDER BY id", order_id)

    async def see_waiting(self) -> None:
        """Return once some statement in this database waits for a lock."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while not await self.value(waiting):  # noqa: ASYNC110  the server says it to those who ask
            await asyncio.sleep(0.005)

    def moment(self, seconds: float = 0) -> str:
        """SQL for the time so many seconds from now."""
        if self.sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '{seconds:+.3f} seconds')"
        return f"(now() + interval '{seconds} seconds')"

    async def seconds(self, column: str, order_id: int) -> float:
        """How many seconds from now a moment of a return lies."""
        now = "julianday('now')" if self.sqlite else "now()"
        left = f"(julianday({column}) - {now}) * 86400" if self.sqlite else f"extract(epoch from {column} - {now})"
        return float(await self.value(f"SELECT {left} FROM return_order WHERE id = $1", order_id))
