"""What a shop has of the names that we need: said in one line, with the way out, and nothing is changed."""

from collections.abc import AsyncIterator

import pytest

from tests.databases import on_postgresql
from tests.store.conftest import Open
from tests.store.rows import insert
from tests.store.shop import Shop
from tests.store.test_migrations import HEAD
from worker.store.schema import SchemaMismatch, SchemaState, migrate, require_current, schema_state

TABLES = {
    True: "SELECT type || name AS name FROM sqlite_master",
    False: "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
}


@pytest.fixture
async def shop(empty_url: str) -> AsyncIterator[Shop]:
    async with Shop.at(empty_url) as shop:
        yield shop


async def names(shop: Shop) -> list[str]:
    return sorted(row["name"] for row in await shop.fetch(TABLES[shop.sqlite]))


ANYWHERE = (
    "CREATE TABLE package (id integer PRIMARY KEY)",
    "CREATE TABLE return_order (id integer PRIMARY KEY)",
    "CREATE VIEW label AS SELECT 1 AS id",
    "CREATE TABLE x (id integer); CREATE INDEX return_order_due ON x (id)",
    "CREATE TABLE database_place (id integer)",
    "CREATE TABLE returns_worker_schema (id integer)",
)
ON_POSTGRESQL = (
    "CREATE TYPE label AS ENUM ('a', 'b')",
    "CREATE FUNCTION return_order_wake() RETURNS int LANGUAGE sql AS 'SELECT 1'",
)


async def test_a_shops_thing_of_our_name_is_named_with_the_way_out_and_nothing_is_changed(
    shop: Shop, opened: Open, empty_url: str
) -> None:
    database = opened(empty_url)
    for made in ANYWHERE if shop.sqlite else ANYWHERE + ON_POSTGRESQL:
        for statement in made.split("; "):
            await shop.run(statement)
        before = await names(shop)
        assert await schema_state(database) is SchemaState.MISSING
        thing = made.split("; ")[-1].split(" (")[0].replace("()", "").split()[2]
        way_out = "database.url" if shop.sqlite else "database.schema"
        with pytest.raises(SchemaMismatch, match=rf"{thing}\"?.*nothing was changed: .*apart, .*{way_out}"):
            await migrate(database)
        assert await names(shop) == before, made
        for statement in reversed(made.split("; ")):
            await shop.run(" ".join(["DROP", *statement.split("(")[0].split()[1:3]]))
    assert await migrate(database) == (None, HEAD)


@on_postgresql
async def test_a_schema_of_our_own_is_beside_whatever_the_shop_has(shop: Shop, opened: Open, empty_url: str) -> None:
    for made in (*ANYWHERE[:3], ON_POSTGRESQL[1], ANYWHERE[4]):
        await shop.run(made)
    before = await names(shop)
    database = opened(empty_url, schema="returns")
    assert await migrate(database) == (None, HEAD)
    await require_current(database)
    assert await names(shop) == before
    await shop.run("SET search_path = returns")
    assert await insert(shop, "R-1")
