"""A database with the roles of deploy/sql/roles.sql, and what to do as one of them."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.deploy.scripts import script
from tests.postgres import PostgresServer
from tests.process.shop import Shop
from worker.store.database import Database
from worker.store.schema import migrate

ROLES = ("returns_owner", "returns_worker", "returns_shop", "returns_reader")


def of(role: str, url: str) -> str:
    """The database as that role; the tests' server asks for no password."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()


async def applied(url: str, schema: str | None = None) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script("roles.sql", schema))
    finally:
        await connection.close()


async def dropped(url: str, *roles: str) -> None:
    """Roles belong to the whole server: they must not outlive the test."""
    admin = Shop(url)
    there = [role for role in roles if await admin.execute("SELECT 1 FROM pg_roles WHERE rolname = ?1", role)]
    for role in there:
        await admin.execute(f"DROP OWNED BY {role} CASCADE")
    for role in there:
        await admin.execute(f"DROP ROLE {role}")


async def migrated(url: str, schema: str | None = None) -> None:
    database = Database(url, schema=schema)
    await migrate(database)
    await database.close()


async def need_none(url: str) -> None:
    """Skip the calling test where the server has the roles: roles are the server's, and theirs would be dropped."""
    if await Shop(url).execute("SELECT 1 FROM pg_roles WHERE rolname = 'returns_owner'"):
        pytest.skip("this server has the roles already, for something else")


@pytest.fixture
async def url(postgres_server: PostgresServer, postgres_url: str) -> AsyncIterator[str]:
    """A database whose tables the superuser made, with the roles."""
    await need_none(postgres_url)
    await migrated(postgres_url)
    await applied(postgres_url)
    yield postgres_url
    await dropped(postgres_url, *ROLES)
