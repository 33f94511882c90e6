"""Who gets which row, for how long, and what holding one allows."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.databases import on_postgresql
from tests.domain.cases import SEARCHABLE
from tests.store.conftest import Open
from tests.store.rows import CALL, LEASE, OVER, created, insert, insert_tracked, take, take_one
from tests.store.shop import Shop
from worker.domain.decide import decide
from worker.domain.decision import Decision, StepOutcome
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Absent, Failed, FailureKind
from worker.domain.tracking import TrackingStatus
from worker.store.claims import Lane, claim, hand_back, start_creation
from worker.store.database import Database
from worker.store.records import record


async def test_nothing_is_claimed_from_nothing(database: Database) -> None:
    assert await take(database) == []
    assert await claim(database, [], "worker-1", LEASE) == []
    assert await claim(database, [Lane("default", Step.CREATE, 0)], "worker-1", LEASE) == []


async def test_each_lane_gets_its_own_quota(database: Database, shop: Shop) -> None:
    for account in ("one", "two", "three"):
        for number in range(4):
            await insert(shop, f"C-{number}", account)
            await insert_tracked(shop, f"T-{number}", account)
            await insert_tracked(shop, f"L-{number}", account, next_step="label")
    quotas = {("one", Step.CREATE): 1, ("one", Step.TRACK): 3, ("two", Step.LABEL): 2, ("two", Step.CREATE): 9}
    lanes = [Lane(account, step, quota) for (account, step), quota in quotas.items()]
    got = [(row.order.account, row.order.next_step) for row in await claim(database, lanes, "worker-1", LEASE)]
    assert {lane: got.count(lane) for lane in got} == quotas | {("two", Step.CREATE): 4}
    assert await shop.value("SELECT count(*) FROM return_order WHERE account = 'three' AND lease_token > 0") == 0


async def test_the_earliest_are_taken_first_and_then_the_oldest(database: Database, shop: Shop) -> None:
    await insert(shop, "later", due=-10)
    await insert(shop, "first", due=-30)
    for reference in ("a", "b", "c"):
        await insert(shop, reference, due=None, state="rejected")
    await shop.run(f"UPDATE return_order SET due_at = {shop.moment(-20)} WHERE due_at IS NULL")
    got = [[row.order.reference for row in await take(database, quota=2)] for _ in range(3)]
    assert got == [["first", "a"], ["b", "c"], ["later"]]


async def test_a_row_is_not_claimed_before_it_is_due(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1", due=60)
    await insert(shop, "R-2", due=None, state="needs_attention")
    assert await take(database) == []


async def test_a_leased_row_is_passed_over_until_its_lease_ends(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    first = await take_one(database)
    assert (first.lease_token, first.claims) == (1, 1)
    assert await take(database) == []
    assert 80 < await shop.seconds("lease_until", order_id) <= 90
    await shop.run(f"UPDATE return_order SET lease_until = {shop.moment(-1)}")
    second = await take_one(database)
    assert (second.id, second.lease_token, second.claims) == (order_id, 2, 2)


async def test_a_lease_may_be_as_short_as_one_likes(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    for count in range(1, 4):
        assert (await take_one(database, lease=OVER)).claims == count


async def test_a_claim_changes_nothing_but_the_lease(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    before = await shop.order(order_id)
    await take(database)
    after = await shop.order(order_id)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"lease_owner", "lease_until", "lease_token", "claims"}
    assert after["lease_owner"] == "worker-1"


async def test_a_claim_brings_the_whole_row(database: Database, shop: Shop) -> None:
    columns = {
        "carrier_status": "Onderweg",
        "return_url": "https://example.com/r",
        "attempts": 2,
        "unchanged_polls": 3,
        "error_code": "carrier_error",
        "error_message": "500",
        "label_attempts": 4,
        "label_error_code": "label_not_ready",
        "label_error_message": "not yet",
        "shop_changes": 5,
    }
    order_id = await insert_tracked(shop, "R-1", next_step="label", **columns)
    moments = ("label_due_at", "track_due_at", "create_started_at", "followed_since", "failing_since")
    moments += ("label_sought_since",)
    await shop.run(
        "UPDATE return_order SET "
        + ", ".join(f"{name} = {shop.moment(-60 - number)}" for number, name in enumerate(moments))
    )
    (claimed,) = await take(database, Step.LABEL)
    order = claimed.order
    assert (order.id, order.state, order.next_step) == (order_id, State.TRACKING, Step.LABEL)
    assert order.tracking_status is TrackingStatus.UNKNOWN
    assert (order.error_code, order.label_error_code) == (ErrorCode.CARRIER_ERROR, ErrorCode.LABEL_NOT_READY)
    for name in columns.keys() - {"error_code", "label_error_code"}:
        assert getattr(order, name) == columns[name]
    for number, name in enumerate(moments):
        age = (claimed.claimed_at - getattr(order, name)).total_seconds()
        assert 59 + number < age < 90 + number
    assert claimed.due_at == order.due_at
    assert 0 < (claimed.claimed_at - claimed.due_at).total_seconds() < 30


async def test_an_error_code_of_a_newer_version_does_not_stop_this_one(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1", error_code="carrier_on_strike", label_error_code="label_on_fire")
    order = await take_one(database)
    assert (order.error_code, order.label_error_code) == (None, None)


async def test_the_payload_is_brought_only_where_a_step_needs_it(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1", payload='{"b": [1, {"c": "é😀"}], "a": 1.50}')
    await insert_tracked(shop, "R-2", next_step="label")
    await insert_tracked(shop, "R-3")
    assert json.loads((await take_one(database)).payload or "") == {"b": [1, {"c": "é😀"}], "a": 1.5}
    assert json.loads((await take_one(database, Step.LABEL)).payload or "") == {"items": []}
    assert (await take_one(database, Step.TRACK)).payload is None


async def test_an_account_that_nobody_knows_is_no_error(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1", "known")
    lanes = [Lane("unknown", Step.CREATE, 5), Lane("known", Step.CREATE, 5), Lane('o\'dd \\ "one" 😀', Step.TRACK, 5)]
    (claimed,) = await claim(database, lanes, "o'wner \\", LEASE)
    assert claimed.order.account == "known"


async def test_a_lane_named_twice_gives_no_row_twice(database: Database, shop: Shop) -> None:
    for number in range(5):
        await insert(shop, f"R-{number}")
    got = await claim(database, [Lane("default", Step.CREATE, 2)] * 2, "worker-1", LEASE)
    assert len({row.order.id for row in got}) == len(got) >= 2
    assert {row.order.lease_token for row in got} == {1}


async def test_a_withdrawal_of_a_tracked_return_comes_in_its_own_lane(database: Database, shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1", state="needs_attention", due=None)
    await insert_tracked(shop, "R-2", due=-500)
    await insert(shop, "R-3")
    await shop.run(f"UPDATE return_order SET cancel_requested_at = {shop.moment()} WHERE reference <> 'R-2'")
    order = await take_one(database, Step.CANCEL)
    assert (order.id, order.queue, order.next_step) == (order_id, Step.CANCEL, Step.TRACK)
    assert order.cancel_requested_at is not None
    assert order.shop_changes == 1
    assert (await take_one(database, Step.TRACK)).reference == "R-2"
    assert (await take_one(database)).queue is Step.CREATE  # nothing is to be told of it


async def test_concurrent_claimers_never_get_the_same_row(url: str, opened: Open, shop: Shop) -> None:
    count, workers = 240, 8
    for number in range(count):
        await insert(shop, f"R-{number}", f"account-{number % 3}")
    lanes = [Lane(f"account-{number}", Step.CREATE, 3) for number in range(3)]
    databases = [opened(pool_size=1) for _ in range(workers if not shop.sqlite else 3)]

    async def work(database: Database) -> list[int]:
        mine: list[int] = []
        while got := await claim(database, lanes, f"worker-{id(database)}", LEASE):
            mine += [row.order.id for row in got]
        return mine

    taken = await asyncio.gather(*(work(database) for database in databases))
    ids = [order_id for mine in taken for order_id in mine]
    assert len(ids) == len(set(ids))
    # A claimer may end while the others still hold locks, but every row was somebody's.
    assert len(ids) == count
    assert await shop.value("SELECT max(lease_token) FROM return_order") == 1


@on_postgresql
async def test_a_row_the_shop_has_locked_is_passed_over(url: str, database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    await insert(shop, "R-2")
    async with Shop.at(url) as other:
        await other.run("BEGIN")
        await other.run("UPDATE return_order SET payload = '{}' WHERE reference = 'R-1'")
        assert (await take_one(database)).reference == "R-2"
        await other.run("COMMIT")
    assert (await take_one(database)).payload == "{}"


async def test_the_intent_to_create_is_committed_once(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    started = await start_creation(database, order, CALL)
    assert started is not None
    assert abs(await shop.seconds("create_started_at", order_id)) < 5
    assert await start_creation(database, order, CALL) is None


async def test_of_two_that_start_at_once_only_one_may_send(opened: Open, shop: Shop) -> None:
    await insert(shop, "R-1")
    databases = [opened(pool_size=1) for _ in range(4)]
    order = await take_one(databases[0])
    started = await asyncio.gather(*(start_creation(database, order, CALL) for database in databases))
    assert sum(moment is not None for moment in started) == 1


async def test_nothing_is_sent_that_could_outlive_the_lease(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    assert await start_creation(database, await take_one(database, lease=CALL - timedelta(seconds=1)), CALL) is None
    assert (await shop.order(order_id))["create_started_at"] is None


async def test_nothing_is_sent_after_the_lease_is_over(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    assert await start_creation(database, await take_one(database, lease=OVER), CALL) is None
    assert (await shop.order(order_id))["create_started_at"] is None


async def test_nothing_is_sent_by_a_holder_that_lost_its_lease(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    stale = await take_one(database, lease=OVER)
    holder = await take_one(database)
    assert await start_creation(database, stale, CALL) is None
    assert await start_creation(database, holder, CALL) is not None


@pytest.mark.parametrize(
    "change",
    ["payload = '{\"a\": 1}'", "cancel_requested_at = CURRENT_TIMESTAMP", "retry_requested_at = CURRENT_TIMESTAMP"],
)
async def test_nothing_is_sent_once_the_shop_changed_its_mind(database: Database, shop: Shop, change: str) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    await shop.run(f"UPDATE return_order SET {change} WHERE id = $1", order_id)
    assert await start_creation(database, order, CALL) is None
    await hand_back(database, [order])
    again = await take_one(database)
    assert await start_creation(database, again, CALL) is not None


async def test_nothing_is_sent_for_a_return_that_was_deleted(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    order = await take_one(database)
    await shop.run("DELETE FROM return_order")
    assert await start_creation(database, order, CALL) is None
    await hand_back(database, [order])


@on_postgresql
async def test_a_withdrawal_and_a_creation_at_once_have_one_winner(url: str, database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    order = await take_one(database)
    async with Shop.at(url) as other:
        await other.run("BEGIN")
        await other.run("UPDATE return_order SET cancel_requested_at = now()")
        assert await start_creation(database, order, CALL) is None  # whichever way the shop's transaction ends
        await other.run("COMMIT")
    assert await start_creation(database, order, CALL) is None


@on_postgresql
async def test_a_creation_does_not_wait_for_a_row_that_the_shop_locks(url: str, database: Database, shop: Shop) -> None:
    """Or a shop's transaction over many rows would take every connection of the worker."""
    await insert(shop, "R-1")
    order = await take_one(database)
    async with Shop.at(url) as other:
        await other.run("BEGIN")
        await other.run("SELECT 1 FROM return_order FOR UPDATE")
        assert await start_creation(database, order, CALL) is None
        await other.run("ROLLBACK")
    assert await start_creation(database, order, CALL) is not None


async def test_a_row_handed_back_is_free_and_its_claim_is_not_counted(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    await take_one(database, lease=OVER)
    order = await take_one(database)
    assert order.claims == 2
    await hand_back(database, [order])
    row = await shop.order(order_id)
    assert (row["lease_owner"], row["lease_until"], row["claims"], row["lease_token"]) == (None, None, 1, 2)
    again = await take_one(database)
    assert (again.claims, again.lease_token) == (2, 3)


async def test_handing_nothing_back_is_no_error(database: Database) -> None:
    await hand_back(database, [])


async def test_handing_back_twice_counts_once(database: Database, shop: Shop) -> None:
    """The answer to the first time may have been lost, and the row may not have been taken since."""
    order_id = await insert(shop, "R-1")
    for _ in range(3):
        order = await take_one(database, lease=OVER)
    await hand_back(database, [order])
    await hand_back(database, [order])
    assert (await shop.order(order_id))["claims"] == 2


async def test_an_intent_that_was_never_sent_is_taken_back(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    await start_creation(database, order, CALL)
    await hand_back(database, [order])
    assert (await shop.order(order_id))["create_started_at"] is None


async def test_an_earlier_holders_intent_is_kept(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    await start_creation(database, await take_one(database), CALL)
    await shop.run(f"UPDATE return_order SET lease_until = {shop.moment(-1)}")
    order = await take_one(database)
    assert order.create_started_at is not None
    await hand_back(database, [order])
    assert (await shop.order(order_id))["create_started_at"] is not None


async def test_a_stale_holder_hands_nothing_back(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    stale = await take_one(database, lease=OVER)
    holder = await take_one(database)
    await start_creation(database, holder, CALL)
    before = await shop.order(order_id)
    await hand_back(database, [stale])
    assert await shop.order(order_id) == before


async def test_a_recorded_result_survives_being_handed_back(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    await record(database, [(order, created(order))])
    before = await shop.order(order_id)
    await hand_back(database, [order])
    assert await shop.order(order_id) == before


async def test_many_are_handed_back_at_once_and_only_ones_own(database: Database, shop: Shop) -> None:
    for number in range(6):
        await insert(shop, f"R-{number}")
    taken = [row.order for row in await take(database)]
    mine, others = taken[:3], [order._replace(lease_token=order.lease_token + 1) for order in taken[3:]]
    await hand_back(database, [*others, *mine])
    free = await shop.fetch("SELECT id FROM return_order WHERE lease_owner IS NULL ORDER BY id")
    assert [row["id"] for row in free] == sorted(order.id for order in mine)


async def test_the_first_attempt_is_kept_while_something_may_exist_and_forgotten_when_nothing_was_sent(
    database: Database, shop: Shop
) -> None:
    """A look-up goes back to it: too late and it misses the order, too early and it reads the whole list."""
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    await start_creation(database, order, CALL)
    await hand_back(database, [order])
    assert (await shop.order(order_id))["first_attempt_at"] is None

    order = await take_one(database)
    first = await start_creation(database, order, CALL)
    lost = decide(order, Failed(FailureKind.OUTCOME_UNKNOWN, "?"), datetime.now(UTC), SEARCHABLE, 0.0).order
    await record(database, [(order, Decision(lost._replace(due_at=order.due_at), StepOutcome.RETRYING))])
    order = await take_one(database)
    assert order.first_attempt_at is not None
    assert first is not None
    assert abs(order.first_attempt_at - first) < timedelta(seconds=5)
    kept = order.first_attempt_at
    late = order._replace(lookups=1, due_at=datetime.now(UTC) + timedelta(days=1))
    absent = decide(late, Absent(), datetime.now(UTC), SEARCHABLE, 0.0)
    await record(database, [(order, absent._replace(order=absent.order._replace(due_at=order.due_at)))])
    order = await take_one(database)
    assert (order.create_started_at, order.first_attempt_at) == (None, kept)
    await start_creation(database, order, CALL)
    await hand_back(database, [order])
    assert (await take_one(database)).first_attempt_at == kept


async def test_the_database_knows_the_lease_of_each_length(database: Database, shop: Shop) -> None:
    for milliseconds in (1, 1500, 90_000, 86_400_000):
        order_id = await insert(shop, f"R-{milliseconds}")
        await take(database, lease=timedelta(milliseconds=milliseconds))
        left = await shop.seconds("lease_until", order_id)
        assert abs(left - milliseconds / 1000) < 5
