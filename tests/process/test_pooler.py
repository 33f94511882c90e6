"""A worker behind a transaction-mode pooler, with the real process: with the key it works, without it says so."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.databases import on_postgresql
from tests.pgbouncer import PgBouncer
from tests.process.running import PILOT_PAYLOAD, RunningWorker, until
from tests.process.shop import Shop

Start = Callable[..., RunningWorker]

pytestmark = [
    on_postgresql,
    pytest.mark.usefixtures("own_database"),  # the pooler leads to it
]


@pytest.fixture
def told(pgbouncer: PgBouncer) -> dict[str, str]:
    """The environment of a worker that knows of its pooler."""
    return {"RETURNS_WORKER_DATABASE__URL": pgbouncer.url, "RETURNS_WORKER_DATABASE__POOLER": "true"}


class Holders:
    """Two other programs; one in a transaction leaves the worker one server connection, and another one in its turn."""

    def __init__(self, one: asyncpg.Connection, other: asyncpg.Connection) -> None:
        self.one, self.other = one, other

    async def move_the_worker(self) -> None:
        """Hold the server connection that it used so far, and let go of the other one."""
        await self.other.execute("BEGIN")
        await self.one.execute("ROLLBACK")


@pytest.fixture
async def holders(pgbouncer: PgBouncer) -> AsyncIterator[Holders]:
    one, other = [await asyncpg.connect(pgbouncer.url, statement_cache_size=0) for _ in range(2)]
    await one.execute("BEGIN")
    yield Holders(one, other)
    await one.close()
    await other.close()


async def test_a_return_of_each_carrier_is_completed_behind_a_pooler(
    start: Start, shop: Shop, told: dict[str, str], holders: Holders
) -> None:
    worker = await start(**told).ready()
    await holders.move_the_worker()
    await shop.insert("R-1")
    await shop.insert("ORD-1", PILOT_PAYLOAD, account="pilot")
    await holders.other.execute("ROLLBACK")
    for reference in ("R-1", "ORD-1"):
        await until(lambda reference=reference: shop.is_in(reference, "completed"), 30, lambda: worker.log_text)
        assert {row["field"] for row in await shop.history(reference)} == {"state", "tracking_status"}
    assert len(await shop.execute("SELECT DISTINCT return_order_id FROM label")) == 2
    assert not worker.saw("database_unavailable")
    assert await worker.stopped() == 0


@pytest.mark.long  # without a pooler tests/store/test_search_path.py holds it each time
async def test_a_schema_of_its_own_holds_behind_a_pooler_that_keeps_other_programs_search_paths(
    start: Start, told: dict[str, str], postgres_url: str, holders: Holders
) -> None:
    for holder in (holders.one, holders.other):
        await holder.execute("SET search_path = public")
    shop = Shop(postgres_url)
    worker = await start(RETURNS_WORKER_DATABASE__SCHEMA="Returns-1", **told).ready()
    await holders.move_the_worker()
    await shop.execute("INSERT INTO \"Returns-1\".return_order (reference, payload) VALUES ('R-1', '{}')")

    async def is_rejected() -> bool:
        return bool(await shop.execute("SELECT 1 FROM \"Returns-1\".return_order WHERE state = 'rejected'"))

    await until(is_rejected, 30, lambda: worker.log_text)
    await holders.other.execute("ROLLBACK")
    assert await shop.execute("SELECT 1 FROM public.return_order") == []  # another installation
    assert await worker.stopped() == 0


async def test_a_restart_of_the_pooler_is_waited_out(
    start: Start, shop: Shop, pgbouncer: PgBouncer, told: dict[str, str]
) -> None:
    worker = await start(**told).ready()
    pgbouncer.stop()
    await until(lambda: worker.saw("database_unavailable"), 15, lambda: worker.log_text)
    pgbouncer.start()
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "completed"), 30, lambda: worker.log_text)
    assert await worker.stopped() == 0


async def test_a_worker_that_was_not_told_of_its_pooler_says_which_key_to_set_and_lives_on(
    start: Start, pgbouncer: PgBouncer, holders: Holders
) -> None:
    worker = await start(RETURNS_WORKER_DATABASE__URL=pgbouncer.url).ready()
    await holders.move_the_worker()
    problem = await until(lambda: worker.saw("database_unavailable"), 15, lambda: worker.log_text)
    assert problem["error"].endswith("set database.pooler = true")
    assert await worker.get("/livez") == (200, "ok\n")
    await holders.other.execute("ROLLBACK")
    assert await worker.stopped() == 0


@pytest.mark.long
async def test_no_command_leaves_a_prepared_statement_behind(
    config: Path, told: dict[str, str], tmp_path: Path, holders: Holders
) -> None:
    (tmp_path / "returns.json").write_text('{"reference": "R-1", "payload": {}}')
    for command in (["migrate"], ["add", "returns.json"], ["list"], ["show", "R-1"], ["check"]):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "worker", "--config", str(config), *command],
            env={**os.environ, **told},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    # Other programs meet the server connection that the commands have used.
    await holders.move_the_worker()
    assert await holders.other.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
