"""What a return is known by stays what the carrier was told, whoever writes to the table."""

import pytest

from tests.store.conftest import Open
from tests.store.rows import CALL, insert, insert_tracked, settled, take_one
from tests.store.shop import Refused, Shop
from worker.domain.returns import ReturnOrder
from worker.store import schema
from worker.store.claims import hand_back, start_creation
from worker.store.database import Database
from worker.store.records import record
from worker.store.restores import declare_restored
from worker.store.schema import migrate, require_current
from worker.store.upkeep.renames import rename_returns

BEGUN = "cannot be changed once the return's creation may have begun"
CHANGES = ("account = 'other'", "reference = 'R-2'", "id = id + 1000")


async def begun(database: Database, shop: Shop) -> ReturnOrder:
    """A return whose creation was sent, and has no answer."""
    await insert(shop, "R-1")
    order = await take_one(database)
    assert await start_creation(database, order, CALL) is not None
    return order


async def assert_kept(shop: Shop, *changes: str) -> None:
    before = await shop.fetch("SELECT * FROM return_order")
    for change in changes:
        with pytest.raises(Refused, match=BEGUN):
            await shop.run(f"UPDATE return_order SET {change}")
    assert await shop.fetch("SELECT * FROM return_order") == before


@pytest.mark.parametrize("change", CHANGES)
async def test_what_a_return_is_known_by_cannot_be_changed_once_its_creation_has_begun(
    database: Database, shop: Shop, change: str
) -> None:
    await begun(database, shop)
    await assert_kept(shop, change)


async def test_nor_later_whatever_became_of_it(database: Database, shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1")
    await assert_kept(shop, *CHANGES[:2])
    # looked up twice and not there: it may be sent again, and what was sent before is still looked for by its reference
    await shop.run(
        "UPDATE return_order SET state = 'pending', next_step = 'create', carrier_ref = NULL, tracking_status = NULL,"
        f" first_attempt_at = {shop.moment(-60)}"
    )
    await assert_kept(shop, *CHANGES)
    await shop.run("UPDATE return_order SET first_attempt_at = NULL, state = 'needs_attention', due_at = NULL")
    await assert_kept(shop, *CHANGES)
    # named, but the same: an ORM writes every column
    await shop.run("UPDATE return_order SET id = id, account = account, reference = reference")
    assert (await shop.order(order_id))["shop_changes"] == 0


async def test_a_return_that_may_have_been_created_before_a_restore_keeps_its_reference(
    database: Database, shop: Shop
) -> None:
    await insert(shop, "R-1")
    await shop.run(f"UPDATE return_order SET updated_at = {shop.moment(-60)}")
    await declare_restored(database)
    await assert_kept(shop, *CHANGES)


async def test_before_that_both_are_the_shops_and_a_worker_that_holds_the_row_sends_nothing_under_the_old_one(
    database: Database, shop: Shop
) -> None:
    await insert(shop, "R-1")
    order = await take_one(database)
    await shop.run("UPDATE return_order SET account = 'other', reference = 'R-2'")
    assert await start_creation(database, order, CALL) is None
    await hand_back(database, [order])
    await shop.run("UPDATE return_order SET account = 'default'")
    order = await take_one(database)
    assert (order.reference, order.shop_changes) == ("R-2", 2)
    assert await record(database, [(order, settled(order))]) == {order.id}  # rejected: nothing is at the carrier
    await shop.run("UPDATE return_order SET reference = 'R-3'")


async def test_a_row_that_was_set_aside_as_unreadable_is_set_right(database: Database, shop: Shop) -> None:
    del database
    await insert(shop, "R-1", state="needs_attention", error_code="unreadable_row", due=None)
    await shop.run("UPDATE return_order SET reference = 'R-2'")


async def test_accounts_rename_gives_it_another_account_and_leaves_the_guard_as_it_was(
    database: Database, shop: Shop
) -> None:
    order = await begun(database, shop)
    assert await rename_returns(database, "default", "other", "renamed") == 1
    row = await shop.order(order.id)
    assert (row["account"], row["shop_changes"], row["create_started_at"] is None) == ("other", 0, False)
    await assert_kept(shop, "account = 'default'", "reference = 'R-2'")


async def test_the_fourteenth_schema_guards_what_was_there_before_it(
    empty_url: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = opened(empty_url)
    with monkeypatch.context() as old:
        old.setattr(schema, "_HEAD", "0012")
        assert await migrate(database) == (None, "0012")
    async with Shop.at(empty_url) as shop:
        await insert_tracked(shop, "FOLLOWED")
        await insert(shop, "NEW")
        await shop.run("UPDATE return_order SET reference = 'WAS-' || reference")
        before = await shop.fetch("SELECT * FROM return_order ORDER BY id")
        await migrate(database)
        await require_current(database)
        after = await shop.fetch("SELECT * FROM return_order ORDER BY id")  # later schemas may have more columns
        assert [new | old for new, old in zip(after, before, strict=True)] == after
        with pytest.raises(Refused, match=BEGUN):
            await shop.run("UPDATE return_order SET reference = 'FOLLOWED' WHERE reference = 'WAS-FOLLOWED'")
        await shop.run("UPDATE return_order SET reference = 'NEW' WHERE reference = 'WAS-NEW'")
