"""Opens the database and hands out connections."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.dsn import PostgresqlUrl, parse_url
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.failures import DatabaseRefused, DatabaseReplaced, DatabaseUnavailable, translated
from worker.store.outage import Outage
from worker.store.postgresql import COMMAND_TIMEOUT, connect_timeout, connecting, postgresql_engine
from worker.store.sqlite import BUSY_TIMEOUT, sqlite_engine
from worker.store.sqlite_file import SqliteFile

_NEEDS_A_PERSON = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.EISDIR)


class Database:
    """One database, PostgreSQL or SQLite, told apart only by `dialect`."""

    def __init__(
        self,
        url: str,
        *,
        current: Callable[[], str] | None = None,
        pool_size: int = 5,
        busy_timeout: float = BUSY_TIMEOUT,
        pooler: bool = False,
        schema: str | None = None,
    ) -> None:
        """Open nothing yet; `url` is one that `parse_url` reads, with what the environment adds. Raises `BadUrl`.

        `current` is asked for the URL of each new connection to PostgreSQL: the same database, with the password as it
        is then. With `pooler`, PostgreSQL is used so that each transaction may reach another server connection.
        `schema` is where in PostgreSQL our tables are; None: by the role's search path.
        """
        self.schema, self._pooler = schema, pooler
        parsed = parse_url(url)
        self.path = parsed if isinstance(parsed, Path) else None
        self.dialect = SQLITE if self.path else POSTGRESQL
        self._current = partial(_parsed, current or (lambda: url))
        self.engine = (
            sqlite_engine(parsed, pool_size, busy_timeout)
            if isinstance(parsed, Path)
            else postgresql_engine(self._current, pool_size, pooler, schema)
        )
        # The driver asks for a statement's types, and then sends its values: a pooler has promised to keep both on one
        # server connection only in a transaction.
        self._single = self.engine if pooler else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # SQLite has one writer at a time; queueing here is fair, its own busy wait is not.
        self._writer = asyncio.Lock()
        self._busy_timeout = busy_timeout
        self.writes = 0  # on SQLite, how many turns to write have ended
        self.file: SqliteFile | None = None
        self.outage = Outage()

    def connecting(self, name_ends: str) -> dict[str, Any]:
        """What PostgreSQL's driver is told for a connection beside the pool; its name in the server ends so."""
        with translated():
            told = connecting(self._current())
        settings = told["server_settings"]
        return told | {"server_settings": {**settings, "application_name": settings["application_name"] + name_ends}}

    def hold_file(self) -> None:
        """On SQLite, keep other workers away; raises `AlreadyRunning`, and `DatabaseUnavailable` where it cannot."""
        if self.path is None or self.file is not None:
            return
        try:
            self.file = SqliteFile(self.path)
        except OSError as error:
            kind = DatabaseRefused if error.errno in _NEEDS_A_PERSON else DatabaseUnavailable
            raise kind(f"cannot lock {self.path.absolute()}-worker: {error.strerror}") from error

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one statement; where there is no pooler, without the round trips of a transaction."""
        if self.dialect == SQLITE:
            async with self.transaction() as connection:
                yield connection
            return
        with translated():
            async with self._single.begin() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection for several writes that happen together."""
        with translated():
            if self.dialect == POSTGRESQL:
                async with self.engine.begin() as connection:
                    yield connection
                return
            async with self._turn_to_write(), self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def unhurried(self) -> AsyncIterator[AsyncConnection]:
        """A transaction in which a statement may take its time: on PostgreSQL on a connection of its own."""
        if self.path is not None:
            async with self.transaction() as connection:
                yield connection
            return
        engine = postgresql_engine(self._current, 1, self._pooler, self.schema, command_timeout=None)
        try:
            with translated():
                async with engine.begin() as connection:
                    yield connection
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def _turn_to_write(self) -> AsyncIterator[None]:
        """SQLite's one writer, waited for no longer than another process is: each in the queue would wait in turn."""
        self.check_file()
        try:
            async with asyncio.timeout(max(self._busy_timeout, BUSY_TIMEOUT)):
                await self._writer.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable("another write has not ended in time") from error
        try:
            yield
        finally:
            self.writes += 1
            self._writer.release()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reads, each of them by itself; on SQLite it does not wait for the writer."""
        with translated():
            if self.dialect == POSTGRESQL:
                async with self._single.begin() as connection:
                    yield connection
                return
            self.check_file()
            async with self.engine.connect() as connection:
                yield await connection.execution_options(sqlite_begin=None)

    @property
    def patience(self) -> float:
        """Seconds after which a statement has failed at the latest."""
        if self.path is not None:  # the turn to write among ourselves, then among all processes
            return max(self._busy_timeout, BUSY_TIMEOUT) + self._busy_timeout
        # a place in the pool, a connection, the answer
        return COMMAND_TIMEOUT + connect_timeout(self._current()) + COMMAND_TIMEOUT

    @property
    def is_writing(self) -> bool:
        """Whether, on SQLite, somebody has the turn to write."""
        return self._writer.locked()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        if self.file is not None:
            self.file.close()
            self.file = None

    def check_file(self) -> None:
        """Raise `DatabaseReplaced` where another file has taken the place of the one that is open."""
        if self.file is not None and self.file.is_replaced:
            raise DatabaseReplaced(f"{self.file.path} was replaced or removed while the worker had it open")


def _parsed(current: Callable[[], str]) -> PostgresqlUrl:
    parsed = parse_url(current())
    assert isinstance(parsed, PostgresqlUrl)  # `current` never leads elsewhere
    return parsed
