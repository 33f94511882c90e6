"""Migrated databases for the tests: migrated once a session, and copied or emptied for each test.

A migration takes most of a second on PostgreSQL, a copy of the SQLite file and emptying a few tables next to nothing.
A test that changes more than rows, or says that a database has no schema, asks for `own_database` or `postgres_url`.
"""

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.postgres import PostgresServer
from worker.store.database import Database
from worker.store.schema import migrate

on_sqlite = pytest.mark.parametrize("kind", ["sqlite"])
"""For what needs SQLite, or does not depend on the kind of database and is worth one run."""
on_postgresql = pytest.mark.parametrize("kind", ["postgresql"])
"""For what needs PostgreSQL, or does not depend on the kind but takes several workers."""

_EMPTY = """
DO $$
BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
   WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
  EXECUTE (SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') || ' RESTART IDENTITY'
             FROM pg_tables
            WHERE schemaname = 'public' AND tablename NOT IN ('returns_worker_schema', 'database_place'));
  DELETE FROM database_place;
  INSERT INTO database_place (id, place) VALUES (1, returns_worker_place());
END $$
"""
_MORE_THAN_ROWS = """
SELECT (SELECT string_agg(version_num, ' ') FROM returns_worker_schema)
    || (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    || (SELECT count(*) || '/' || count(*) FILTER (WHERE tgenabled = 'O') FROM pg_trigger WHERE NOT tgisinternal)
    || (SELECT count(*) FROM pg_namespace)
    || (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
         WHERE d.datname = current_database())
"""
"""What a test must leave as it was in a database that others use after it: schema, triggers, settings."""


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two databases the test runs on."""
    return str(request.param)


@pytest.fixture
def migrated_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The URL of a migrated database without rows, as `migrate` left it."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "returns.db")
        return f"sqlite:///{tmp_path}/returns.db"
    return str(request.getfixturevalue("migrated_postgres_url"))


@pytest.fixture
def migrated_postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same on PostgreSQL: a database that tests use one after the other, or one of the test's own."""
    if "own_database" in request.fixturenames:
        url = request.getfixturevalue("postgres_url")
        elsewhere(migrated(url))
        yield url
    else:
        url, before = request.getfixturevalue("migrated_postgres"), request.getfixturevalue("untouched")
        yield url
        assert elsewhere(_emptied(url)) == before, "this test changes more than rows: it needs own_database"


@pytest.fixture
def own_database() -> None:
    """Asks for a PostgreSQL database of the test's own, since it changes more than rows or must not be cut off."""


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("migrated") / "returns.db"
    elsewhere(migrated(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of the migrated database that tests use one after the other."""
    url = postgres_server.create_database()
    elsewhere(migrated(url))
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def untouched(migrated_postgres: str) -> str:
    """What that database looks like but for its rows."""
    return str(elsewhere(_emptied(migrated_postgres)))


async def migrated(url: str) -> None:
    """Bring a database up to date."""
    database = Database(url)
    await migrate(database)
    await database.close()


def elsewhere(work: Any) -> Any:
    """The result of a coroutine run in a thread of its own: here a loop may be running, or not."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _emptied(url: str) -> str:
    """Without rows, and without the connections of whoever the test has killed or left; `_MORE_THAN_ROWS`."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET lock_timeout = '10s'")
        await connection.execute(_EMPTY)
        return str(await connection.fetchval(_MORE_THAN_ROWS))
    finally:
        await connection.close()
