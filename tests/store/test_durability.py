"""What keeps a creation from being made twice survives a crash of PostgreSQL, whatever its settings trade away."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import Connection, text

from tests.databases import on_postgresql
from tests.postgres import PostgresServer
from tests.store.conftest import Open
from tests.store.rows import CALL, LEASE, created, insert, insert_tracked, polled, settled, take, take_one
from tests.store.shop import Shop
from worker.domain.lifecycle import State, Step
from worker.store.claims import claim_to_settle, start_creation
from worker.store.database import Database
from worker.store.durability import DURABLE, risks
from worker.store.records import record
from worker.store.restores import declare_restored, settle_place
from worker.store.upkeep import choice
from worker.store.upkeep.move.target import Target, entered

pytestmark = [on_postgresql, pytest.mark.usefixtures("own_database")]


@pytest.fixture
async def careless(opened: Open, url: str, postgres_server: PostgresServer) -> AsyncIterator[Database]:
    """A database whose commits are acknowledged before they are on disk, as a role's or a server's setting may say."""
    async with Shop.at(url) as owner:
        await owner.run(f"ALTER DATABASE {await owner.value('SELECT current_database()')} SET synchronous_commit = off")
        await owner.run("ALTER SYSTEM SET wal_writer_delay = '10s'")  # nothing gets there by itself meanwhile
        await owner.run("SELECT pg_reload_conf()")
    database = opened()
    yield database
    await database.close()
    connection = await asyncpg.connect(postgres_server.url)
    await connection.execute("ALTER SYSTEM RESET wal_writer_delay")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


_ORDERLY = "SET synchronous_commit = on"  # the shop's own writes are not what is looked at


async def test_a_crash_forgets_no_intent_and_no_number(
    careless: Database, shop: Shop, url: str, postgres_server: PostgresServer
) -> None:
    await shop.run(_ORDERLY)
    sent = await insert(shop, "SENT")
    (claimed,) = await take(careless)
    assert await start_creation(careless, claimed.order, CALL) is not None
    postgres_server.restart_immediately()
    async with Shop.at(url) as after:
        assert (await after.order(sent))["create_started_at"] is not None
    await careless.close()
    made = claimed.order._replace(create_started_at=claimed.claimed_at)
    assert await record(careless, [(made, created(made, "9RET1"))]) == {sent}
    postgres_server.restart_immediately()
    async with Shop.at(url) as after:
        assert (await after.order(sent))["carrier_ref"] == "9RET1"


async def _claims(database: Database, shop: Shop) -> None:
    await take(database)


async def _claims_what_is_in_doubt(database: Database, shop: Shop) -> None:
    await shop.run("UPDATE return_order SET create_started_at = now()")
    assert await claim_to_settle(database, "default", 1, "worker-1", LEASE)


async def _starts_a_creation(database: Database, shop: Shop) -> None:
    order = await take_one(database)
    assert await start_creation(database, order, CALL) is not None


async def _records_a_creation(database: Database, shop: Shop) -> None:
    order = await take_one(database)
    assert await record(database, [(order, created(order, "9RET1"))])


async def _holds_a_creation_for_a_person(database: Database, shop: Shop) -> None:
    order = await take_one(database)
    assert await record(database, [(order, settled(order, State.NEEDS_ATTENTION))])


async def _a_person_takes_it(database: Database, shop: Shop) -> None:
    order_id = await shop.value("SELECT id FROM return_order")
    assert await choice.take(database, [order_id], "person", LEASE)


async def _a_person_says_that_it_was_restored(database: Database, shop: Shop) -> None:
    await declare_restored(database)


async def _a_worker_notices_that_it_was_restored(database: Database, shop: Shop) -> None:
    await shop.run("UPDATE database_place SET place = 'elsewhere'")
    assert await settle_place(database)


async def _returns_move_here(database: Database, shop: Shop) -> None:
    async def settled(target: Target) -> bool:
        await target.settle({}, None)
        return True

    await entered(database, settled)


STEPS = (
    *(_claims, _claims_what_is_in_doubt, _starts_a_creation, _records_a_creation, _holds_a_creation_for_a_person),
    *(_a_person_takes_it, _a_person_says_that_it_was_restored, _a_worker_notices_that_it_was_restored),
    _returns_move_here,
)
_ON_DISK = "SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn"
_WRITTEN = "SELECT CAST(pg_current_wal_insert_lsn() AS text)"


async def test_whatever_a_second_creation_could_follow_from_is_on_disk_when_it_is_done(
    careless: Database, shop: Shop
) -> None:
    await shop.run(_ORDERLY)
    for step in STEPS:
        await shop.run("DELETE FROM return_order")
        await insert(shop, "R-1")
        await step(careless, shop)
        assert await shop.value(_ON_DISK, await shop.value(_WRITTEN)), step.__name__


async def test_a_poll_is_not_kept_waiting_for_the_disk_where_nobody_asks_for_that(
    careless: Database, shop: Shop
) -> None:
    await shop.run(_ORDERLY)
    await insert_tracked(shop, "R-1")
    order = await take_one(careless, Step.TRACK)
    assert await record(careless, [(order, polled(order))])
    assert not await shop.value(_ON_DISK, await shop.value(_WRITTEN))


@pytest.mark.parametrize("asked", ["local", "remote_write", "on", "remote_apply"])
async def test_what_an_operator_asks_for_beyond_that_is_left_as_it_is(
    database: Database, shop: Shop, url: str, opened: Open, asked: str
) -> None:
    await shop.run(f"ALTER DATABASE {await shop.value('SELECT current_database()')} SET synchronous_commit = {asked}")

    def found(connection: Connection) -> str:
        connection.execute(DURABLE)
        return str(connection.execute(text("SHOW synchronous_commit")).scalar_one())

    assert await opened(url).transaction(found) == asked


async def test_what_a_crash_may_take_back_is_said_to_a_role_without_rights(
    database: Database, shop: Shop, url: str, opened: Open
) -> None:
    """The tests' own server does without both settings, since a crash of the machine ends the tests too."""
    await shop.run("DROP ROLE IF EXISTS nobody_special")
    await shop.run("CREATE ROLE nobody_special LOGIN")
    said = "\n".join(await risks(opened(url.replace("postgres@", "nobody_special@"))))
    for setting in ("fsync", "full_page_writes"):
        off = await shop.value(f"SELECT current_setting('{setting}') = 'off'")
        assert (f"{setting} is off: " in said) == off
    assert "standbys" not in said
    await shop.run("DROP ROLE nobody_special")
