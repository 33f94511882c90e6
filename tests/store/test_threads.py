"""On SQLite a transaction runs in a thread: what its caller is told is true, whatever becomes of the caller."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from tests.store.conftest import Open
from tests.store.test_outages import long_write
from worker.store import sqlite
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable

HANGING = """
import asyncio, sys
from worker.store.accounts import register_accounts
from worker.store.database import Database

async def main():
    database = Database(sys.argv[1], busy_timeout=60)
    writing = asyncio.ensure_future(register_accounts(database, ["one"]))
    await asyncio.wait([writing], timeout=0.1)
    writing.cancel()
    await asyncio.wait([writing])

asyncio.run(main())
print("ended")
"""


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a thread waits for; it is opened at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def insert(connection: Connection, name: str, gate: threading.Event | None = None) -> str:
    connection.execute(text("INSERT INTO carrier_account (name) VALUES (:name)"), {"name": name})
    if gate is not None:
        gate.wait(10)
    return name


async def names(database: Database) -> list[str]:
    names = text("SELECT name FROM carrier_account ORDER BY name")
    return list(await database.reading(lambda connection: connection.execute(names).scalars().all()))


async def cancel(task: "asyncio.Future[Any]") -> None:
    """Cancel what has been going on for a moment, and give it another one to end."""
    await asyncio.wait([task], timeout=0.05)
    task.cancel()
    await asyncio.wait([task], timeout=0.05)


async def test_a_transaction_whose_caller_was_cancelled_is_undone_and_keeps_its_turn_until_then(
    database: Database, gate: threading.Event
) -> None:
    writing = asyncio.ensure_future(database.transaction(insert, "cancelled", gate))
    await cancel(writing)
    assert writing.cancelled()
    assert database.is_writing
    following = asyncio.ensure_future(database.transaction(insert, "after it"))
    assert await names(database) == []  # which waits for nobody
    assert not following.done()
    gate.set()
    assert await following == "after it"
    assert await names(database) == ["after it"]
    assert (database.is_writing, database.writes) == (False, 2)


async def test_a_caller_who_is_cancelled_while_it_commits_goes_on_when_what_was_written_is_there(
    database: Database, gate: threading.Event
) -> None:
    event.listen(database.engine, "commit", lambda _: gate.wait(10))
    writing = asyncio.ensure_future(database.transaction(insert, "one"))
    await cancel(writing)
    assert not writing.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await names(database) == ["one"]


async def test_what_was_cancelled_before_a_thread_had_it_is_never_done(opened: Open, gate: threading.Event) -> None:
    database, done = opened(pool_size=2), []
    going = asyncio.ensure_future(database.reading(lambda _: gate.wait(10)))
    waiting = asyncio.ensure_future(database.reading(lambda _: done.append("read")))
    await cancel(waiting)
    gate.set()
    assert await going
    assert (waiting.cancelled(), await names(database), done) == (True, [], [])


async def test_a_database_is_closed_beside_a_statement_that_hangs(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_CLOSING", 0.05)
    database = opened(busy_timeout=0.5)
    with long_write(database.path):
        writing = asyncio.ensure_future(database.transaction(insert, "one"))
        await cancel(writing)
        await asyncio.wait_for(database.close(), 0.3)
    assert await names(database) == []  # it may be opened once more


def test_a_thread_that_hangs_keeps_no_process_from_ending(url: str) -> None:
    with long_write(Path(url.removeprefix("sqlite:///"))):
        command = [sys.executable, "-c", HANGING, url]
        assert subprocess.run(command, check=True, capture_output=True, timeout=20).stdout == b"ended\n"


async def test_a_write_that_hangs_fails_the_next_ones_in_time_and_ends_no_later(
    opened: Open, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    database = opened(busy_timeout=0.05)
    hanging = asyncio.ensure_future(database.transaction(insert, "one", gate))
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable, match="another write has not ended in time"):
        await database.transaction(insert, "two")
    gate.set()
    assert await hanging == "one"
    assert await names(database) == ["one"]


async def test_where_no_thread_can_be_started_others_do_the_work_and_no_turn_is_lost(
    opened: Open, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    database = opened(pool_size=3)
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", refused)
        with pytest.raises(DatabaseUnavailable, match="can't start new thread"):
            await database.transaction(insert, "one")
    assert await database.transaction(insert, "two") == "two"
    reading = asyncio.ensure_future(database.reading(lambda _: gate.wait(10)))
    await asyncio.sleep(0)
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", refused)
        later = asyncio.ensure_future(names(database))
        await asyncio.sleep(0)
    gate.set()
    assert (await reading, await later) == (True, ["two"])
