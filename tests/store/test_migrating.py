"""A change of the schema waits for others' locks without making others wait, and has all the time that it needs."""

import asyncio
import socket
import time
from itertools import islice
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.databases import on_postgresql, on_sqlite
from tests.store.conftest import Open
from tests.store.rows import insert
from tests.store.shop import Shop
from worker.store import postgresql
from worker.store.database import Database
from worker.store.migrating import SchemaLocked, Waiting, patiently, pauses
from worker.store.schema import SchemaState, migrate, schema_state

_LOCKED = 0.3  # seconds that an attempt waits for a lock here


def _widen(connection: Connection) -> str:
    connection.execute(text("ALTER TABLE status_transition ADD COLUMN first integer"))
    connection.execute(text("ALTER TABLE return_order ADD COLUMN second integer"))
    return "done"


@pytest.mark.usefixtures("own_database")
@on_postgresql
async def test_between_two_attempts_nothing_is_locked_and_what_was_changed_is_changed_once(
    database: Database, shop: Shop, url: str
) -> None:
    told: list[tuple[str, float]] = []
    async with Shop.at(url) as reader:
        await reader.run("SET application_name = 'nightly'")
        await reader.run("BEGIN")
        await reader.run("SELECT * FROM return_order")
        waiting = Waiting(tell=lambda *said: told.append(said), lock_timeout=_LOCKED, chance=lambda: 0)
        changing = asyncio.ensure_future(patiently(database, _widen, waiting))
        while len(told) < 2:
            await insert(shop, f"R-{await shop.value('SELECT count(*) FROM return_order')}")
            await asyncio.sleep(0.01)
        held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation > 16384"
        assert await shop.value(held) == 0
        pid = await reader.value("SELECT pg_backend_pid()")
        assert told[0][0].startswith(f"pid {pid} (postgres, nightly, idle in transaction, since 2")
        assert _LOCKED < told[0][1] < told[1][1]
        await reader.run("COMMIT")
    assert await changing == "done"
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name IN ('first', 'second')"
    assert await shop.value(f"{columns} AND table_schema = 'public'") == 2


@pytest.mark.usefixtures("own_database")
async def test_when_the_time_given_is_over_the_holder_is_named_and_nothing_is_changed(
    url: str, kind: str, opened: Open, shop: Shop
) -> None:
    await shop.run("BEGIN" if kind == "postgresql" else "BEGIN IMMEDIATE")
    await shop.run("UPDATE return_order SET attempts = 0")
    database = opened(url, busy_timeout=0.1)
    with pytest.raises(SchemaLocked, match=r"cannot be changed while (pid \d+ \(|somebody's open transaction)"):
        await patiently(database, _widen, Waiting(at_most=0.1, lock_timeout=_LOCKED))
    await shop.run("ROLLBACK")
    assert await patiently(database, _widen, Waiting(at_most=0)) == "done"


@on_sqlite
async def test_a_long_write_to_a_sqlite_file_is_waited_for(empty_url: str, opened: Open) -> None:
    told: list[str] = []
    async with Shop.at(empty_url) as shop:
        await shop.run("BEGIN IMMEDIATE")
        await shop.run("CREATE TABLE theirs (id)")

        def let_go(holder: str, pause: float) -> None:
            told.append(holder)
            shop.connection.execute("COMMIT")

        database = opened(empty_url, busy_timeout=0.1)
        await migrate(database, Waiting(tell=let_go, lock_timeout=0.01))
    assert told == ["somebody's open transaction"]
    assert await schema_state(database) is SchemaState.CURRENT


@pytest.mark.usefixtures("own_database")
@on_postgresql
async def test_no_time_limit_ends_a_migration_that_works(
    database: Database, opened: Open, url: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ours for a statement, nor those of the role."""
    name = url.rsplit("/", 1)[1]
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"):
        if await shop.value("SELECT count(*) FROM pg_settings WHERE name = $1", limit):
            await shop.run(f"ALTER DATABASE {name} SET {limit} = '200ms'")
    monkeypatch.setattr(postgresql, "COMMAND_TIMEOUT", 0.2)

    def take_long(connection: Connection) -> Any:
        connection.execute(text("SELECT pg_sleep(0.4)"))
        time.sleep(0.3)
        return connection.execute(text("SELECT 1")).scalar_one()

    assert await patiently(opened(url), take_long, Waiting(at_most=0)) == 1


@on_postgresql
async def test_a_connection_without_a_time_limit_is_kept_alive_by_the_kernel(database: Database) -> None:
    def look(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        end = driver._transport.get_extra_info("socket")
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30

    await database.unhurried(look)


def test_a_pause_is_longer_than_an_attempt_blocks_and_grows_to_half_a_minute() -> None:
    for chance in (0.0, 0.999):
        found = list(islice(pauses(2.0, lambda chance=chance: chance), 8))  # type: ignore[misc]
        assert min(found) > 2.0
        assert found == sorted(found)
        assert 20 < found[-1] < 40
    assert min(islice(pauses(60.0, lambda: 0.0), 8)) > 60
