"""A migrated database of each kind, and a shop that writes to it with plain SQL."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.store.shop import Shop
from worker.store.database import Database

Open = Callable[..., Database]


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The URL of a fresh database without a schema."""
    return f"sqlite:///{tmp_path}/empty.db" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def url(migrated_url: str) -> str:
    """The URL of a migrated database without rows."""
    return migrated_url


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Open]:
    """Opens the migrated database, or another one, as one more process would."""
    databases: list[Database] = []

    def open_database(other: str = url, **options: Any) -> Database:
        databases.append(Database(other, **options))
        return databases[-1]

    yield open_database
    for database in databases:
        await database.close()


@pytest.fixture
def database(opened: Open) -> Database:
    """The migrated database."""
    return opened()


@pytest.fixture
async def shop(url: str) -> AsyncIterator[Shop]:
    """A shop's own connection to the migrated database."""
    async with Shop.at(url) as shop:
        yield shop
