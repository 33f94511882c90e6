"""Opens the database, and runs what is done with a connection to it: each time one transaction, whichever database."""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.dsn import PostgresqlUrl, parse_url
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.failures import DatabaseRefused, DatabaseReplaced, DatabaseUnavailable, translated
from worker.store.outage import Outage
from worker.store.postgresql import COMMAND_TIMEOUT, connect_timeout, connecting, postgresql_engine
from worker.store.sqlite import BUSY_TIMEOUT, SqliteConnections
from worker.store.sqlite_file import SqliteFile

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[Connection, P], T]
"""What is done in one transaction: it waits for nothing but its connection, and on SQLite is done in a thread."""

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
        longest: float | None = None,
    ) -> None:
        """Open nothing yet; `url` is one that `parse_url` reads, with what the environment adds. Raises `BadUrl`.

        `current` is asked for the URL of each new connection to PostgreSQL: the same database, with the password as it
        is then. With `pooler`, PostgreSQL is used so that each transaction may reach another server connection.
        `schema` is where in PostgreSQL our tables are; None: by the role's search path. After `longest` seconds the
        database ends what it does by itself: on PostgreSQL a statement, on SQLite a transaction; None: see `patience`.
        """
        self.schema, self._pooler = schema, pooler
        parsed = parse_url(url)
        self.path = parsed if isinstance(parsed, Path) else None
        self.dialect = SQLITE if self.path else POSTGRESQL
        self._current = partial(_parsed, current or (lambda: url))
        self._sqlite: SqliteConnections | None = None
        if isinstance(parsed, Path):
            self._sqlite = SqliteConnections(parsed, pool_size, busy_timeout, longest)
        else:
            limit = COMMAND_TIMEOUT if longest is None else longest
            self._pool = postgresql_engine(self._current, pool_size, pooler, schema, limit)
            # The driver asks for a statement's types, and then sends its values: a pooler has promised to keep both on
            # one server connection only in a transaction.
            self._single = self._pool if pooler else self._pool.execution_options(isolation_level="AUTOCOMMIT")
        self.engine = self._sqlite.engine if self._sqlite is not None else self._pool.sync_engine
        self.file: SqliteFile | None = None
        self.outage = Outage()
        self.has_subscribers = False  # as far as is known: which statement is tried first, see `worker.store.records`

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

    async def statement(self, work: Work[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do the work on a connection for one statement; without a pooler it has no round trips of a transaction."""
        if self._sqlite is not None:
            return await self.transaction(work, *args, **named)
        return await _run_on(self._single, work, *args, **named)

    async def transaction(self, work: Work[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do the work on a connection for several writes that happen together."""
        if self._sqlite is None:
            return await _run_on(self._pool, work, *args, **named)
        with translated():
            self.check_file()
            return await self._sqlite.write(lambda connection: work(connection, *args, **named))

    async def unhurried(self, work: Work[P, T], *args: P.args, **named: P.kwargs) -> T:
        """A transaction in which a statement may take its time: on PostgreSQL on a connection of its own."""
        if self._sqlite is not None:
            return await self.transaction(work, *args, **named)
        engine = postgresql_engine(self._current, 1, self._pooler, self.schema, command_timeout=None)
        try:
            return await _run_on(engine, work, *args, **named)
        finally:
            await engine.dispose()

    async def reading(self, work: Work[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do the work on a connection for reads, each of them by itself; on SQLite it does not wait for the writer."""
        if self._sqlite is None:
            return await _run_on(self._single, work, *args, **named)
        with translated():
            self.check_file()
            return await self._sqlite.read(lambda connection: work(connection, *args, **named))

    @property
    def patience(self) -> float:
        """Seconds after which a statement has failed at the latest."""
        if self._sqlite is not None:
            return self._sqlite.patience
        # a place in the pool, a connection, the answer
        return COMMAND_TIMEOUT + connect_timeout(self._current()) + COMMAND_TIMEOUT

    @property
    def is_writing(self) -> bool:
        """Whether, on SQLite, somebody has the turn to write."""
        return self._sqlite is not None and self._sqlite.is_writing

    @property
    def writes(self) -> int:
        """On SQLite, how many turns to write have ended."""
        return self._sqlite.writes if self._sqlite is not None else 0

    async def close(self) -> None:
        """Close every connection."""
        await (self._sqlite.close() if self._sqlite is not None else self._pool.dispose())
        if self.file is not None:
            self.file.close()
            self.file = None

    def check_file(self) -> None:
        """Raise `DatabaseReplaced` where another file has taken the place of the one that is open."""
        if self.file is not None and self.file.is_replaced:
            raise DatabaseReplaced(f"{self.file.path} was replaced or removed while the worker had it open")


async def _run_on(engine: AsyncEngine, work: Work[P, T], *args: P.args, **named: P.kwargs) -> T:
    with translated():
        async with engine.begin() as connection:
            return await connection.run_sync(work, *args, **named)


def _parsed(current: Callable[[], str]) -> PostgresqlUrl:
    parsed = parse_url(current())
    assert isinstance(parsed, PostgresqlUrl)  # `current` never leads elsewhere
    return parsed
