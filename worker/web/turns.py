"""One connection to the database for all pages together, so that no reader of them costs the loop anything."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Concatenate, ParamSpec, TypeVar

from worker.settings import Settings
from worker.store.database import Database

P = ParamSpec("P")
T = TypeVar("T")
UseCase = Callable[Concatenate[Settings, Database, P], Awaitable[T]]

PATIENCE = 2.0
"""Seconds for which a page waits for its turn, and then for the database."""


class Busy(Exception):
    """The pages before this one, or what it asks for itself, take longer than a page may."""


class Turns:
    """Lets one page at a time ask the database."""

    def __init__(
        self,
        settings: Settings,
        current: Callable[[], str],
        check_file: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
    ) -> None:
        """Open nothing yet.

        `current` gives the database's URL, `patience` is in seconds. `check_file` raises where another file has taken
        the place of SQLite's, which only the worker can tell, as it holds it.
        """
        told = settings.database
        self._settings, self._check_file, self._patience = settings, check_file, patience
        self._turn = asyncio.Lock()
        self._database = Database(
            told.url,
            current=current,
            pool_size=1,
            busy_timeout=patience,
            pooler=told.pooler,
            schema=told.schema,
            longest=patience,
        )
        self._acts = asyncio.Semaphore(8)  # more than persons press buttons at a time

    async def ask(self, use_case: UseCase[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Have the answer of a use case that only looks; raises `Busy`, `DatabaseUnavailable`, and what that does."""
        async with self._turn_taken():
            try:
                async with asyncio.timeout(self._patience):
                    return await use_case(self._settings, self._database, *args, **named)
            except TimeoutError:
                raise Busy from None

    async def act(self, use_case: UseCase[P, T], *args: P.args, **named: P.kwargs) -> T:
        """The same of one that changes something: it comes to its end, though each statement is as short as ever.

        It may wait for a worker or for a carrier, and then has neither the connection nor the pages' turn.
        """
        if self._acts.locked():
            raise Busy
        async with self._acts:
            self._check_file()
            return await use_case(self._settings, self._database, *args, **named)

    @asynccontextmanager
    async def _turn_taken(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            self._check_file()
            yield
        finally:
            self._turn.release()

    async def close(self) -> None:
        """Close the connection."""
        await self._database.close()
