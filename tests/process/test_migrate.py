"""Migrations beside a shop at work and somebody's long read, by the real commands."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.process.running import typed, until
from tests.store.rows import insert
from tests.store.shop import Shop
from worker.store import schema
from worker.store.database import Database
from worker.store.schema import migrate


@pytest.fixture
async def dump(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Connection]:
    """A connection that reads a database of an older version, as pg_dump does."""
    database = Database(postgres_url)
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0008")
        await migrate(database)
    await database.close()
    connection = await asyncpg.connect(postgres_url, server_settings={"application_name": "pg_dump"})
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    await connection.fetch("SELECT * FROM return_order")
    yield connection
    await connection.close()


async def test_behind_somebody_s_long_read_migrate_lets_the_shop_insert_names_the_reader_and_goes_on_at_its_end(
    postgres_url: str, dump: asyncpg.Connection, tmp_path: Path
) -> None:
    config, said = tmp_path / "worker.toml", tmp_path / "stderr"
    config.write_text(f'[database]\nurl = "{postgres_url}"\n')
    migrating = asyncio.ensure_future(typed(config, "migrate"))
    longest, number = 0.0, 0
    async with Shop.at(postgres_url) as shop:

        async def insert_one() -> None:
            nonlocal longest, number
            began, number = time.monotonic(), number + 1
            await insert(shop, f"R-{number}")
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.02)

        async def is_said() -> bool:
            await insert_one()
            return "pg_dump" in said.read_text()

        await until(said.exists, 5)
        await until(is_said, 10, said.read_text)
        assert not migrating.done()
        await dump.execute("ROLLBACK")
        while not migrating.done():
            await insert_one()
    code, _, errors = await migrating
    assert code == 0, errors
    assert f"waits for pid {dump.get_server_pid()} (postgres, pg_dump, idle in transaction, since " in errors
    assert "migrated from 0008 to " in errors
    assert longest < 4  # the two seconds of an attempt, and what a busy machine adds


@pytest.mark.long
async def test_run_waits_for_it_as_long_as_for_a_database_and_says_who_it_is(
    postgres_url: str, dump: asyncpg.Connection, tmp_path: Path
) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(
        f'[database]\nurl = "{postgres_url}"\nauto_migrate = true\nwait = "6s"\n'
        f'[labels]\nstore = "file:{tmp_path}/labels"\n[http]\nlisten = "127.0.0.1:0"\n'
        '[accounts.default]\napi_key = "IZI-a-key"\n'
    )
    code, _, errors = await typed(config, "run")
    assert code == 69, errors
    holder = f"pid {dump.get_server_pid()} (postgres, pg_dump, idle in transaction, since "
    assert f'"event": "schema_locked", "by": "{holder}' in errors
    assert f"error: the schema cannot be changed while {holder}" in errors
