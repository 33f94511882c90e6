"""A folder without settings from outside, and a database in which returns are tracked."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.process.shop import Shop


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which commands are run, without settings from outside."""
    for name in [*os.environ]:
        if name.startswith("RETURNS_WORKER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def filled_url(folder: Path, migrated_url: str) -> str:
    """A database in which 12 returns of `default` are in transit and one of `pilot` is completed."""
    asyncio.run(_fill(migrated_url))
    return migrated_url


async def _fill(url: str) -> None:
    shop = Shop(url)
    insert = (
        "INSERT INTO return_order (account, reference, payload, state, next_step, carrier_ref, tracking_status, due_at)"
        " VALUES (?1, ?2, '{}', ?3, 'track', ?2, 'in_transit', "
    )
    for number in range(12):
        await shop.execute(f"{insert}'2036-06-01 00:00:00')", "default", f"T-{number}", "tracking")
    await shop.execute(f"{insert}NULL)", "pilot", "D-1", "completed")
