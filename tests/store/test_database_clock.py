"""What a clock that was ahead has left in the database keeps nothing waiting; and how the clock goes is remembered."""

from datetime import timedelta

import pytest

from tests.databases import on_sqlite
from tests.store.rows import LEASE, insert, insert_tracked, take
from tests.store.shop import Shop
from worker.domain.clocks import Clock
from worker.domain.decision import Hold
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import Step
from worker.domain.pacing import Pace
from worker.domain.policy import Policy
from worker.store.accounts import database_now, read_agendas, register_accounts, take_tokens
from worker.store.claims import Lane, claim, claim_to_settle
from worker.store.database import Database
from worker.store.database_clock import is_believed, keep_clock, read_clock
from worker.store.holds import begin_with_one, describe, hold_account, hold_by_hand, read_accounts, read_holds
from worker.store.leases import COMMAND, end_leases
from worker.store.queries import read_backlog
from worker.store.upkeep import choice

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
A_DAY, A_YEAR = 86_400, 365 * 86_400


async def _lease_all(shop: Shop, seconds: float) -> None:
    await shop.run(
        f"UPDATE return_order SET lease_owner = 'host:1:x', lease_until = {shop.moment(seconds)}, claims = 1"
    )


@pytest.mark.parametrize("seconds", [A_DAY, A_YEAR])
async def test_a_lease_that_a_clock_ahead_has_written_holds_nobody_up(
    database: Database, shop: Shop, seconds: float
) -> None:
    doubtful = await insert(shop, "R-1")
    await register_accounts(database, ["default"])
    await _lease_all(shop, seconds)
    assert (await read_agendas(database, ["default"], 10))["default"].due[Step.CREATE] == 1
    assert [row.due for row in await read_backlog(database)] == [1]
    assert [row.order.claims for row in await take(database)] == [2]
    await _lease_all(shop, seconds)
    assert len(await claim(database, [Lane("default", Step.CREATE, 9)], "w", LEASE, careful={"default": False})) == 1
    await _lease_all(shop, seconds)
    assert len(await choice.take(database, [doubtful], "command:w", LEASE)) == 1
    await shop.run("UPDATE return_order SET create_started_at = created_at, claims = 0")
    await shop.run(f"UPDATE return_order SET lease_owner = 'host:1:x', lease_until = {shop.moment(seconds)}")
    assert len(await claim_to_settle(database, "default", 9, "w", LEASE)) == 1


async def test_the_longest_lease_that_may_be_configured_holds(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    assert len(await take(database, lease=HOUR)) == 1
    assert await take(database) == []


@on_sqlite
async def test_who_has_the_file_ends_what_killed_workers_held_and_leaves_a_command_its_returns(
    database: Database, shop: Shop
) -> None:
    for reference in ("W", "C"):
        await insert(shop, reference)
    await _lease_all(shop, 60)
    await shop.run(f"UPDATE return_order SET lease_owner = '{COMMAND}host:1:x' WHERE reference = 'C'")
    assert await end_leases(database) == 0, "another worker may have the file"
    database.hold_file()
    assert await end_leases(database) == 1
    assert [(row.order.reference, row.order.claims) for row in await take(database)] == [("W", 2)]


@pytest.mark.parametrize("seconds", [300, 3600, A_YEAR])
async def test_what_was_spent_under_a_clock_ahead_keeps_an_account_waiting_for_no_longer_than_a_token(
    database: Database, shop: Shop, seconds: float
) -> None:
    await register_accounts(database, ["one"])
    await shop.run(f"UPDATE carrier_account SET spent_until = {shop.moment(seconds)}")
    pace = Pace(60_000)
    assert (await take_tokens(database, "one", pace, 1)).wait <= pace.interval
    for _ in range(1000):
        if (await take_tokens(database, "one", pace, 1)).tokens:
            break
    else:
        pytest.fail("no token has grown")


async def test_a_hold_further_ahead_than_a_carrier_may_ask_for_is_over_and_a_person_s_is_not(
    database: Database, shop: Shop
) -> None:
    await register_accounts(database, ["one", "two", "three"])
    at = await database_now(database)
    await hold_account(database, "one", Hold(at + DAY, ErrorCode.CARRIER_BUSY, "429"), None)
    await hold_account(database, "two", Hold(None, ErrorCode.CARRIER_KEY_REFUSED, "401"), "key")
    await hold_by_hand(database, "three", at + DAY, "a holiday")
    assert set(await read_holds(database)) == {"two", "three"}
    assert describe((await read_accounts(database))["one"]) == "ok"
    agendas = await read_agendas(database, ["one", "two", "three"], 10)
    assert [agendas[name].held_until is not None for name in ("one", "two", "three")] == [False, True, True]
    for name in ("one", "two", "three"):
        await hold_account(database, name, Hold(at + HOUR / 2, ErrorCode.CARRIER_BUSY, "429"), None)
    kept = await read_holds(database)
    assert kept["one"].until < at + HOUR, "the carrier's word counts, and not what the wrong clock has left"
    assert [kept[name].message for name in ("one", "two", "three")] == ["429", "401", "a holiday"]


async def test_a_circuit_opened_under_a_clock_ahead_is_tried_at_once(database: Database, shop: Shop) -> None:
    await register_accounts(database, ["one"])
    await shop.run(f"UPDATE carrier_account SET failures = 5, open_until = {shop.moment(A_DAY)}")
    health = (await read_agendas(database, ["one"], 10))["one"].health
    assert not health.account.is_open(await database_now(database)) and not health.account.is_closed
    assert describe((await read_accounts(database))["one"]) == "tried one at a time after 5 failures in a row"


async def test_a_ramp_begun_under_a_clock_ahead_begins_anew(database: Database, shop: Shop) -> None:
    await register_accounts(database, ["one"])
    await shop.run(f"UPDATE carrier_account SET create_window = 8, create_window_since = {shop.moment(A_DAY)}")
    await begin_with_one(database, ["one"])
    assert await shop.value("SELECT create_window FROM carrier_account") == 1


async def test_what_was_put_off_or_leased_further_ahead_than_can_be_is_counted_and_nothing_else(
    database: Database, shop: Shop
) -> None:
    longest = Policy().longest_wait
    beyond = longest.total_seconds() + 60
    await insert_tracked(shop, "put off", due=beyond)
    await insert_tracked(shop, "as far as can be", due=beyond - 120)
    await insert(shop, "failed", due=beyond, error_code="carrier_unreachable")
    await insert(shop, "the shop's own moment", due=A_YEAR)
    await insert_tracked(shop, "held by a worker")
    await _lease_all(shop, 90)
    order_id = await insert_tracked(shop, "held too long")
    held = f"lease_owner = 'w', lease_until = {shop.moment(A_DAY)}"
    await shop.run(f"UPDATE return_order SET {held} WHERE id = {order_id}")
    assert sum(row.stranded for row in await read_backlog(database, longest)) == 3


async def test_how_the_clock_goes_is_remembered_for_whoever_starts_next(database: Database) -> None:
    assert await read_clock(database) is None
    assert await is_believed(database), "nobody knows better"
    at = await database_now(database)
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    for clock, believed in (
        (Clock(at), True),
        (Clock(at - HOUR, at - 2 * HOUR), True),
        (Clock(at, at), False),
        (Clock(at + 70 * DAY), False),
        (Clock(at - 70 * DAY), False),
    ):
        await keep_clock(database, clock)
        assert await read_clock(database) == clock
        assert await is_believed(database) is believed
