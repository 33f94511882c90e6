"""A folder without settings from outside, and a database in which returns are tracked."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.process.shop import Shop
from worker.store.database import Database
from worker.store.schema import migrate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which commands are run, without settings from outside."""
    for name in [*os.environ]:
        if name.startswith("RETURNS_WORKER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["sqlite", "postgresql"])
def filled_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """A database in which 12 returns of `default` are in transit and one of `pilot` is completed."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{folder}/returns.db" if sqlite else str(request.getfixturevalue("postgres_url"))
    asyncio.run(_fill(url))
    return url


async def _fill(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()
    shop = Shop(url)
    insert = (
        "INSERT INTO return_order (account, reference, payload, state, next_step, carrier_ref, tracking_status, due_at)"
        " VALUES (?1, ?2, '{}', ?3, 'track', ?2, 'in_transit', "
    )
    for number in range(12):
        await shop.execute(f"{insert}'2036-06-01 00:00:00')", "default", f"T-{number}", "tracking")
    await shop.execute(f"{insert}NULL)", "pilot", "D-1", "completed")
