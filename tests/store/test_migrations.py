"""The schema in the database and the schema in the code are one, and bringing one to the other is safe."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlmodel import SQLModel

from tests.databases import on_postgresql, on_sqlite
from tests.store.conftest import Open
from tests.store.rows import insert, insert_tracked, take_one
from tests.store.shop import Shop
from worker.store import schema
from worker.store.database import Database
from worker.store.schema import SchemaMismatch, SchemaState, migrate, require_current, schema_state
from worker.store.version import VERSION_TABLE

HEAD = "0018"
MIGRATE = """
import asyncio, sys
from worker.store.database import Database
from worker.store.schema import migrate

async def main():
    database = Database(sys.argv[1])
    sys.stdin.readline()
    await migrate(database)
    await database.close()

asyncio.run(main())
"""


async def test_the_migrated_schema_is_the_one_in_the_code(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "version_table": VERSION_TABLE})
        return list(compare_metadata(context, SQLModel.metadata))

    assert await database.reading(differences) == []


def test_the_revisions_by_the_names_of_their_files_are_those_that_alembic_runs() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert list(schema._revisions()) == known


async def test_tables_columns_and_their_nullability_are_those_of_the_code(database: Database) -> None:
    def found(connection: Connection) -> dict[str, dict[str, bool]]:
        inspector = inspect(connection)
        return {
            table: {column["name"]: column["nullable"] for column in inspector.get_columns(table)}
            for table in inspector.get_table_names()
            if table != "returns_worker_schema"
        }

    assert await database.reading(found) == {
        name: {column.name: column.nullable for column in table.columns}
        for name, table in SQLModel.metadata.tables.items()
    }


async def test_every_column_the_shop_does_not_write_has_a_default_or_may_be_null(database: Database) -> None:
    def needed(connection: Connection) -> set[str]:
        columns = inspect(connection).get_columns("return_order")
        return {column["name"] for column in columns if not column["nullable"] and column["default"] is None} - {"id"}

    assert await database.reading(needed) == {"reference", "payload"}


async def test_an_empty_database_is_migrated_once(empty_url: str, opened: Open) -> None:
    database = opened(empty_url)
    assert await schema_state(database) is SchemaState.MISSING
    with pytest.raises(SchemaMismatch, match=r"^the database's schema is missing; run: returns-worker migrate$"):
        await require_current(database)
    assert await migrate(database) == (None, HEAD)
    assert await schema_state(database) is SchemaState.CURRENT
    await require_current(database)
    assert await migrate(database) == (HEAD, HEAD)


async def test_migrating_again_keeps_the_data(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    await migrate(database)
    assert (await take_one(database)).id == order_id


async def test_two_tasks_that_migrate_at_once_both_succeed(empty_url: str, opened: Open) -> None:
    databases = [opened(empty_url) for _ in range(4)]
    done = await asyncio.gather(*(migrate(database) for database in databases))
    assert sorted(done, key=str) == [(HEAD, HEAD)] * 3 + [(None, HEAD)]
    await asyncio.gather(*(require_current(database) for database in databases))


async def test_processes_that_migrate_at_once_all_succeed(empty_url: str, opened: Open) -> None:
    command = (sys.executable, "-c", MIGRATE, empty_url)
    processes = [await asyncio.create_subprocess_exec(*command, stdin=PIPE, stderr=PIPE) for _ in range(3)]
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * 3, answers
    await require_current(opened(empty_url))


@pytest.mark.usefixtures("own_database")
async def test_a_newer_database_is_refused(database: Database, shop: Shop) -> None:
    await shop.run("UPDATE returns_worker_schema SET version_num = '9999'")
    assert await schema_state(database) is SchemaState.NEWER
    for refuse in (require_current, migrate):
        with pytest.raises(SchemaMismatch, match="made by a newer version of returns-worker; upgrade this worker"):
            await refuse(database)
    assert await shop.value("SELECT version_num FROM returns_worker_schema") == "9999"


async def test_an_older_database_says_to_migrate(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_revisions", lambda: ("9999", HEAD))
    assert await schema_state(database) is SchemaState.OLDER
    with pytest.raises(SchemaMismatch, match=r"^the database's schema is older; run: returns-worker migrate$"):
        await require_current(database)


async def test_a_migration_that_fails_leaves_nothing_behind(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    database = opened(empty_url)
    with monkeypatch.context() as broken:
        broken.setattr(Operations, "execute", property(lambda self: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            await migrate(database)
    assert await database.reading(lambda connection: inspect(connection).get_table_names()) == []
    assert await migrate(database) == (None, HEAD)


@on_postgresql
async def test_the_schema_of_the_search_path_is_used(empty_url: str, opened: Open) -> None:
    async with Shop.at(empty_url) as shop:
        await shop.run("CREATE SCHEMA returns")
        database = opened(f"{empty_url}?options=-csearch_path%3Dreturns")
        await migrate(database)
        await require_current(database)
        assert await shop.value("SELECT count(*) FROM returns.return_order") == 0


async def test_the_second_schema_keeps_what_the_first_one_held(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A creation in doubt keeps its first attempt, and a followed return its age."""
    database = opened(empty_url)
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0001")
        assert await migrate(database) == (None, "0001")
    async with Shop.at(empty_url) as shop:
        await insert(shop, "IN-DOUBT")
        await insert_tracked(shop, "FOLLOWED")
        await insert(shop, "NEW")
        for reference, columns in (("IN-DOUBT", "create_started_at"), ("FOLLOWED", "carrier_created_at")):
            await shop.run(f"UPDATE return_order SET {columns} = {shop.moment(-60)} WHERE reference = '{reference}'")
        assert await migrate(database) == ("0001", HEAD)
        await require_current(database)
        in_doubt = "SELECT first_attempt_at = create_started_at FROM return_order WHERE reference = 'IN-DOUBT'"
        assert await shop.value(in_doubt)
        assert await shop.value("SELECT followed_since IS NOT NULL FROM return_order WHERE reference = 'FOLLOWED'")
        assert await shop.value("SELECT first_attempt_at IS NULL FROM return_order WHERE reference = 'NEW'")
        assert await shop.value("SELECT sum(lookups) FROM return_order") == 0


async def test_the_ninth_schema_says_since_when_a_label_has_been_missing_and_makes_none_older_than_it_may_be(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since the return came to the carrier; from now on where it has another label, since this one may be new."""
    database = opened(empty_url)
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0008")
        assert await migrate(database) == (None, "0008")
    async with Shop.at(empty_url) as shop:
        for reference in ("MISSING", "SECOND", "STORED"):
            await insert_tracked(shop, reference, attempts=3)
        await insert_tracked(shop, "OVER", state="completed", due=None)
        await shop.run(f"UPDATE return_order SET followed_since = {shop.moment(-7200)}")
        await shop.run(f"UPDATE return_order SET label_due_at = {shop.moment(60)} WHERE reference <> 'STORED'")
        await shop.run(
            "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
            " SELECT id, 1, 'file:///x', 'application/pdf', 1, 'ab' FROM return_order WHERE reference <> 'MISSING'"
        )
        assert await migrate(database) == ("0008", HEAD)

        async def is_true(reference: str, condition: str) -> bool:
            query = f"SELECT count(*) FROM return_order WHERE reference = '{reference}' AND attempts < 9"
            return bool(await shop.value(f"{query} AND {condition}"))

        assert await is_true("MISSING", "label_sought_since = followed_since")
        assert await is_true("SECOND", f"label_sought_since > {shop.moment(-60)}")
        assert await is_true("STORED", "label_sought_since IS NULL AND attempts = 3")
        assert await is_true("OVER", "label_sought_since IS NULL")


@on_sqlite
async def test_a_file_whose_returns_have_moved_away_is_brought_up_to_date_and_its_returns_stay_as_they_were(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = opened(empty_url)
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0008")
        await migrate(database)
    async with Shop.at(empty_url) as shop:
        await insert_tracked(shop, "MISSING")
        await shop.run(f"UPDATE return_order SET label_due_at = {shop.moment(60)}")
        await shop.run("UPDATE database_place SET moved_to = 'postgresql://elsewhere'")
        assert await migrate(database) == ("0008", HEAD)
        assert await shop.value("SELECT label_sought_since IS NULL FROM return_order")


async def test_a_row_that_is_larger_than_the_bound_of_the_tenth_schema_stays_and_can_be_changed(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = opened(empty_url)
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0008")
        assert await migrate(database) == (None, "0008")
    payload = '{"a": "' + "x" * 2_000_000 + '"}'
    async with Shop.at(empty_url) as shop:
        order_id = await insert(shop, "LARGE", payload=payload)
        assert await migrate(database) == ("0008", HEAD)
        await require_current(database)
        assert (await take_one(database)).payload_unreadable is not None
        await shop.run("UPDATE return_order SET attempts = 1, payload = payload")
        assert len((await shop.order(order_id))["payload"]) == len(payload)
