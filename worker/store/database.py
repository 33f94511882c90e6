"""Opens the database and hands out connections; says which errors mean that it is away for now."""

import asyncio
import errno
import os
import random
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
from sqlalchemy import URL, event, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from worker.domain.masking import said_by
from worker.store.columns import read_document
from worker.store.outage import Outage
from worker.store.sqlite_file import SqliteFile

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"

NOW: Final = {POSTGRESQL: "now()", SQLITE: "strftime('%Y-%m-%d %H:%M:%f', 'now')"}
"""The database's own time, as SQL."""

_COMMAND_TIMEOUT = 20.0  # seconds; a half-open connection would otherwise hold a worker for ever
_CONNECT_TIMEOUT = 10.0
_BUSY_TIMEOUT = 10.0  # seconds SQLite waits for another process' write to end
_CLIENT_ONLY = {"channel_binding", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval"} | {
    "keepalives_count",
    "tcp_user_timeout",
    "client_encoding",
    "fallback_application_name",
}  # libpq parameters without meaning for this driver, which would send them to the server


# https://sqlite.org/rescode.html: another process writes, the disk fails or is full, the file is not there
_SQLITE_OUTAGES = tuple(
    f"SQLITE_{name}" for name in ("BUSY", "LOCKED", "IOERR", "FULL", "CANTOPEN", "READONLY", "PROTOCOL")
)


# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, roll-back, insufficient resources,
# operator intervention, system error; and one code: the server has become a standby.
_POSTGRESQL_OUTAGES = ("08", "40", "53", "57", "58", "25006")
_LOCKED = "55P03"  # lock_not_available

# https://www.pgbouncer.org/features.html: in transaction mode the next statement may run on another server connection,
# which knows no statement of this name, or another one's.
_UNKNOWN_STATEMENT = ("26000", "42P05")
_BEHIND_A_POOLER = "behind a transaction-mode pooler such as PgBouncer, set database.pooler = true"


class DatabaseUnavailable(Exception):
    """The database is away, locked, full or restarting: wait and try again."""


class DatabaseRefused(DatabaseUnavailable):
    """The database is there and will not let us work: no rights, or no database at all. A person has to act."""


class RowLocked(DatabaseUnavailable):
    """Somebody's open transaction locks the row, for longer than it was worth waiting: the database itself is well."""


# Not a database file; no rights on a table (42501), no such role or password, no such database.
_SQLITE_REFUSALS = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_AUTH", "SQLITE_PERM")
_READ_ONLY = ("SQLITE_READONLY", "SQLITE_READONLY_DIRECTORY")  # whole names: others of them pass, as a recovery does
_NEEDS_A_PERSON = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.EISDIR)
_POSTGRESQL_REFUSALS = ("42501", "28", "3D000")
_MOVED = "have moved to another database"  # what the triggers of a SQLite file say that was moved away from


class DatabaseReplaced(DatabaseUnavailable):
    """Another file has taken the place of the SQLite file that is open: what is written to it would be lost."""


class Database:
    """One database, PostgreSQL or SQLite, told apart only by `dialect`."""

    def __init__(
        self, url: str, *, pool_size: int = 5, busy_timeout: float = _BUSY_TIMEOUT, pooler: bool = False
    ) -> None:
        """Open nothing yet; `url` is `sqlite:///PATH` or `postgresql://...` with libpq's parameters.

        With `pooler`, PostgreSQL is used so that each transaction may reach another server connection.
        """
        self.dialect = SQLITE if url.startswith("sqlite:") else POSTGRESQL
        self.path = Path(url.removeprefix("sqlite:///")) if self.dialect == SQLITE else None
        self._url = url
        self.engine = _sqlite(self.path, pool_size, busy_timeout) if self.path else _postgresql(url, pool_size, pooler)
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
        told = _connecting(self._url)
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
    async def _turn_to_write(self) -> AsyncIterator[None]:
        """SQLite's one writer, waited for no longer than another process is: each in the queue would wait in turn."""
        self.check_file()
        try:
            async with asyncio.timeout(max(self._busy_timeout, _BUSY_TIMEOUT)):
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
        if self.dialect == SQLITE:  # the turn to write among ourselves, then among all processes
            return max(self._busy_timeout, _BUSY_TIMEOUT) + self._busy_timeout
        # a place in the pool, a connection, the answer
        return float(_COMMAND_TIMEOUT + _connecting(self._url)["timeout"] + _COMMAND_TIMEOUT)

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


class translated:  # noqa: N801  a context manager reads as a verb
    """Raises what says that the database is away, refuses, or has a locked row, instead of the driver's errors."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        if _sqlstate(error) == _LOCKED:
            raise RowLocked(first_line(error)) from error
        if _is_refusal(error):
            raise DatabaseRefused(first_line(error)) from error
        if _is_outage(error):
            raise DatabaseUnavailable(first_line(error)) from error


def _is_refusal(error: BaseException) -> bool:
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")
        return name.startswith(_SQLITE_REFUSALS) or name in _READ_ONLY or _MOVED in str(cause)
    return _sqlstate(error).startswith(_POSTGRESQL_REFUSALS)


def _sqlstate(error: BaseException) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "")


def _is_outage(error: BaseException) -> bool:
    """Whether `error` is about the database's availability and not about what we asked of it."""
    if isinstance(error, (OSError, TimeoutError, exc.TimeoutError, exc.InterfaceError)):
        return True
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorname", "").startswith(_SQLITE_OUTAGES)
    if isinstance(error, asyncpg.PostgresError):
        return True  # raised outside a statement: while connecting
    if isinstance(error, exc.DBAPIError):
        # A plan that a migration of another worker made invalid: the driver forgets it, and the next try has a new one.
        cause = getattr(error.orig, "__cause__", None)
        if error.connection_invalidated or isinstance(cause, asyncpg.InvalidCachedStatementError):
            return True
        state = getattr(error.orig, "sqlstate", None) or ""
        while_connecting = error.statement is None and state[:2] not in {"", "23"}  # 23: a commit that breaks a rule
        return while_connecting or state.startswith(_POSTGRESQL_OUTAGES + _UNKNOWN_STATEMENT)
    return False


def first_line(error: BaseException) -> str:
    """What the database said, without details, which may quote a row."""
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    line = said_by(str(cause).strip().partition("\n")[0]) or type(cause).__name__
    return f"{line}: {_BEHIND_A_POOLER}" if getattr(cause, "sqlstate", None) in _UNKNOWN_STATEMENT else line


def _connecting(url: str) -> dict[str, Any]:
    dsn, parameters = _without_client_only(url), dict(parse_qsl(urlsplit(url).query))
    seconds = parameters.get("connect_timeout", "")
    timeout = float(seconds) if seconds.isdecimal() and int(seconds) else _CONNECT_TIMEOUT
    name = parameters.get("application_name", "returns-worker")
    # These two settings travel with the connection's first packet, and PgBouncer sets them wherever a transaction lands
    # (https://www.pgbouncer.org/config.html, ignore_startup_parameters).
    return {
        "dsn": dsn,
        "timeout": timeout,
        "command_timeout": _COMMAND_TIMEOUT,
        "server_settings": {"application_name": name, "timezone": "UTC"},
    }


def _postgresql(url: str, pool_size: int, pooler: bool) -> AsyncEngine:
    connecting = _connecting(url) | {"prepared_statement_name_func": _statement_names()}
    if pooler:
        # No statement is kept (https://magicstack.github.io/asyncpg/current/faq.html), and one without a name is sent
        # once more together with its values (https://github.com/MagicStack/asyncpg/pull/1065).
        connecting |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        }
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args=connecting,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_COMMAND_TIMEOUT,
        hide_parameters=True,  # an error must not quote a customer
        json_deserializer=read_document,
    )


def _statement_names() -> Callable[[], str]:
    """The driver counts from 1 in each process, and behind a pooler would run another process' statement instead."""
    mine, numbers = secrets.token_hex(8), count(1)
    return lambda: f"returns_worker_{mine}_{next(numbers)}"


def _without_client_only(url: str) -> str:
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key not in _CLIENT_ONLY | {"connect_timeout"}]
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(query)))


def _sqlite(path: Path, pool_size: int, busy_timeout: float) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)), pool_size=pool_size, max_overflow=0, hide_parameters=True
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def _make(*_: object) -> None:
        # SQLite makes a file 0644 (https://sqlite.org/compile.html#default_file_permissions), for all to read.
        # The files beside it get its mode. One that is there keeps its own, by which a shop's user is let in, and must
        # not be opened: closing it would end SQLite's locks on it.
        with suppress(OSError):  # whatever is wrong, SQLite says it next
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # A shop may insert bytes that are no UTF-8, and reading them must not stop every worker; the payload's reader
        # refuses the replacement character.
        connection.driver_connection.text_factory = lambda content: content.decode("utf-8", "replace")
        connection.isolation_level = None  # the driver's own idea of transactions is older than RETURNING
        cursor = connection.cursor()
        # FULL: a creation that is recorded must survive a power cut, else it would be sent again
        # (https://sqlite.org/pragma.html#pragma_synchronous: NORMAL may lose the last commits in WAL mode).
        for pragma in (f"busy_timeout={busy_timeout * 1000:.0f}", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        _use_wal(cursor, busy_timeout)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        # A deferred transaction that turns into a writer fails at once when another one wrote meanwhile.
        # A read needs none: it would be three more errands to the driver's thread.
        mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
        if mode is not None:
            connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _use_wal(cursor: Any, busy_timeout: float) -> None:
    """SQLite does not wait where two connections turn a new file to WAL at once: each holds what the other needs."""
    give_up_at = time.monotonic() + busy_timeout
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > give_up_at:
                raise
        else:
            return
        await_only(asyncio.sleep(random.uniform(0.005, 0.02)))
