"""A migrated database of each kind, and a shop that writes to it with plain SQL."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.store.shop import Shop
from worker.store.database import Database
from worker.store.schema import migrate

Open = Callable[..., Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/returns.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Open]:
    """Opens the database once more, as another process would."""
    databases: list[Database] = []

    def open_database(other: str | None = None, **options: object) -> Database:
        databases.append(Database(other or url, **options))  # type: ignore[arg-type]
        return databases[-1]

    yield open_database
    for database in databases:
        await database.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves a copy of its migrated SQLite file, so that the others need not migrate."""
    return tmp_path_factory.mktemp("migrated") / "returns.db"


@pytest.fixture
async def database(url: str, opened: Open, migrated_file: Path) -> Database:
    """The database with the schema in it."""
    database = opened()
    if database.path is None:
        await migrate(database)
        return database
    if not migrated_file.exists():
        await migrate(database)
        await database.close()  # the last connection folds the write-ahead log into the file
        shutil.copy(database.path, migrated_file)
        return database
    shutil.copy(migrated_file, database.path)
    return database


@pytest.fixture
async def shop(url: str, database: Database) -> AsyncIterator[Shop]:
    """A shop's own connection to the migrated database."""
    async with Shop.at(url) as shop:
        yield shop


@pytest.fixture
def server(postgres_server: PostgresServer) -> PostgresServer:
    return postgres_server
