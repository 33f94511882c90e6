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
    elsewhere(roles.need_none(url))
    elsewhere(roles.migrated(url))
    elsewhere(roles.applied(url))
    elsewhere(Shop(url).execute("CREATE SCHEMA shop AUTHORIZATION returns_shop"))
    elsewhere(Shop(url).execute("ALTER ROLE returns_shop SET search_path = shop, public"))
    yield roles.of("returns_shop", url)
    elsewhere(roles.dropped(url, *roles.ROLES))
    postgres_server.drop_database(url)
