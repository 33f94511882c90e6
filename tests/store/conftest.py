"""A migrated database of each kind, and a shop that writes to it with plain SQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.postgres import PostgresServer
from tests.store.shop import Shop
from worker.store.database import Database
from worker.store.schema import migrate

Open = Callable[..., Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The URL of a fresh database without a schema."""
    return f"sqlite:///{tmp_path}/empty.db" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database without rows.

    On PostgreSQL the tests use one after the other, emptied in between; one that changes more than rows asks for
    `own_database`.
    """
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "returns.db")
        yield f"sqlite:///{tmp_path}/returns.db"
    elif "own_database" in request.fixturenames:
        url = request.getfixturevalue("postgres_url")
        elsewhere(_migrate(url))
        yield url
    else:
        yield request.getfixturevalue("migrated_postgres")
        elsewhere(_empty(request.getfixturevalue("migrated_postgres")))


@pytest.fixture
def own_database() -> None:
    """Asks for a database of the test's own."""


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


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "returns.db"
    elsewhere(_migrate(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    elsewhere(_migrate(url))
    yield url
    postgres_server.drop_database(url)


def elsewhere(work: Any) -> Any:
    """The result of a coroutine run in a thread of its own: here a loop may be running, or not."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _migrate(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET lock_timeout = '10s'")
        await connection.execute("TRUNCATE return_order, archived_return, carrier_account RESTART IDENTITY CASCADE")
    finally:
        await connection.close()
