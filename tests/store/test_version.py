"""Where the schema's revision is written: in a table of our own, whoever else uses Alembic in the same place."""

from typing import Any

import asyncpg
import pytest

from tests.databases import on_postgresql
from tests.store.conftest import Open
from tests.store.rows import insert
from tests.store.shop import Shop
from tests.store.test_migrations import HEAD
from worker.store import schema
from worker.store.database import Database
from worker.store.schema import SchemaMismatch, SchemaState, keeps_former_table, migrate, require_current, schema_state
from worker.store.version import keep_former

SHOPS_VERSION = "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"
STAMP = "SELECT version_num FROM alembic_version"


async def as_before(database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database as the last version left it that wrote into `alembic_version`."""
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0012")
        await migrate(database)
    await shop.run("ALTER TABLE returns_worker_schema RENAME TO alembic_version")
    if not shop.sqlite:
        await shop.run("ALTER TABLE alembic_version RENAME CONSTRAINT returns_worker_schema_pkc TO alembic_version_pkc")


@pytest.fixture
async def empty(opened: Open, empty_url: str) -> Database:
    return opened(empty_url)


@pytest.fixture
async def there(empty_url: str) -> Any:
    """The shop, in the database that is empty so far."""
    async with Shop.at(empty_url) as shop:
        yield shop


async def test_what_an_older_version_made_is_taken_over_and_an_older_worker_is_told_that_it_is_newer(
    empty: Database, there: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await as_before(empty, there, monkeypatch)
    assert await schema_state(empty) is SchemaState.OLDER
    order_id = await insert(there, "R-1")
    assert await migrate(empty) == ("0012", HEAD)
    await require_current(empty)
    assert (await there.order(order_id))["reference"] == "R-1"
    assert await there.value(STAMP) == HEAD
    assert await there.value("SELECT version_num FROM returns_worker_schema") == HEAD
    assert await keeps_former_table(empty)
    assert await migrate(empty) == (HEAD, HEAD)
    assert await keeps_former_table(empty)


async def later(database: Database) -> None:
    """What a migration that comes after all others does at its end."""
    await database.transaction(keep_former, HEAD, "9998", taken_over=False)


async def test_each_later_migration_tells_older_workers_until_the_table_is_dropped(
    empty: Database, there: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await as_before(empty, there, monkeypatch)
    await migrate(empty)
    await later(empty)
    assert await there.value(STAMP) == "9998"
    await there.run("DROP TABLE alembic_version")
    await later(empty)
    assert not await keeps_former_table(empty)
    await there.run(SHOPS_VERSION)
    await there.run(f"INSERT INTO alembic_version VALUES ('{HEAD}')")
    await later(empty)
    assert await there.value(STAMP) == HEAD


async def test_a_table_that_is_the_shops_by_now_is_left_to_it(
    empty: Database, there: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await as_before(empty, there, monkeypatch)
    await migrate(empty)
    await there.run("UPDATE alembic_version SET version_num = 'ae1027a6acf'")
    await later(empty)
    assert await there.value(STAMP) == "ae1027a6acf"
    assert not await keeps_former_table(empty)


@pytest.mark.parametrize("revision", ["ae1027a6acf", "0007", HEAD, "9999"])
async def test_a_shops_own_alembic_is_neither_read_nor_written(empty: Database, there: Shop, revision: str) -> None:
    await there.run(SHOPS_VERSION)
    await there.run(f"INSERT INTO alembic_version VALUES ('{revision}')")
    await there.run("CREATE TABLE product (id integer PRIMARY KEY)")
    assert await schema_state(empty) is SchemaState.MISSING
    assert await migrate(empty) == (None, HEAD)
    await require_current(empty)
    await later(empty)
    assert await there.value(STAMP) == revision
    assert not await keeps_former_table(empty)


async def test_a_newer_database_that_was_not_yet_taken_over_is_refused(
    empty: Database, there: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await as_before(empty, there, monkeypatch)
    await there.run("UPDATE alembic_version SET version_num = '9999'")
    assert await schema_state(empty) is SchemaState.NEWER
    with pytest.raises(SchemaMismatch, match="made by a newer version"):
        await migrate(empty)
    assert await there.value(STAMP) == "9999"


async def test_our_tables_without_a_version_are_not_built_upon(empty: Database, there: Shop) -> None:
    await migrate(empty)
    await there.run("DELETE FROM returns_worker_schema")
    for remains in ("DROP TABLE returns_worker_schema", SHOPS_VERSION):
        with pytest.raises(SchemaMismatch, match=r"nothing says of which version.*from a backup$"):
            await migrate(empty)
        await there.run(remains)
    await there.run("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    with pytest.raises(SchemaMismatch, match=r"nothing says of which version.*from a backup$"):
        await migrate(empty)
    assert await there.value(STAMP) == "ae1027a6acf"


@pytest.mark.parametrize(
    "own", ["version_num integer); INSERT INTO alembic_version VALUES (13)", "version_num integer)", "version text)"]
)
async def test_a_shops_version_table_of_another_kind_is_no_version_of_ours(
    empty: Database, there: Shop, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await as_before(empty, there, monkeypatch)
    await migrate(empty)
    await there.run("DROP TABLE alembic_version")
    for statement in f"CREATE TABLE alembic_version ({own}".split("; "):
        await there.run(statement)
    await later(empty)
    assert not await keeps_former_table(empty)
    await there.run("DROP TABLE returns_worker_schema")
    assert await schema_state(empty) is SchemaState.UNCLEAR


async def test_a_version_table_of_several_rows_is_no_version_at_all(empty: Database, there: Shop) -> None:
    await migrate(empty)
    await there.run("INSERT INTO returns_worker_schema VALUES ('0013')")
    for refused in (migrate, require_current):
        with pytest.raises(SchemaMismatch, match=r"nothing says of which version.*several rows.*from a backup$"):
            await refused(empty)
    assert await there.value("SELECT count(*) FROM returns_worker_schema") == 2


@on_postgresql
async def test_whoever_read_the_version_before_can_read_it_after(
    empty: Database, there: Shop, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await as_before(empty, there, monkeypatch)
    await there.run('CREATE ROLE "returns test reader" LOGIN')
    try:
        await there.run('GRANT SELECT ON alembic_version TO "returns test reader"')
        await migrate(empty)
        await there.run('SET ROLE "returns test reader"')
        assert await there.value("SELECT version_num FROM returns_worker_schema") == HEAD
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await there.run("DELETE FROM returns_worker_schema")
    finally:
        for statement in ("RESET ROLE", 'DROP OWNED BY "returns test reader"', 'DROP ROLE "returns test reader"'):
            await there.run(statement)
