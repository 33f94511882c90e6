"""deploy/sql/partition-history.sql splits the history by month, and nothing else notices."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from tests.deploy.scripts import script
from tests.store.rows import created, insert, now, polled, take_one
from tests.store.shop import Refused, Shop
from worker.domain.lifecycle import Step
from worker.store.database import Database
from worker.store.records import record
from worker.store.schema import migrate, require_current
from worker.store.upkeep.archive import archive_batch, find_archived
from worker.store.upkeep.history import find_orders, read_history

OLD_LINE = """INSERT INTO status_transition (return_order_id, field, new_value, observed_at)
  SELECT id, 'tracking_status', 'unknown', '{}' FROM return_order"""


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url)
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
async def shop(database: Database, postgres_url: str) -> AsyncIterator[Shop]:
    """A shop with one return, created and recorded before the history is split, and a line of it from years ago."""
    async with Shop.at(postgres_url) as shop:
        await insert(shop, "R-1")
        order = await take_one(database)
        await record(database, [(order, created(order))])
        await shop.run(OLD_LINE.format("2020-03-04 05:06:07+00"))
        await shop.connection.execute(script("partition-history.sql"))
        yield shop


async def test_behind_somebody_s_long_read_the_file_and_a_month_give_up_soon(
    postgres_url: str, database: Database
) -> None:
    sql = script("partition-history.sql")
    assert sql.count("lock_timeout = '2s'") == 3  # the file's, the monthly function's, and those words on the way out
    sql = sql.replace("'2s'", "'100ms'")
    async with Shop.at(postgres_url) as reader, Shop.at(postgres_url) as owner:

        async def give_up(statement: str) -> None:
            await reader.run("BEGIN")
            await reader.run("SELECT * FROM status_transition")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await owner.connection.execute(statement)
            await reader.run("ROLLBACK")
            await owner.connection.execute(f"ROLLBACK; {statement}")

        await give_up(sql)
        await give_up("SELECT status_transition_month(date '2999-01-15')")


async def lines_in(shop: Shop) -> dict[str, int]:
    rows = await shop.fetch(
        "SELECT CAST(CAST(tableoid AS regclass) AS text) AS partition, count(*) AS lines FROM status_transition"
        " GROUP BY 1 ORDER BY 1"
    )
    return {row["partition"]: row["lines"] for row in rows}


async def test_a_worker_records_and_a_person_is_shown_all_of_it_as_before(database: Database, shop: Shop) -> None:
    await require_current(database)
    await shop.run(f"UPDATE return_order SET due_at = {shop.moment(-1)}")
    order = await take_one(database, Step.TRACK)
    assert await record(database, [(order, polled(order))]) == {order.id}
    (found,) = await find_orders(database, reference="R-1")
    history = await read_history(database, found)
    assert [line.id for line in history.transitions] == [1, 2, 3, 4]
    assert history.transitions[-1].carrier_status == "Onderweg"
    with pytest.raises(Refused, match="append-only"):
        await shop.run("UPDATE status_transition SET reason = 'x'")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await shop.run("INSERT INTO status_transition (return_order_id, field) VALUES (9, 'state')")


async def test_a_month_takes_its_lines_also_when_it_comes_late_and_can_be_dropped(
    database: Database, shop: Shop
) -> None:
    await shop.run(OLD_LINE.format("2999-01-31 23:59:59+00"))
    await shop.run(OLD_LINE.format("2999-02-01 00:00:00+00"))
    assert await lines_in(shop) == {"status_transition_before": 3, "status_transition_default": 2}
    await shop.run("SELECT status_transition_month(date '2999-01-15')")
    await shop.run("SELECT status_transition_month(date '2999-03-01')")
    await shop.run(OLD_LINE.format("2999-03-01 00:00:00+00"))
    assert await lines_in(shop) == {
        "status_transition_2999_01": 1,
        "status_transition_2999_03": 1,
        "status_transition_before": 3,
        "status_transition_default": 1,
    }
    with pytest.raises(Refused, match="append-only"):
        await shop.run("UPDATE status_transition SET reason = 'x' WHERE observed_at > '2999-01-01'")
    await shop.run("ALTER TABLE status_transition DETACH PARTITION status_transition_2999_01")
    await shop.run("DROP TABLE status_transition_2999_01")
    (found,) = await find_orders(database, reference="R-1")
    moments = [line.observed_at for line in (await read_history(database, found)).transitions]
    assert datetime(2999, 3, 1, tzinfo=UTC) in moments
    assert len(moments) == 5


async def test_a_return_is_archived_out_of_all_its_months(database: Database, shop: Shop) -> None:
    await shop.run(OLD_LINE.format("2999-01-31 23:59:59+00"))
    await shop.run("UPDATE return_order SET state = 'completed', due_at = NULL")
    assert (await archive_batch(database, now(seconds=1), None, 0, 10)).count == 1
    assert await lines_in(shop) == {}
    (archived,) = await find_archived(database, "R-1", None)
    assert archived.history is not None
    assert len(archived.history.transitions) == 4


async def test_a_history_in_a_schema_of_its_own_is_split_there_whoever_makes_the_next_month(postgres_url: str) -> None:
    database = Database(postgres_url, schema="Returns-1")
    await migrate(database)
    async with Shop.at(postgres_url) as shop:
        await shop.connection.execute(script("partition-history.sql", "Returns-1"))
        await shop.run("""SELECT "Returns-1".status_transition_month(date '2999-01-15')""")
        assert await shop.value("""SELECT to_regclass('"Returns-1".status_transition_2999_01') IS NOT NULL""")
        assert await shop.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    await require_current(database)
    await database.close()
