"""A database that is away is waited for; a mistake of ours is not mistaken for that."""

import asyncio
import contextlib
import gc
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, exc, text
from sqlalchemy.util import await_only

from tests.databases import on_postgresql, on_sqlite
from tests.postgres import PostgresServer
from tests.store.conftest import Open
from tests.store.rows import CALL, created, insert, insert_tracked, polled, take, take_one
from tests.store.shop import Shop
from worker.domain.lifecycle import Step
from worker.store.claims import start_creation
from worker.store.database import Database
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.queries import read_backlog
from worker.store.records import Standing, record, standings
from worker.store.schema import SchemaState, schema_state
from worker.store.upkeep.history import find_orders


@contextlib.contextmanager
def long_write(file: Path | None) -> Iterator[sqlite3.Connection]:
    """Another process' write that does not end by itself."""
    assert file is not None
    connection = sqlite3.connect(file, isolation_level=None, timeout=0, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.close()


@on_sqlite
async def test_another_process_write_is_waited_for(opened: Open, shop: Shop) -> None:
    database = opened(busy_timeout=20)
    await insert(shop, "R-1")
    with long_write(database.path) as writer:
        claiming = asyncio.ensure_future(take(database))
        done, _ = await asyncio.wait([claiming], timeout=0.1)
        assert not done
        writer.execute("COMMIT")
        assert len(await claiming) == 1


async def test_a_new_file_that_another_process_turns_to_wal_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself says SQLITE_BUSY at once here, whatever its busy time-out is."""
    file = tmp_path / "new.db"
    database = Database(f"sqlite:///{file}", busy_timeout=20)
    with long_write(file) as other:
        opening = asyncio.ensure_future(schema_state(database))
        done, _ = await asyncio.wait([opening], timeout=0.1)
        assert not done
        other.execute("COMMIT")
        assert await opening is SchemaState.MISSING
    await database.close()


@on_sqlite
async def test_a_write_that_never_ends_is_an_outage_after_the_busy_timeout(opened: Open, shop: Shop) -> None:
    database = opened(busy_timeout=0.3)
    await insert(shop, "R-1")
    with long_write(database.path):
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="database is locked"):
            await take(database)
        assert time.monotonic() - began >= 0.25
    assert len(await take(database)) == 1


@on_sqlite
async def test_reads_do_not_wait_for_a_write(opened: Open, shop: Shop) -> None:
    database = opened(busy_timeout=0)
    await insert(shop, "R-1")
    with long_write(database.path):
        assert len(await find_orders(database)) == 1
        assert len(await read_backlog(database)) == 1


@on_sqlite
async def test_writes_of_one_process_queue_up_instead_of_failing(opened: Open, shop: Shop) -> None:
    database = opened(busy_timeout=0)
    for number in range(20):
        await insert(shop, f"R-{number}")
    got = await asyncio.gather(*(take(database, quota=1) for _ in range(20)))
    assert len({row.order.id for rows in got for row in rows}) == 20


# Cancelled while it connects, a connection is closed by the garbage collector, of which Python 3.13 and newer warn.
@pytest.mark.filterwarnings("ignore:.*finalizing database connection:pytest.PytestUnraisableExceptionWarning")
async def test_a_write_that_is_cancelled_leaves_no_lock_behind(database: Database, opened: Open, shop: Shop) -> None:
    for number in range(10):
        await insert(shop, f"R-{number}")
    for _ in range(10):
        claiming = asyncio.ensure_future(take(database, quota=1))
        for _ in range(3):
            await asyncio.sleep(0)
        claiming.cancel()
        await asyncio.wait([claiming])
    other = opened(busy_timeout=5)
    await shop.run(f"UPDATE return_order SET lease_until = {shop.moment(-1)} WHERE lease_owner IS NOT NULL")
    assert len(await take(other)) == 10
    assert await take(database) == []
    gc.collect()  # here, and not in a later test


@on_sqlite
async def test_a_write_that_is_cancelled_while_it_waits_leaves_no_lock_behind(opened: Open, shop: Shop) -> None:
    database = opened(busy_timeout=5)
    await insert(shop, "R-1")
    with long_write(database.path) as writer:
        claiming = asyncio.ensure_future(take(database))
        await asyncio.wait([claiming], timeout=0.1)
        claiming.cancel()
        await asyncio.wait([claiming], timeout=0.1)
        writer.execute("COMMIT")
        await asyncio.wait([claiming])
    await shop.run(f"UPDATE return_order SET lease_owner = NULL, lease_until = NULL, due_at = {shop.moment(-1)}")
    assert len(await take(database)) == 1


@on_sqlite
async def test_a_file_that_cannot_be_opened_is_an_outage(opened: Open, tmp_path: Path) -> None:
    database = opened(f"sqlite:///{tmp_path}/missing/returns.db")
    with pytest.raises(DatabaseUnavailable, match="unable to open database file"):
        await read_backlog(database)
    (tmp_path / "missing").mkdir()
    await schema_state(database)


@on_sqlite
async def test_a_file_that_is_no_database_is_refused(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear customer, " * 1000)
    with pytest.raises(DatabaseRefused, match="not a database"):
        await read_backlog(opened(f"sqlite:///{tmp_path}/letter.txt"))


@pytest.mark.parametrize("statement", ["SELECT * FROM no_such_table", "SELEKT 1", "SELECT no_such_column"])
async def test_a_mistake_in_sql_is_not_an_outage(database: Database, statement: str) -> None:
    for use in (database.reading, database.statement, database.transaction):
        with pytest.raises(exc.DBAPIError) as caught:
            await use(lambda connection: connection.execute(text(statement)))
        assert not isinstance(caught.value, DatabaseUnavailable)


async def test_a_missing_table_is_not_an_outage(empty_url: str, opened: Open) -> None:
    with pytest.raises(exc.DBAPIError, match="return_order"):
        await read_backlog(opened(empty_url))


async def test_a_broken_rule_is_not_an_outage(database: Database) -> None:
    nameless = text("INSERT INTO return_order (reference, payload) VALUES ('', '{}')")
    with pytest.raises(exc.IntegrityError):
        await database.statement(lambda connection: connection.execute(nameless))


async def test_text_that_cannot_be_encoded_is_not_an_outage(database: Database) -> None:
    """A terminal in another encoding hands such an argument to `show`."""
    with pytest.raises((exc.DBAPIError, UnicodeError)) as caught:
        await find_orders(database, reference="R-\udcff")
    assert not isinstance(caught.value, DatabaseUnavailable)


async def test_an_error_never_quotes_a_customer(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1", payload='{"customer": {"name": "Anna Jansen"}}')
    order = await take_one(database)
    with pytest.raises(exc.IntegrityError) as caught:
        await record(database, [(order, created(order, carrier_ref=None))])  # type: ignore[arg-type]
    assert "Anna" not in str(caught.value)


async def test_leaving_with_an_error_undoes_the_transaction(database: Database, shop: Shop) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.transaction(fail)
    assert await shop.value("SELECT count(*) FROM return_order") == 0
    await insert(shop, "R-1")


@on_postgresql
async def test_a_server_that_crashes_is_an_outage_and_then_it_goes_on(
    opened: Open, url: str, postgres_server: PostgresServer
) -> None:
    database = opened(pool_size=3)
    async with Shop.at(url) as shop:
        for number in range(6):
            await insert_tracked(shop, f"R-{number}")
    held = [
        row.order
        for rows in await asyncio.gather(*(take(database, Step.TRACK, quota=1) for _ in range(3)))
        for row in rows
    ]
    await asyncio.to_thread(postgres_server.restart_immediately)

    failures = 0

    async def insist(work: object) -> object:
        nonlocal failures
        while True:
            try:
                return await work()  # type: ignore[operator]
            except DatabaseUnavailable:
                failures += 1
                assert failures < 50

    assert await insist(lambda: record(database, [(order, polled(order)) for order in held])) == {
        order.id for order in held
    }
    assert failures >= 1
    assert len(await insist(lambda: take(database, Step.TRACK))) == 3  # type: ignore[arg-type]


def one(connection: Connection) -> object:
    return connection.execute(text("SELECT 1")).scalar()


@on_postgresql
async def test_a_connection_that_is_killed_is_an_outage(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'returns-worker'"
    for use in (database.reading, database.statement, database.transaction):
        await database.reading(one)
        await shop.run(kill)
        with pytest.raises(DatabaseUnavailable):
            for _ in range(5):
                await use(one)
        assert await use(one) == 1

    def is_killed(connection: Connection) -> None:
        one(connection)
        await_only(shop.run(kill))
        one(connection)

    with pytest.raises(DatabaseUnavailable):
        await database.transaction(is_killed)
    assert len(await take(database)) == 1


@on_postgresql
async def test_a_result_whose_answer_got_lost_is_recognised(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    order = await take_one(database)
    await record(database, [(order, created(order))])
    await shop.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'returns-worker'")
    with pytest.raises(DatabaseUnavailable):
        await record(database, [(order, created(order))])
    assert await record(database, [(order, created(order))]) == set()
    assert await standings(database, [order]) == {order.id: Standing.WRITTEN}


@on_postgresql
async def test_a_server_that_is_not_there_is_an_outage(opened: Open) -> None:
    with pytest.raises(DatabaseUnavailable):
        await read_backlog(opened("postgresql://nobody@127.0.0.1:1/nowhere"))


@on_postgresql
async def test_a_database_that_is_not_there_is_an_outage(opened: Open, url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="does not exist"):
        await read_backlog(opened(f"{url}_missing"))


@on_postgresql
async def test_a_full_pool_is_waited_for(opened: Open, shop: Shop) -> None:
    database = opened(pool_size=1)
    for number in range(10):
        await insert(shop, f"R-{number}")
    got = await asyncio.gather(*(take(database, quota=1) for _ in range(10)))
    assert len({row.order.id for rows in got for row in rows}) == 10


def raising(what: str, state: str) -> Callable[[Connection], object]:
    block = text(f"DO $$ BEGIN RAISE '{what}' USING ERRCODE = '{state}'; END $$")
    return lambda connection: connection.execute(block)


@on_postgresql
async def test_what_passes_by_itself_is_an_outage(database: Database) -> None:
    for state in ["08006", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03", "58030", "25006"]:
        with pytest.raises(DatabaseUnavailable, match="for a while"):
            await database.statement(raising("for a while", state))


@on_postgresql
async def test_what_does_not_pass_by_itself_is_no_outage(database: Database) -> None:
    for state in ["22001", "23514", "42P01", "P0001", "XX000"]:
        with pytest.raises(exc.DBAPIError, match="for ever"):
            await database.statement(raising("for ever", state))


@on_postgresql
async def test_what_only_a_person_can_grant_is_a_refusal(database: Database) -> None:
    for state in ["42501", "28000", "28P01", "3D000"]:
        with pytest.raises(DatabaseRefused, match="not for you"):
            await database.statement(raising("not for you", state))


@on_postgresql
async def test_a_value_that_the_driver_refuses_is_no_outage(database: Database) -> None:
    with pytest.raises((exc.DBAPIError, ValueError)):
        await find_orders(database, limit=2**70)


@on_postgresql
@pytest.mark.usefixtures("own_database")
async def test_a_worker_goes_on_while_a_newer_one_migrates(database: Database, shop: Shop) -> None:
    """A prepared statement whose columns changed their type fails once; that is no reason to stop."""
    await insert(shop, "R-1")
    order = await take_one(database)
    for _ in range(2):
        assert len(await find_orders(database)) == 1
    await shop.run("ALTER TABLE return_order ALTER COLUMN attempts TYPE bigint")
    with contextlib.suppress(DatabaseUnavailable):
        await find_orders(database)
    assert len(await find_orders(database)) == 1
    with contextlib.suppress(DatabaseUnavailable):
        await take(database)
    assert await take(database) == []
    assert await start_creation(database, order, CALL) is not None


@on_sqlite
async def test_what_was_committed_survives_a_power_cut(database: Database) -> None:
    """FULL syncs the log at every commit; with NORMAL the last creations could be gone, and be sent once more."""
    all_are_open = threading.Barrier(4)

    def pragmas(connection: Connection) -> list[object]:
        all_are_open.wait(10)
        return [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("synchronous", "journal_mode")]

    found = await asyncio.gather(database.transaction(pragmas), *(database.reading(pragmas) for _ in range(3)))
    assert found == [[2, "wal"]] * 4


@on_sqlite
async def test_a_file_that_may_only_be_read_is_a_refusal_and_no_outage(opened: Open) -> None:
    def write_where_none_may(connection: Connection) -> None:
        connection.execute(text("PRAGMA query_only = 1"))
        connection.execute(text("INSERT INTO carrier_account (name) VALUES ('one')"))

    database = opened()
    with pytest.raises(DatabaseRefused, match="readonly"):
        await database.transaction(write_where_none_may)
