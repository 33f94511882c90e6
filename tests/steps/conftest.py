"""A migrated database of either kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from worker.store.database import Database
from worker.store.schema import migrate


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    sqlite = request.param == "sqlite"
    database = Database(f"sqlite:///{tmp_path}/returns.db" if sqlite else request.getfixturevalue("postgres_url"))
    await migrate(database)
    yield database
    await database.close()
