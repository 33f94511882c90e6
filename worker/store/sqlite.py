"""Opens a SQLite file: durably, for one writer at a time, readable by nobody else."""

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event

from worker.store.failures import DatabaseUnavailable
from worker.store.threads import Threads, Wanted

T = TypeVar("T")

BUSY_TIMEOUT = 10.0  # seconds SQLite waits for another process' write to end
_LOOK_EVERY = 10_000  # of SQLite's own instructions: some 0.1 ms
_CLOSING = 2.0  # seconds for which a statement that is not over is waited for


class SqliteConnections:
    """The connections to one file: one that writes, and others that read meanwhile; each transaction in a thread."""

    def __init__(self, path: Path, pool_size: int, busy_timeout: float, longest: float | None = None) -> None:
        """Open nothing yet: up to `pool_size` connections, and two at least; the file is made where there is none.

        After `longest` seconds a transaction is interrupted; None: it takes its time.
        """
        readers = max(pool_size - 1, 1)
        self.engine = _engine(path, readers + 1, busy_timeout)
        if longest is not None:
            _interrupt_after(self.engine, longest)
        self._writer, self._readers = Threads("sqlite-writer", 1), Threads("sqlite-reader", readers)
        # SQLite has one writer at a time; queueing here is fair, its own busy wait is not.
        self._turn, self._longest_turn = asyncio.Lock(), max(busy_timeout, BUSY_TIMEOUT)
        self.patience = self._longest_turn + busy_timeout
        """Seconds after which a statement has failed: the turn to write among ourselves, then among all processes."""
        self.writes = 0
        """How many turns to write have ended."""

    @property
    def is_writing(self) -> bool:
        """Whether somebody has the turn to write."""
        return self._turn.locked()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do the work in a transaction that may write; its turn ends when the thread has committed or rolled back."""
        try:  # no longer than another process is waited for: each in the queue would wait in turn
            async with asyncio.timeout(self._longest_turn):
                await self._turn.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable("another write has not ended in time") from error

        def transaction(is_wanted: Wanted) -> T:
            with self.engine.begin() as connection:
                result = work(connection)
                if not is_wanted():
                    connection.rollback()
                return result

        return await self._writer.run(transaction, ended=self._end_turn)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do the work, whose reads are each by itself; it does not wait for the writer."""

        def reads(_is_wanted: Wanted) -> T:
            with self.engine.connect() as connection:
                return work(connection.execution_options(sqlite_begin=None))

        return await self._readers.run(reads)

    async def close(self) -> None:
        """Close every connection, but for one whose statement hangs."""
        await asyncio.gather(self._writer.close(_CLOSING), self._readers.close(_CLOSING))
        self.engine.dispose()

    def _end_turn(self) -> None:
        self.writes += 1
        self._turn.release()


def _engine(path: Path, pool_size: int, busy_timeout: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), pool_size=pool_size, max_overflow=0, hide_parameters=True
    )

    @event.listens_for(engine, "do_connect")
    def _make(*_: object) -> None:
        # SQLite makes a file 0644 (https://sqlite.org/compile.html#default_file_permissions), for all to read.
        # The files beside it get its mode. One that is there keeps its own, by which a shop's user is let in, and must
        # not be opened: closing it would end SQLite's locks on it.
        with suppress(OSError):  # whatever is wrong, SQLite says it next
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # A shop may insert bytes that are no UTF-8, and reading them must not stop every worker; the payload's reader
        # refuses the replacement character.
        connection.text_factory = lambda content: content.decode("utf-8", "replace")
        connection.isolation_level = None  # the driver's own idea of transactions is older than RETURNING
        cursor = connection.cursor()
        # What is deleted or written over becomes zeroes: else an erased name could still be read in the file
        # (https://sqlite.org/pragma.html#pragma_secure_delete).
        cursor.execute("PRAGMA secure_delete=ON")
        # FULL: a creation that is recorded must survive a power cut, else it would be sent again
        # (https://sqlite.org/pragma.html#pragma_synchronous: NORMAL may lose the last commits in WAL mode).
        for pragma in (f"busy_timeout={busy_timeout * 1000:.0f}", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        _use_wal(cursor, busy_timeout)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A deferred transaction that turns into a writer fails at once when another one wrote meanwhile.
        mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
        if mode is not None:  # a read needs none
            connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _interrupt_after(engine: Engine, longest: float) -> None:
    """Have SQLite look at the time while it works, and end what has had a connection for so many seconds."""

    @event.listens_for(engine, "checkout")
    def _begin(connection: Any, _record: object, _proxy: object) -> None:
        over_at = time.monotonic() + longest
        connection.set_progress_handler(lambda: time.monotonic() > over_at, _LOOK_EVERY)


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
        time.sleep(random.uniform(0.005, 0.02))
