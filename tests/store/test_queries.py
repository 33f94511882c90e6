"""What gauges and commands read."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.store.rows import OVER, created, insert, insert_tracked, now, record_one, take, take_one
from tests.store.shop import Shop
from worker.domain.lifecycle import Step
from worker.store.database import Database
from worker.store.queries import Backlog, read_backlog
from worker.store.upkeep.history import find_orders, read_history
from worker.store.upkeep.intake import AlreadyThere, NewReturn, insert_returns


async def backlog_of(database: Database) -> dict[tuple[str, str], Backlog]:
    rows = await read_backlog(database)
    found = {(row.account, row.state): row for row in rows}
    assert len(found) == len(rows), "one line for each account and state, where all have one tracking status"
    return found


async def test_the_backlog_counts_tracked_rows_by_their_tracking_status(database: Database, shop: Shop) -> None:
    for number, status in enumerate(["in_transit", "in_transit", "pre_transit"]):
        await insert_tracked(shop, f"T-{number}", due=3600, tracking_status=status)
        await insert_tracked(shop, f"N-{number}", state="needs_attention", due=None, tracking_status=status)
    await insert(shop, "N-3", state="needs_attention", due=None)
    found = {(row.state, row.tracking_status): row.count for row in await read_backlog(database)}
    assert found == {("tracking", "in_transit"): 2, ("tracking", "pre_transit"): 1, ("needs_attention", None): 4}


async def test_an_empty_database_has_no_backlog(database: Database) -> None:
    assert await read_backlog(database) == []


async def test_the_backlog_counts_live_rows_by_account_and_state(database: Database, shop: Shop) -> None:
    for number in range(3):
        await insert(shop, f"P-{number}", due=-60)
        await insert_tracked(shop, f"T-{number}", due=3600)
        await insert_tracked(shop, f"D-{number}", state="completed", due=None)
        await insert(shop, f"N-{number}", state="needs_attention", due=None)
        await insert(shop, f"O-{number}", "other", due=60)
        await insert(shop, f"R-{number}", state="rejected", due=None)
    await shop.run(f"UPDATE return_order SET label_due_at = {shop.moment(60)} WHERE reference IN ('T-0', 'D-0')")
    found = await backlog_of(database)
    assert {key: (row.count, row.due, row.labels_missing) for key, row in found.items()} == {
        ("default", "pending"): (3, 3, 0),
        ("default", "tracking"): (3, 0, 1),
        ("default", "needs_attention"): (3, 0, 0),
        ("other", "pending"): (3, 0, 0),
    }
    oldest = found["default", "pending"].oldest_due_at
    assert oldest is not None
    assert abs(datetime.now(UTC) - timedelta(seconds=60) - oldest) < timedelta(seconds=10)
    assert found["other", "pending"].oldest_due_at is None


async def test_held_rows_are_in_the_backlog_but_not_due(database: Database, shop: Shop) -> None:
    for number in range(3):
        await insert(shop, f"R-{number}")
    await take(database, quota=1)
    await take(database, quota=1, lease=OVER)
    row = (await backlog_of(database))["default", "pending"]
    assert (row.count, row.due) == (3, 2)


async def test_a_held_return_with_a_request_is_counted_once_with_the_others(database: Database, shop: Shop) -> None:
    for number in range(3):
        await insert(shop, f"R-{number}", state="needs_attention", due=None)
    await shop.run("UPDATE return_order SET cancel_requested_at = CURRENT_TIMESTAMP WHERE reference = 'R-1'")
    row = (await backlog_of(database))["default", "needs_attention"]
    assert (row.count, row.due) == (3, 1)
    assert row.oldest_due_at is not None
    assert all(type(number) is int for number in (row.count, row.due, row.labels_missing))


async def test_orders_are_found_newest_first(database: Database, shop: Shop) -> None:
    for number in range(5):
        await insert(shop, f"R-{number}")
    assert [row.reference for row in await find_orders(database)] == ["R-4", "R-3", "R-2", "R-1", "R-0"]
    assert [row.reference for row in await find_orders(database, limit=2)] == ["R-4", "R-3"]


async def test_orders_are_found_by_what_is_asked_for(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    await insert(shop, "R-1", "other")
    await insert(shop, "o'dd % _ \\ 😀", "other", state="rejected")
    await insert_tracked(shop, "R-2")

    async def found(**filters: object) -> list[tuple[str, str]]:
        return [(row.account, row.reference) for row in await find_orders(database, **filters)]  # type: ignore[arg-type]

    assert await found(reference="R-1") == [("other", "R-1"), ("default", "R-1")]
    assert await found(reference="R-1", account="other") == [("other", "R-1")]
    assert await found(reference="o'dd % _ \\ 😀") == [("other", "o'dd % _ \\ 😀")]
    assert await found(reference="r-1") == []
    assert await found(reference="R-%") == []
    assert await found(states=["rejected", "tracking"]) == [("default", "R-2"), ("other", "o'dd % _ \\ 😀")]
    assert await found(states=["rejected"], account="default") == []


async def test_an_order_is_read_with_its_own_types(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1", payload='{"items": [{"product_id": 1}], "é": "😀"}')
    (row,) = await find_orders(database)
    assert row.payload is None  # a list is long
    assert (await read_history(database, row)).order.payload == {"items": [{"product_id": 1}], "é": "😀"}
    for moment in (row.due_at, row.created_at, row.updated_at):
        assert moment is not None
        assert moment.utcoffset() == timedelta(0)
    assert (row.lease_until, row.cancel_requested_at) == (None, None)


async def test_a_moment_without_milliseconds_is_read_too(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    literal = "'2026-06-04 12:00:00'" + ("" if shop.sqlite else "::timestamptz")
    await shop.run(f"UPDATE return_order SET due_at = {literal}, cancel_requested_at = {literal}")
    (row,) = await find_orders(database)
    assert row.cancel_requested_at == datetime(2026, 6, 4, 12, tzinfo=UTC)


async def test_a_history_is_only_its_own(database: Database, shop: Shop) -> None:
    for reference in ("R-1", "R-2"):
        await insert(shop, reference)
        await record_one(database, await take_one(database), f"NR-{reference}")
    (row,) = await find_orders(database, reference="R-1")
    history = await read_history(database, row)
    assert history.order is row
    assert [(line.field, line.new_value) for line in history.transitions] == [
        ("state", "tracking"),
        ("tracking_status", "pre_transit"),
    ]
    assert {line.return_order_id for line in history.transitions} == {row.id}
    assert (list(history.packages), list(history.labels)) == ([], [])


async def test_returns_are_inserted_as_the_shop_would(database: Database, shop: Shop) -> None:
    payload = {"items": [], "description": "é😀\\\"'"}
    assert await insert_returns(database, [NewReturn("default", "R-1", payload), NewReturn("other", "R-1", {})]) == 2
    order = await take_one(database)
    assert json.loads(order.payload or "") == payload
    assert order.reference == "R-1"


async def test_of_returns_that_are_partly_there_none_is_inserted(database: Database, shop: Shop) -> None:
    await insert(shop, "R-2")
    new = [NewReturn("default", f"R-{number}", {}) for number in range(4)]
    with pytest.raises(AlreadyThere, match="R-2") as caught:
        await insert_returns(database, new)
    assert caught.value.references == ("R-2",)
    assert await shop.value("SELECT count(*) FROM return_order") == 1
    assert await insert_returns(database, new, skip_existing=True) == 3


async def test_a_reference_named_twice_in_one_file_is_already_there(database: Database, shop: Shop) -> None:
    with pytest.raises(AlreadyThere):
        await insert_returns(database, [NewReturn("default", "R-1", {}), NewReturn("default", "R-1", {})])
    assert await shop.value("SELECT count(*) FROM return_order") == 0


async def test_a_worker_sees_what_it_wrote(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    order = await take_one(database)
    await record_one(database, order, "NR-1")
    (row,) = await find_orders(database)
    assert row.due_at is not None
    assert abs(row.due_at - now(minutes=15)) < timedelta(seconds=10)
    assert row.next_step == Step.TRACK
    assert row.carrier_ref == created(order, "NR-1").order.carrier_ref
