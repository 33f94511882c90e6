"""An archived return is in one place, whole, and its reference and number stay its own."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.databases import on_postgresql
from tests.store.conftest import Open
from tests.store.rows import created, insert, insert_tracked, now, polled, settled, take_one
from tests.store.shop import Refused, Shop
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import StoredLabel
from worker.domain.returns import PackageInfo
from worker.store.claims import hand_back
from worker.store.database import Database
from worker.store.records import CarrierRefTaken, record
from worker.store.upkeep.archive import Archived, Batch, archive_batch, count_over, find_archived
from worker.store.upkeep.history import History, find_orders, read_history
from worker.store.upkeep.intake import AlreadyThere, NewReturn, insert_returns
from worker.store.upkeep.renames import NamesCollide, read_belongings, rename_returns, shared_by

LABEL = StoredLabel(1, "file:///labels/NR-1.pdf", "application/pdf", 1528, 2, "ab" * 32)


async def archive(database: Database, *, age: timedelta = timedelta(0), account: str | None = None) -> int:
    return (await archive_batch(database, now(seconds=1) - age, account, 0, 100)).count


async def completed(database: Database, shop: Shop, reference: str, carrier_ref: str = "NR-1") -> int:
    """A return whose whole life was recorded as a worker does."""
    order_id = await insert(shop, reference, payload='{"price": 1.10, "name": "Zoë 🎁"}')
    order = await take_one(database)
    packages = (PackageInfo(1, "7RET1", "a box"), PackageInfo(2))
    made = created(order, carrier_ref)._replace(packages=packages, labels=(LABEL,))
    assert await record(database, [(order, made)]) == {order_id}
    for decide in (polled, settled_completed):
        await shop.run(f"UPDATE return_order SET due_at = {shop.moment(-1)} WHERE id = {order_id}")
        order = await take_one(database, Step.TRACK)
        assert await record(database, [(order, decide(order))]) == {order_id}
    return order_id


def settled_completed(order: Any) -> Any:
    return settled(order, State.COMPLETED)


def plain(history: History) -> list[dict[str, Any]]:
    parts = (history.order, *history.transitions, *history.packages, *history.labels)
    return [part.model_dump() for part in parts]


async def everything(shop: Shop) -> dict[str, list[dict[str, Any]]]:
    tables = ("return_order", "status_transition", "package", "label", "archived_return")
    return {table: await shop.fetch(f"SELECT * FROM {table} ORDER BY id") for table in tables}


async def test_it_is_read_as_it_was_with_all_that_belonged_to_it(database: Database, shop: Shop) -> None:
    await completed(database, shop, "R-1")
    (order,) = await find_orders(database, reference="R-1")
    before = plain(await read_history(database, order))
    assert await archive(database) == 1
    (archived,) = await find_archived(database, "R-1", None)
    assert archived.history is not None
    assert plain(archived.history) == before
    assert len(before) == 1 + 4 + 2 + 1
    left = await everything(shop)
    assert {table: len(rows) for table, rows in left.items() if rows} == {"archived_return": 1}
    assert await find_archived(database, "R-1", "other") == []


async def test_what_is_not_over_or_too_young_or_of_another_account_or_asked_about_stays(
    database: Database, shop: Shop
) -> None:
    await insert(shop, "PENDING", due=60)
    await insert_tracked(shop, "TRACKED", due=60)
    for state in ("rejected", "needs_attention", "cancelled"):
        await insert(shop, state, state=state, due=None)
    old = await insert_tracked(shop, "COMPLETED", state="completed", due=None)
    await insert_tracked(shop, "OTHER", "other", state="completed", due=None)
    asked = await insert_tracked(shop, "ASKED", state="completed", due=None)
    await shop.run(f"UPDATE return_order SET cancel_requested_at = {shop.moment()} WHERE id = {asked}")
    assert await archive(database, age=timedelta(hours=1)) == 0
    assert await count_over(database, now(seconds=1), "default") == (2, {})
    assert await archive(database, account="default") == 2
    left = await shop.fetch("SELECT reference FROM return_order ORDER BY reference")
    assert {row["reference"] for row in left} == {
        *("PENDING", "TRACKED", "rejected", "needs_attention", "OTHER", "ASKED"),
    }
    assert await shop.value(f"SELECT reference FROM archived_return WHERE id = {old}") == "COMPLETED"


async def test_a_return_that_a_worker_holds_stays(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "HELD", state="completed")
    order = await take_one(database, Step.TRACK)
    await shop.run("UPDATE return_order SET due_at = NULL")
    assert await archive(database) == 0
    await hand_back(database, [order])
    assert await archive(database) == 1


async def test_a_limit_and_a_place_to_go_on_from_are_heeded(database: Database, shop: Shop) -> None:
    ids = [await insert_tracked(shop, f"R-{number}", state="completed", due=None) for number in range(5)]
    batch = await archive_batch(database, now(seconds=1), None, 0, 2)
    assert batch == Batch(2, ids[1], finished=False)
    batch = await archive_batch(database, now(seconds=1), None, ids[2], 5)
    assert (batch.count, batch.finished) == (2, True)
    assert [row["id"] for row in await shop.fetch("SELECT id FROM return_order")] == [ids[2]]


async def test_returns_far_apart_are_found_in_several_steps(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.upkeep.archive._WINDOW", 2)
    for number in range(7):
        await insert_tracked(shop, f"R-{number}", **({"state": "completed", "due": None} if number in (0, 6) else {}))
    assert await count_over(database, now(seconds=1), None) == (2, {})
    batch, moved = Batch(0, 0, finished=False), 0
    while not batch.finished:
        batch = await archive_batch(database, now(seconds=1), None, batch.last, 10)
        moved += batch.count
    assert moved == 2
    assert await shop.value("SELECT count(*) FROM return_order") == 5


async def test_the_database_itself_refuses_an_archived_reference(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-1", state="completed", due=None)
    await archive(database)
    for statement in (
        "INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')",
        "INSERT INTO return_order (reference, payload) VALUES ('NEW', '{}'), ('R-1', '{}')",
        "INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}') ON CONFLICT DO NOTHING",
    ):
        with pytest.raises(Refused, match="the account has archived a return of this reference"):
            await shop.run(statement)
    assert await shop.value("SELECT count(*) FROM return_order") == 0
    await insert(shop, "R-1", "other")
    with pytest.raises(Refused, match="archived a return of this reference"):
        await shop.run("UPDATE return_order SET account = 'default'")


async def test_the_number_of_an_archived_return_is_adopted_by_no_other(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-1", state="completed", due=None, carrier_ref="NR-1")
    await archive(database)
    await insert(shop, "R-2")
    order = await take_one(database)
    with pytest.raises(CarrierRefTaken):
        await record(database, [(order, created(order, "NR-1"))])
    assert await record(database, [(order, created(order, "NR-2"))]) == {order.id}


async def test_adding_says_that_a_reference_is_there_or_leaves_it_alone(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-1", state="completed", due=None)
    await archive(database)
    returns = [NewReturn("default", "R-1", {}), NewReturn("default", "R-2", {})]
    with pytest.raises(AlreadyThere, match=r"^already there: R-1$"):
        await insert_returns(database, returns)
    assert await insert_returns(database, returns, skip_existing=True) == 1


async def test_a_renamed_account_takes_its_archive_along(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-1", "old", state="completed", due=None)
    await insert(shop, "R-2", "old")
    await archive(database)
    assert (await read_belongings(database, "old")).returns == 2
    assert await rename_returns(database, "old", "new", "renamed") == 2
    (archived,) = await find_archived(database, "R-1", "new")
    assert archived.history is not None
    assert archived.history.order.account == "new"
    with pytest.raises(Refused, match="archived a return of this reference"):
        await insert(shop, "R-1", "new")
    await insert(shop, "R-1", "old")


async def test_what_two_accounts_have_is_found_in_the_archive_too(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-1", "old", state="completed", due=None, carrier_ref="A")
    await archive(database)
    await insert(shop, "R-1", "new")
    assert await shared_by(database, "old", "new") == ["R-1"]
    assert await shared_by(database, "new", "old") == ["R-1"]
    for old, new in (("old", "new"), ("new", "old")):
        with pytest.raises(NamesCollide):
            await rename_returns(database, old, new, "renamed")
    assert [each.account for each in await find_archived(database, "R-1", None)] == ["old"]


async def test_an_emptied_document_leaves_the_reference_taken(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-1", state="completed", due=None)
    await archive(database)
    await shop.run("UPDATE archived_return SET document = '{}' WHERE reference = 'R-1'")
    (archived,) = await find_archived(database, "R-1", None)
    assert isinstance(archived, Archived)
    assert archived.history is None
    with pytest.raises(Refused, match="archived a return of this reference"):
        await insert(shop, "R-1")


@on_postgresql
async def test_a_row_that_somebody_locks_is_passed_over(database: Database, shop: Shop, url: str) -> None:
    for reference in ("R-1", "R-2"):
        await insert_tracked(shop, reference, state="completed", due=None)
    async with Shop.at(url) as other, other.connection.transaction():
        await other.run("SELECT 1 FROM return_order WHERE reference = 'R-1' FOR KEY SHARE")
        assert await asyncio.wait_for(archive(database), 5) == 1
    assert await shop.value("SELECT reference FROM return_order") == "R-1"


@on_postgresql
@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
async def test_an_insert_that_meets_the_archiving_of_its_reference_is_refused(
    database: Database, shop: Shop, url: str, isolation: Any
) -> None:
    """It waits for the deleted row; then there is none, and its snapshot may be older than the archive."""
    await insert_tracked(shop, "R-1", state="completed", due=None)
    async with Shop.at(url) as seller, Shop.at(url) as blocker:
        archiving = blocker.connection.transaction()
        await archiving.start()
        await blocker.run("SELECT 1 FROM package")
        await blocker.run("LOCK TABLE package IN SHARE MODE")  # the archiving deletes, and waits here
        moving = asyncio.create_task(archive(database))
        await shop.see_waiting()
        selling = seller.connection.transaction(isolation=isolation)
        await selling.start()
        await seller.value("SELECT count(*) FROM return_order")
        insertion = asyncio.create_task(
            seller.run("INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')")
        )
        while await shop.value("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await archiving.commit()
        assert await moving == 1
        with pytest.raises((asyncpg.UniqueViolationError, asyncpg.SerializationError)):
            await insertion
        await selling.rollback()
    assert await shop.value("SELECT count(*) FROM return_order") == 0
    assert await shop.value("SELECT count(*) FROM archived_return") == 1


@on_postgresql
async def test_a_stricter_transaction_inserts_as_any_other(database: Database, shop: Shop) -> None:
    async with shop.connection.transaction(isolation="serializable"):
        await insert(shop, "R-1")
    assert await shop.value("SELECT count(*) FROM archived_return") == 0
    assert await shop.value("SELECT count(*) FROM return_order") == 1


@on_postgresql
@pytest.mark.usefixtures("own_database")
async def test_a_shop_without_any_right_to_the_archive_inserts_and_is_refused_all_the_same(
    database: Database, shop: Shop
) -> None:
    """A role that was granted what it has before there was an archive."""
    await insert_tracked(shop, "R-1", state="completed", due=None)
    await archive(database)
    await shop.run("CREATE ROLE returns_test_seller")
    try:
        await shop.run("GRANT INSERT (reference, payload) ON return_order TO returns_test_seller")
        await shop.run("SET ROLE returns_test_seller")
        await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R-2', '{}')")
        with pytest.raises(asyncpg.UniqueViolationError):
            await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')")
        await shop.run("RESET ROLE")
    finally:
        await shop.run("RESET ROLE")
        await shop.run("DROP OWNED BY returns_test_seller")
        await shop.run("DROP ROLE returns_test_seller")


async def test_a_reference_is_found_through_the_index_in_whatever_account(opened: Open, url: str, shop: Shop) -> None:
    for number in range(3):
        await insert(shop, "R-1", f"account-{number}")
    found = await find_orders(opened(url), reference="R-1")
    assert sorted(order.account for order in found) == ["account-0", "account-1", "account-2"]
    assert await find_orders(opened(url), reference="R-2") == []
