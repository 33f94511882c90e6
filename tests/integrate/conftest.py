"""A database as a shop sees it on PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests.databases import elsewhere
from tests.deploy import roles
from tests.postgres import PostgresServer
from tests.process.shop import Shop


@pytest.fixture(scope="module")
def shop_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A migrated database as `returns_shop`, which has a schema of its own there."""
    url = postgres_server.create_database()
    if elsewhere(Shop(url).execute("SELECT 1 FROM pg_roles WHERE rolname = 'returns_owner'")):
        pytest.skip("this server has the roles already, for something else")
    elsewhere(roles.migrated(url))
    elsewhere(roles.applied(url))
    elsewhere(Shop(url).execute("CREATE SCHEMA shop AUTHORIZATION returns_shop"))
    elsewhere(Shop(url).execute("ALTER ROLE returns_shop SET search_path = shop, public"))
    yield roles.of("returns_shop", url)
    elsewhere(roles.dropped(url, *roles.ROLES))
    postgres_server.drop_database(url)
