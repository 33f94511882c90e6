"""A migrated database of either kind."""

from collections.abc import AsyncIterator

import pytest

from worker.store.database import Database


@pytest.fixture
async def database(migrated_url: str) -> AsyncIterator[Database]:
    database = Database(migrated_url)
    yield database
    await database.close()
