"""`migrate` beside a shop at work and somebody's long read, as the real command."""

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest

from tests.process.running import typed, until
from tests.store.rows import insert
from tests.store.shop import Shop
from worker.store import schema
from worker.store.database import Database
from worker.store.schema import migrate


async def test_behind_somebody_s_long_read_migrate_lets_the_shop_insert_names_the_reader_and_goes_on_at_its_end(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a database of an older version, which a dump reads
    database = Database(postgres_url)
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0008")
        await migrate(database)
    await database.close()
    dump = await asyncpg.connect(postgres_url, server_settings={"application_name": "pg_dump"})
    reading = dump.transaction(isolation="repeatable_read", readonly=True)
    await reading.start()
    await dump.fetch("SELECT * FROM return_order")
    # When it is migrated, and the shop goes on inserting
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
        # Then each insert came through soon
        assert longest < 4
        # And it goes on when the dump has ended
        await reading.rollback()
        while not migrating.done():
            await insert_one()
    await dump.close()
    code, _, errors = await migrating
    assert code == 0, errors
    assert f"pid {dump.get_server_pid()} (postgres, pg_dump, idle in transaction, since " in errors
    assert "migrated from 0008 to " in errors
    assert longest < 4
