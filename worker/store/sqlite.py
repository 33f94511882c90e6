"""Opens a SQLite file: durably, for one writer at a time, readable by nobody else."""

import asyncio
import os
import random
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

BUSY_TIMEOUT = 10.0  # seconds SQLite waits for another process' write to end


def sqlite_engine(path: Path, pool_size: int, busy_timeout: float) -> AsyncEngine:
    """A pool of `pool_size` connections to one file, which is made where there is none."""
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
        # What is deleted or written over becomes zeroes: else an erased name could still be read in the file
        # (https://sqlite.org/pragma.html#pragma_secure_delete).
        cursor.execute("PRAGMA secure_delete=ON")
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
