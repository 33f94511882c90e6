"""Measures how long what a dead worker had leased lies still, and how long nothing moves after a database returns."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import asyncpg

from tests.process.shop import Shop

AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error, TimeoutError)


@dataclass
class Recovery:
    """Watches a database; times are in seconds."""

    shop: Shop
    after_kill: list[float] = field(default_factory=list)
    after_restart: list[float] = field(default_factory=list)
    _left: dict[tuple[int, int], float] = field(default_factory=dict)  # by claim: when its worker was killed
    _disturbances: int = 0

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """What is left lying meanwhile is not the kill's alone, and is not measured."""
        self._disturbances += 1
        self._left.clear()
        try:
            yield
        finally:
            self._disturbances -= 1

    async def killed(self, pid: int) -> None:
        """Remember what this process had leased."""
        if self._disturbances:
            return
        at = time.monotonic()
        try:
            rows = await self.shop.execute(
                f"SELECT id, lease_token FROM return_order WHERE lease_owner LIKE '%:{pid}:%'"
            )
        except AWAY:
            return
        self._left |= {(row["id"], row["lease_token"]): at for row in rows}

    async def watch(self) -> None:
        """Look, until cancelled, which of what was left has been taken up."""
        while True:
            await asyncio.sleep(0.1)
            if not self._left:
                continue
            try:
                rows = await self.shop.execute("SELECT id, lease_token FROM return_order WHERE lease_owner IS NOT NULL")
            except AWAY:
                continue
            now, still = time.monotonic(), {(row["id"], row["lease_token"]) for row in rows}
            for claim in [claim for claim in self._left if claim not in still]:
                self.after_kill.append(now - self._left.pop(claim))

    async def returned(self) -> None:
        """The database has just come back: wait until a worker takes something."""
        began, before = time.monotonic(), None
        while time.monotonic() - began < 30:
            try:
                (row,) = await self.shop.execute("SELECT sum(lease_token) AS claims FROM return_order")
            except AWAY:
                await asyncio.sleep(0.02)
                continue
            if before is None:
                before = row["claims"]
            elif row["claims"] != before:
                self.after_restart.append(time.monotonic() - began)
                return
            await asyncio.sleep(0.05)
