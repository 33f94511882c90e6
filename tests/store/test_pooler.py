"""Behind a transaction-mode pooler every transaction may land on another server connection, and nothing is lost."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.util import await_only

from tests.pgbouncer import SERVER_CONNECTIONS, PgBouncer
from tests.store.conftest import Open
from tests.store.rows import CALL, created, insert, now, take
from tests.store.shop import Shop
from worker.domain.decision import Hold
from worker.domain.error_codes import ErrorCode
from worker.domain.pacing import Pace
from worker.domain.returns import ReturnOrder
from worker.store.accounts import read_agendas, register_accounts, take_tokens
from worker.store.claims import claim_seen, hand_back, start_creation
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.holds import hold_account, release_account
from worker.store.queries import read_backlog
from worker.store.records import Standing, record, standings
from worker.store.schema import migrate, require_current
from worker.store.upkeep.history import find_orders, read_history
from worker.store.upkeep.intake import NewReturn, insert_returns

migrated = pytest.mark.usefixtures("own_database")

NAMES = """
import asyncio, sys
from sqlalchemy import text
from worker.store.database import Database
from worker.store.holds import hold_account, release_account

async def main():
    database = Database(sys.argv[1])
    names = text("SELECT name FROM pg_prepared_statements")
    print(*await database.reading(lambda connection: connection.execute(names).scalars().all()))
    await database.close()

asyncio.run(main())
"""


@pytest.fixture
def kind() -> str:
    return "postgresql"


@pytest.fixture
def pooled(pgbouncer: PgBouncer, opened: Open) -> Database:
    """The database through PgBouncer, by more connections than PgBouncer has to the server."""
    return opened(pgbouncer.url, pool_size=5, pooler=True)


@asynccontextmanager
async def client(pgbouncer: PgBouncer) -> AsyncIterator[asyncpg.Connection]:
    """Another program behind the same PgBouncer; in a transaction it holds a server connection."""
    connection = await asyncpg.connect(pgbouncer.url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


async def asked(database: Database, query: str, times: int = 20) -> list[Any]:
    """What each of several simultaneous connections answers."""

    def ask(connection: Connection) -> Any:
        return tuple(connection.execute(text(query)).one())

    return await asyncio.gather(*(database.reading(ask) for _ in range(times)))


@migrated
async def test_everything_works_behind_a_transaction_mode_pooler(pooled: Database, shop: Shop) -> None:
    count, claims = 300, Counter[int]()
    for number in range(count):
        await insert(shop, f"R-{number}")
    await register_accounts(pooled, ["default"])
    pace = Pace(60_000)

    async def create(order: ReturnOrder) -> None:
        await take_tokens(pooled, "default", pace, 1)
        assert await start_creation(pooled, order, CALL) is not None
        assert await record(pooled, [(order, created(order, f"NR-{order.id}"))]) == {order.id}
        assert await standings(pooled, [order]) == {order.id: Standing.WRITTEN}

    async def work() -> None:
        while got := [row.order for row in await take(pooled, quota=7)]:
            claims.update(order.id for order in got)
            later = [order for order in got if order.id % 5 == 0 and order.lease_token == 1]
            await hand_back(pooled, later)
            await asyncio.gather(*(create(order) for order in got if order not in later))
            await read_agendas(pooled, ["default"], 10)
            await read_backlog(pooled)

    await asyncio.gather(*(work() for _ in range(10)))

    assert len(claims) == count
    assert {order_id for order_id, times in claims.items() if times != (2 if order_id % 5 == 0 else 1)} == set()
    assert (
        await shop.value("SELECT count(*) FROM return_order WHERE state = 'tracking' AND lease_owner IS NULL") == count
    )
    assert await shop.value("SELECT count(*) FROM status_transition") == 2 * count
    refs = [f"NR-{order_id}" for order_id in claims]
    assert len(await claim_seen(pooled, "default", refs, now(minutes=1), "worker-1", CALL)) == count
    (newest,) = await find_orders(pooled, reference=f"R-{count - 1}")
    assert len((await read_history(pooled, newest)).transitions) == 2
    await hold_account(pooled, "default", Hold(None, ErrorCode.CARRIER_KEY_REFUSED, "401"), "key-1")
    await release_account(pooled, "default", "key-1")
    assert await insert_returns(pooled, [NewReturn("default", f"N-{number}", {}) for number in range(20)]) == 20
    backends = await asked(pooled, "SELECT pg_backend_pid()")
    assert len(set(backends)) == SERVER_CONNECTIONS
    assert set(await asked(pooled, "SELECT count(*) FROM pg_prepared_statements")) == {(0,)}


async def test_an_empty_database_is_migrated_once_behind_a_pooler(
    pgbouncer: PgBouncer, opened: Open, empty_url: str
) -> None:
    databases = [opened(pgbouncer.url, pooler=True) for _ in range(4)]
    done = await asyncio.gather(*(migrate(database) for database in databases))
    assert sorted(before is None for before, _ in done) == [False, False, False, True]
    await asyncio.gather(*(require_current(database) for database in databases))
    await require_current(opened(empty_url))


@migrated
async def test_a_pooler_that_restarts_is_an_outage_and_the_next_statement_works(
    pooled: Database, pgbouncer: PgBouncer, shop: Shop
) -> None:
    await insert(shop, "R-1")
    await asked(pooled, "SELECT 1")
    await asyncio.to_thread(pgbouncer.restart)
    with pytest.raises(DatabaseUnavailable):
        await take(pooled)
    assert len(await take(pooled)) == 1


@migrated
async def test_a_server_connection_that_breaks_is_an_outage_and_leaves_nothing_behind(
    pooled: Database, shop: Shop
) -> None:
    await insert(shop, "R-1")

    def is_cut_off(connection: Connection) -> None:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        connection.execute(text("DELETE FROM return_order"))
        await_only(shop.run("SELECT pg_terminate_backend($1, 10000)", backend))
        connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        await pooled.transaction(is_cut_off)
    assert len(await take(pooled)) == 1


@migrated
async def test_a_connection_keeps_its_name_and_utc_wherever_its_transactions_land(
    pooled: Database, pgbouncer: PgBouncer, opened: Open, shop: Shop
) -> None:
    await shop.run(f"ALTER DATABASE {await shop.value('SELECT current_database()')} SET timezone TO 'Asia/Tokyo'")
    other = opened(f"{pgbouncer.url}?application_name=other", pool_size=5, pooler=True)
    query = "SELECT current_setting('timezone'), current_setting('application_name')"
    ours, theirs = await asyncio.gather(asked(pooled, query), asked(other, query))
    assert (set(ours), set(theirs)) == ({("UTC", "returns-worker")}, {("UTC", "other")})


async def test_what_is_asked_together_is_one_transaction_and_so_reaches_one_server_connection(pooled: Database) -> None:
    def ask_twice(connection: Connection) -> list[Any]:
        return [connection.execute(text("SELECT now(), pg_backend_pid()")).one() for _ in range(2)]

    for use in (pooled.statement, pooled.reading, pooled.transaction):
        one, other = await use(ask_twice)
        assert one == other


@migrated
@pytest.mark.parametrize("pooler", [False, True])
async def test_only_without_the_key_a_statement_is_sought_where_it_is_not_and_the_error_names_the_key(
    pgbouncer: PgBouncer, opened: Open, pooler: bool
) -> None:
    database = opened(pgbouncer.url, pool_size=1, pooler=pooler)
    async with client(pgbouncer) as one, client(pgbouncer) as other:
        await one.execute("BEGIN")
        await read_backlog(database)
        await other.execute("BEGIN")  # on the connection that the statement was prepared on
        await one.execute("ROLLBACK")
        if pooler:
            assert await read_backlog(database) == []
        else:
            with pytest.raises(DatabaseUnavailable, match=r"does not exist.*set database\.pooler = true$"):
                await read_backlog(database)


@pytest.mark.parametrize("state", ["26000", "42P05"])
async def test_a_statement_that_is_not_there_or_another_ones_is_an_outage(database: Database, state: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"prepared statement: .*set database\.pooler = true$"):
        raising = text(f"DO $$ BEGIN RAISE 'prepared statement' USING ERRCODE = '{state}'; END $$")
        await database.statement(lambda connection: connection.execute(raising))


async def test_two_processes_never_give_a_statement_the_same_name(postgres_url: str) -> None:
    """Behind a pooler without the key, one would run the other's statement, with its own values."""

    def names() -> set[str]:
        command = [sys.executable, "-c", NAMES, postgres_url]
        return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())

    one, other = await asyncio.gather(asyncio.to_thread(names), asyncio.to_thread(names))
    assert one
    assert other
    assert one.isdisjoint(other)
