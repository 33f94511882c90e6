"""The shop's side: plain SQL on either database, with none of our code."""

import asyncio
import json
import sqlite3
from typing import Any

import asyncpg

from tests.process.running import PAYLOAD


class Shop:
    """Somebody's application, which knows only the tables."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def execute(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run one statement; parameters are ?1, ?2 ... and dicts are JSON."""
        values = tuple(json.dumps(value) if isinstance(value, dict) else value for value in values)
        if self.url.startswith("sqlite"):
            return await asyncio.to_thread(self._sqlite, statement, values)
        connection = await asyncpg.connect(self.url)
        try:
            return [dict(row) for row in await connection.fetch(statement.replace("?", "$"), *values)]
        finally:
            await connection.close()

    def _sqlite(self, statement: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        connection = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            with connection:
                return [dict(row) for row in connection.execute(statement, values)]
        finally:
            connection.close()

    async def insert(self, reference: str, payload: dict[str, Any] | None = None, account: str = "default") -> None:
        await self.execute(
            "INSERT INTO return_order (reference, payload, account) VALUES (?1, ?2, ?3)",
            reference,
            PAYLOAD if payload is None else payload,
            account,
        )

    async def order(self, reference: str) -> dict[str, Any]:
        (row,) = await self.execute("SELECT * FROM return_order WHERE reference = ?1", reference)
        return row

    async def is_in(self, reference: str, state: str) -> bool:
        return bool((await self.order(reference))["state"] == state)

    async def history(self, reference: str) -> list[dict[str, Any]]:
        return await self.execute(
            "SELECT t.* FROM status_transition t JOIN return_order o ON o.id = t.return_order_id"
            " WHERE o.reference = ?1 ORDER BY t.id",
            reference,
        )


async def let_the_database_be_ahead(shop: Shop, interval: str) -> None:
    """A function of its own name stands for the server's clock, in this database alone; read by the next plan.

    Only a superuser can do that: a function in any other schema is not found.
    """
    if not await shop.execute("SELECT 1 FROM pg_proc WHERE proname = 'now_as_it_is'"):
        await shop.execute("ALTER FUNCTION pg_catalog.now() RENAME TO now_as_it_is")
    await shop.execute(
        "CREATE OR REPLACE FUNCTION pg_catalog.now() RETURNS timestamptz LANGUAGE sql STABLE"
        f" AS $$ SELECT pg_catalog.now_as_it_is() + interval '{interval}' $$"
    )
