"""A migrated database of either kind."""

from collections.abc import AsyncIterator

import pytest

from tests.store.shop import Shop
from worker.store.database import Database


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    database = Database(migrated_url)
    yield database
    await database.close()


@pytest.fixture
async def shop(migrated_url: str) -> AsyncIterator[Shop]:
    """A shop's own connection to it."""
    async with Shop.at(migrated_url) as shop:
        yield shop
