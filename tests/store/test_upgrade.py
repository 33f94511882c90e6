"""A database that an earlier version made and filled is brought up to date, and keeps everything.

Each new migration adds its line to MIGRATIONS: what it does to rows that are there.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pytest

from tests.store.conftest import Open
from tests.store.rows import insert, take
from tests.store.seventh import REVISION, VERSION_TABLES, made_at_the_seventh
from tests.store.shop import Shop
from worker.domain.lifecycle import Step
from worker.store import schema
from worker.store.schema import SchemaMismatch, migrate, require_current

Row = Mapping[str, Any]
Tables = dict[str, list[dict[str, Any]]]

MEANWHILE: Final = "a moment while the migrations ran"


class Migration(NamedTuple):
    """What one migration does to data."""

    columns: Mapping[str, Mapping[str, Callable[[Row, Tables], Any]]] = {}
    """The columns that it adds to a table, or fills anew, and what they hold for a row of what was there before."""
    tables: Mapping[str, list[dict[str, Any]]] = {}
    """The tables that it adds, with their rows."""


def nothing(_row: Row, _before: Tables) -> None:
    """Nothing is known yet."""
    return


def meanwhile(_row: Row, _before: Tables) -> Any:
    """It is the migration that did it."""
    return MEANWHILE


def label_sought_since(row: Row, before: Tables) -> Any:
    """Where a label is sought: since the return is at the carrier; beside another label from now on."""
    if row["state"] != "tracking" or row["due_at"] is None or row["label_due_at"] is None:
        return None
    if any(label["return_order_id"] == row["id"] for label in before["label"]):
        return MEANWHILE
    return row["followed_since"] or row["created_at"]


MIGRATIONS: Mapping[str, Migration] = {
    "0008": Migration(
        columns={
            "carrier_account": dict.fromkeys(
                (
                    *("create_window", "create_window_since", "created_lately_at"),
                    *("sending_stopped_message", "sending_stopped_address"),
                ),
                nothing,
            )
        }
    ),
    "0009": Migration(columns={"return_order": {"label_sought_since": label_sought_since}}),
    "0010": Migration(),  # bounds what comes in from now on
    "0011": Migration(columns={"database_place": dict.fromkeys(("clock_seen_at", "clock_doubted_since"), nothing)}),
    "0012": Migration(),  # an index
    "0013": Migration(columns={"database_place": {"version_taken_over_at": meanwhile}}),
    "0014": Migration(),  # guards what a return is known by
    "0015": Migration(
        columns={
            "return_order": dict.fromkeys(("erased_at", "files_removed_at"), nothing),
            "label": {"removed_at": nothing},
            "archived_return": dict.fromkeys(("erased_at", "files_removed_at", "erased_by"), nothing),
        }
    ),
    "0016": Migration(tables={"worker_presence": [], "worker_serves": []}),
    "0017": Migration(columns={"return_order": {"adopt_carrier_ref": nothing}}),
    "0018": Migration(
        columns={
            "return_order": {"event_count": nothing},
            "status_transition": {"event_position": nothing},
            "label": {"event_position": nothing},
        },
        tables=dict[str, list[dict[str, Any]]](
            news_subscriber=[], return_event=[], webhook_event=[], webhook_missed=[]
        ),
    ),
}
HEAD = max(MIGRATIONS)


def test_every_later_migration_says_here_what_it_does_to_data() -> None:
    assert list(MIGRATIONS) == sorted(revision for revision in schema._revisions() if revision > REVISION)


async def test_an_upgrade_from_the_seventh_schema_keeps_every_value_and_fills_each_new_column(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made_at_the_seventh(empty_url, opened, monkeypatch)
    async with Shop.at(empty_url) as shop:
        began = datetime.now(UTC)
        if not shop.sqlite:
            await shop.run("GRANT SELECT ON return_order, package TO PUBLIC")
            await shop.run("GRANT INSERT (reference, payload), UPDATE (payload) ON return_order TO PUBLIC")
            await shop.run("REVOKE ALL ON FUNCTION returns_worker_place(), return_order_payload_change() FROM PUBLIC")
        before, granted = await _everything(shop), await _granted(shop)

        assert await migrate(opened(empty_url)) == (REVISION, HEAD)

        after = await _everything(shop)
        expected = _expected(before)
        assert after.keys() == expected.keys()
        for table, rows in expected.items():
            assert len(after[table]) == len(rows), table
            for found, row in zip(after[table], rows, strict=True):
                moments = {name: found[name] for name, value in row.items() if value is MEANWHILE}
                assert all(_seconds(moment, began) < 60 for moment in moments.values()), (table, found)
                assert found == row | moments, (table, found)
        assert granted.items() <= (await _granted(shop)).items()


async def test_an_upgraded_database_has_the_columns_checks_indexes_and_triggers_of_a_fresh_one(
    empty_url: str, url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made_at_the_seventh(empty_url, opened, monkeypatch)
    await migrate(opened(empty_url))
    async with Shop.at(empty_url) as upgraded, Shop.at(url) as fresh:
        assert await _shape(upgraded) == await _shape(fresh)


async def test_work_goes_on_in_an_upgraded_database_and_no_number_is_used_again(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made_at_the_seventh(empty_url, opened, monkeypatch)
    database = opened(empty_url)
    await migrate(database)
    await require_current(database)
    async with Shop.at(empty_url) as shop:
        highest = await shop.value("SELECT max(id) FROM return_order")
        assert await insert(shop, "AFTERWARDS") == highest + 2, "the number of a deleted return is used again"
        reads = dict.fromkeys(Step, 0)
        for step in Step:
            for claimed in await take(database, step, quota=100):
                reads[step] += 1
                assert (claimed.order.payload_unreadable is None) == (claimed.order.reference != "LARGE")
        assert min(reads[Step.CREATE], reads[Step.LABEL], reads[Step.TRACK]) > 0


async def test_a_worker_of_the_seventh_schema_refuses_the_upgraded_database_and_says_why(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made_at_the_seventh(empty_url, opened, monkeypatch)
    database = opened(empty_url)
    await migrate(database)
    async with Shop.at(empty_url) as shop:
        # What that worker asks for; of a missing table it would think that there is no schema, and begin anew.
        assert await shop.value("SELECT version_num FROM alembic_version") == HEAD
    monkeypatch.setattr(schema, "_revisions", lambda: (REVISION, "0006", "0005", "0004", "0003", "0002", "0001"))
    for refuse in (require_current, migrate):
        with pytest.raises(SchemaMismatch, match="made by a newer version of returns-worker; upgrade this worker"):
            await refuse(database)


def _expected(before: Tables) -> Tables:
    """What the migrations make of the rows, one after the other."""
    tables = before
    for migration in MIGRATIONS.values():
        tables = {
            table: [
                row | {name: fill(row, before) for name, fill in migration.columns.get(table, {}).items()}
                for row in rows
            ]
            for table, rows in tables.items()
        } | dict(migration.tables)
    return tables


async def _everything(shop: Shop) -> Tables:
    """Every row of every table but the version's."""
    names = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        if shop.sqlite
        else "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema()"
    )
    tables = sorted(row["name"] for row in await shop.fetch(names))
    return {
        table: await shop.fetch(f"SELECT * FROM {table} ORDER BY 1") for table in tables if table not in VERSION_TABLES
    }


async def _granted(shop: Shop) -> dict[str, str]:
    """Whose rights each table, column and function has, as PostgreSQL keeps them; SQLite has none."""
    if shop.sqlite:
        return {}
    found = await shop.fetch(_GRANTED)
    return {row["name"]: row["rights"] for row in found if row["name"] not in VERSION_TABLES}


async def _shape(shop: Shop) -> list[tuple[Any, ...]]:
    """Everything in the schema but the version's table and rights, with its definition."""
    found = await shop.fetch(_SQLITE_SHAPE if shop.sqlite else _POSTGRESQL_SHAPE)
    return sorted(tuple(row.values()) for row in found if row["of_table"] not in VERSION_TABLES)


def _seconds(moment: datetime | str, since: datetime) -> float:
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC) if isinstance(moment, str) else moment
    return abs((at - since).total_seconds())


_GRANTED = """
SELECT relname AS name, CAST(relacl AS text) AS rights FROM pg_class
 WHERE relnamespace = CAST(current_schema() AS regnamespace) AND relacl IS NOT NULL
UNION ALL
SELECT c.relname || '.' || attname, CAST(attacl AS text) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND attacl IS NOT NULL
UNION ALL
SELECT CAST(oid AS regprocedure)::text, CAST(proacl AS text) FROM pg_proc
 WHERE pronamespace = CAST(current_schema() AS regnamespace) AND proacl IS NOT NULL"""

_SQLITE_SHAPE = "SELECT tbl_name AS of_table, type, name, coalesce(sql, '') AS definition FROM sqlite_master"

_POSTGRESQL_SHAPE = """
SELECT table_name AS of_table, 'column' AS kind, column_name AS name,
       concat_ws(' ', ordinal_position, data_type, is_nullable, column_default, is_identity) AS definition
  FROM information_schema.columns WHERE table_schema = current_schema()
UNION ALL
SELECT tablename, 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()
UNION ALL
SELECT c.relname, 'constraint', o.conname, pg_get_constraintdef(o.oid)
  FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
 WHERE c.relnamespace = CAST(current_schema() AS regnamespace)
UNION ALL
SELECT c.relname, 'trigger', t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND NOT t.tgisinternal
UNION ALL
SELECT '', 'function', proname, pg_get_functiondef(oid) FROM pg_proc
 WHERE pronamespace = CAST(current_schema() AS regnamespace) AND prokind = 'f'
UNION ALL
SELECT relname, 'table', relname, concat_ws(' ', relkind, CAST(reloptions AS text), relrowsecurity)
  FROM pg_class WHERE relnamespace = CAST(current_schema() AS regnamespace) AND relkind IN ('r', 'p', 'S', 'v')"""
