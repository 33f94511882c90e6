"""What the commands say where other programs have tables in the same place."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.process.shop import Shop
from worker.store import schema


def run(url: str, statement: str) -> list[dict[str, object]]:
    return list(asyncio.run(Shop(url).execute(statement)))


def test_migrate_says_when_the_table_of_older_workers_may_be_dropped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(folder, ACCOUNTS)
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0012")
        asyncio.run(_as_before(folder))
    for _ in range(2):
        result = called("migrate")
        assert result.exit_code == 0, result.output
        assert "when none of them runs any more, it may be dropped (DROP TABLE alembic_version)" in result.output
    with closing(sqlite3.connect(folder / "returns.db")) as connection:
        connection.execute("DROP TABLE alembic_version")
    result = called("migrate")
    assert (result.exit_code, "alembic_version" in result.output) == (0, False), result.output


async def _as_before(folder: Path) -> None:
    database = schema.Database(f"sqlite:///{folder}/returns.db")
    await schema.migrate(database)
    await database.transaction(
        lambda connection: connection.exec_driver_sql("ALTER TABLE returns_worker_schema RENAME TO alembic_version")
    )
    await database.close()


def test_a_shops_table_of_our_name_is_one_line_and_78(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    with closing(sqlite3.connect(folder / "returns.db")) as connection:
        connection.execute("CREATE TABLE package (id integer PRIMARY KEY)")
    result = called("migrate")
    assert (result.exit_code, result.output.count("\n")) == (78, 1)
    assert result.output.startswith("error: a name that returns-worker needs is taken (table package already exists)")


def test_check_warns_of_a_schema_that_every_role_may_create_in(folder: Path, postgres_url: str) -> None:
    configured(folder, ACCOUNTS + f'[database]\nurl = "{postgres_url}"\nschema = "Returns-1"\n')
    assert called("migrate").exit_code == 0
    assert "may create" not in called("check").output
    run(postgres_url, 'GRANT CREATE ON SCHEMA "Returns-1" TO PUBLIC')
    result = called("check")
    assert 'warning  database: every role may create in its schema "Returns-1"' in result.output
    assert 'REVOKE CREATE ON SCHEMA "Returns-1" FROM PUBLIC, which deploy/sql/roles.sql does' in result.output
    assert result.exit_code == 0


def test_returns_move_to_a_schema_of_their_own_and_to_no_second_one(folder: Path, postgres_url: str) -> None:
    configured(folder, ACCOUNTS)
    run(postgres_url, "CREATE TABLE label (id int)")
    assert called("migrate").exit_code == 0
    (folder / "one.json").write_text('{"reference": "R-1", "payload": {}}')
    assert called("add", "one.json").exit_code == 0
    refused = called("copy-to", postgres_url)
    assert (refused.exit_code, "copy-to: --schema" in refused.output) == (78, True), refused.output
    assert called("copy-to", postgres_url, "--schema", "pg_x").exit_code == 2
    moved = called("copy-to", postgres_url, "--schema", "Returns-1")
    assert (moved.exit_code, 'database.schema to "Returns-1"' in moved.output) == (0, True), moved.output
    assert run(postgres_url, 'SELECT reference FROM "Returns-1".return_order') == [{"reference": "R-1"}]
    other = called("copy-to", postgres_url, "--schema", "other")
    assert (other.exit_code, "(schema Returns-1)" in other.output) == (78, True), other.output
    again = called("copy-to", postgres_url, "--schema", "Returns-1")
    assert (again.exit_code, "have moved to" in again.output) == (0, True), again.output
