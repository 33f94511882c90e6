"""An account whose carrier fails again and again is left alone by every worker, and one of them tries at a time."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.databases import on_postgresql
from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from worker.carriers.port import OutcomeUnknown, Throttled, Unavailable
from worker.domain.circuits import Circuit, Health
from worker.domain.outcomes import Created
from worker.domain.pacing import Pace
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.engine.running import Timing
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.holds import change_health, hold_creations, read_accounts


def _down(_: str) -> NoReturn:
    raise Unavailable("the carrier answered 500")


def _lost(_: str) -> NoReturn:
    raise OutcomeUnknown("the connection was cut after the creation was sent")


def _well(_: str) -> TrackingUpdate:
    return TrackingUpdate(TrackingStatus.IN_TRANSIT, "OnItsWay")


def _created(reference: str) -> Created:
    return Created(f"N{reference}", None, has_label=False)


async def _health(loop: Loop) -> Health:
    return (await read_accounts(loop.database))["default"].health


async def _time_goes_by(loop: Loop) -> None:
    """The circuits' time is over; their failures stay."""

    def over(health: Health, now: object) -> Health:
        def ended(circuit: Circuit) -> Circuit:
            return circuit if circuit.is_closed else Circuit(circuit.failures, now)  # type: ignore[arg-type]

        return Health(ended(health.account), ended(health.creations), health.ramp)

    await change_health(loop.database, "default", over)


@pytest.fixture
async def sick(database: Database, tmp_path: Path) -> tuple[Loop, ScriptedCarrier]:
    """Eight polls due at a carrier that failed at the first four and the next four, which opened the circuit."""
    carrier = ScriptedCarrier()
    carrier.on_track = _down
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=4)
    await loop.insert(*(f"T{number}" for number in range(20)), state="tracking")
    for _ in range(4):
        await loop.turn()
    return loop, carrier


async def test_an_account_that_fails_again_and_again_is_asked_no_more(sick: tuple[Loop, ScriptedCarrier]) -> None:
    loop, carrier = sick
    asked = carrier.count("track")
    assert 5 <= asked <= 10  # those that were under way when the fifth failed
    for _ in range(3):
        await loop.turn()
    assert carrier.count("track") == asked
    health = await _health(loop)
    assert health.account.failures == 5
    assert health.account.is_open(await database_now(loop.database))
    rows = await loop.rows("attempts, state")
    assert {(row["state"], row["attempts"]) for row in rows} == {("tracking", 0)}  # none of them is to blame


async def test_one_probe_closes_it_when_the_carrier_is_well_again(sick: tuple[Loop, ScriptedCarrier]) -> None:
    loop, carrier = sick
    asked = carrier.count("track")
    await _time_goes_by(loop)
    await loop.turn()
    assert carrier.count("track") == asked + 1  # it failed
    await loop.turn()
    assert carrier.count("track") == asked + 1
    assert (await _health(loop)).account.failures == 6
    carrier.on_track = _well
    await _time_goes_by(loop)
    await loop.turn()
    assert carrier.count("track") == asked + 2
    assert (await _health(loop)).circuits == Health().circuits
    for _ in range(9):
        await loop.turn()
    assert carrier.count("track") == 20  # those that failed wait for their next try


@on_postgresql
async def test_of_several_workers_one_tries(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loops = [await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=4) for _ in range(3)]
    await loops[0].insert(*(f"T{number}" for number in range(9)), state="tracking")
    await change_health(database, "default", lambda _, now: Health(Circuit(5, now)))
    carrier.gate.clear()
    for loop in loops:
        await loop.engine.turn()
    for loop in loops:
        await loop.engine.turn()
    carrier.gate.set()
    for loop in loops:
        await loop.settle()
    assert carrier.count("track") == 1


async def test_a_probe_that_cannot_be_tried_is_another_s(database: Database, tmp_path: Path) -> None:
    """Such as a row that the shop locks, or that another worker took in that moment."""
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, timing=Timing(lease=20.0, tick=3600.0))
    await loop.insert("T0", state="tracking")
    await change_health(database, "default", lambda _, now: Health(Circuit(5, now)))
    await loop.turn()  # the lease is too short for the call: it is handed back
    assert carrier.calls == []
    state = (await read_accounts(database))["default"]
    assert state.health.account.failures == 5 and not state.health.account.is_open(state.now)


async def test_a_carrier_that_loses_creations_gets_few_of_them_and_polls_go_on(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    carrier.on_create = _lost
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=2)
    await loop.insert(*(f"C{number}" for number in range(20)))
    await loop.insert(*(f"T{number}" for number in range(20)), state="tracking")
    for _ in range(40):
        await loop.turn()
    assert carrier.count("create") == 2  # what was in flight; each of them asks a person
    assert carrier.count("track") == 20
    await _time_goes_by(loop)
    await loop.turn()
    assert carrier.count("create") == 3
    carrier.on_create = _created
    await _time_goes_by(loop)
    for _ in range(20):
        await loop.turn()
    assert {row["state"] for row in await loop.rows("state")} == {"tracking", "needs_attention"}
    assert (await _health(loop)).circuits == Health().circuits


async def test_held_creations_wait_and_everything_else_goes_on(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("C1")
    await loop.insert("T1", state="tracking")
    await hold_creations(database, "default", "by anna")
    for _ in range(2):
        await loop.turn()
    assert carrier.calls == [("track", "T1")]


async def test_one_sick_account_costs_another_nothing(database: Database, tmp_path: Path) -> None:
    sick, well = ScriptedCarrier(), ScriptedCarrier()
    sick.on_track = _down
    loop = await make_loop(database, tmp_path, {"sick": sick, "well": well}, max_in_flight=3)
    for name in ("sick", "well"):
        await loop.insert(*(f"{name}{number}" for number in range(12)), state="tracking", account=name)
    for _ in range(6):
        await loop.turn()
    assert well.count("track") == 12
    assert sick.count("track") < 12


def _throttled(_: str) -> NoReturn:
    raise Throttled("the carrier asks to wait (429)", retry_after=timedelta(days=365))


@pytest.mark.parametrize("behave", [_throttled])
async def test_a_year_s_wait_is_capped_and_said(
    database: Database, tmp_path: Path, behave: Callable[[str], NoReturn]
) -> None:
    carrier = ScriptedCarrier()
    carrier.on_track = behave
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=1)
    await loop.insert("T1", state="tracking")
    await loop.turn()
    state = (await read_accounts(database))["default"]
    assert state.hold is not None and state.hold.until - state.now <= timedelta(hours=1)
    assert state.hold.message == ("the carrier asks to wait (429); it asked for 365d, 1h is waited")


async def test_a_carrier_whose_polls_alone_fail_still_gets_creations(sick: tuple[Loop, ScriptedCarrier]) -> None:
    loop, carrier = sick
    await loop.insert("C0")
    for _ in range(4):
        await _time_goes_by(loop)
        await loop.turn()
    assert carrier.count("create") == 1


@on_postgresql
async def test_a_locked_row_does_not_keep_its_account_from_being_tried(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("T0", state="tracking")
    await loop.insert("C0", "C1")
    await change_health(database, "default", lambda _, now: Health(Circuit(5, now)))
    async with AsyncEngine(database.engine).connect() as shop:
        await shop.execute(text("SELECT 1 FROM return_order WHERE reference = 'T0' FOR UPDATE"))
        for _ in range(3):
            await loop.turn()
        await shop.rollback()
    assert carrier.calls == [("create", "C0"), ("create", "C1")]


async def test_labels_that_are_not_ready_show_that_the_carrier_is_well(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("L0", "L1", state="tracking")
    await loop.execute("UPDATE return_order SET next_step = 'label', label_due_at = due_at")
    await change_health(database, "default", lambda _, now: Health(Circuit(5, now)))
    await loop.turn()
    assert (carrier.calls, (await _health(loop)).circuits) == ([("label", "L0")], Health().circuits)


@on_postgresql
async def test_a_lock_on_one_account_s_row_keeps_no_other_account(database: Database, tmp_path: Path) -> None:
    sick, well = ScriptedCarrier(), ScriptedCarrier()
    sick.on_track = _down
    loop = await make_loop(database, tmp_path, {"sick": sick, "well": well}, max_in_flight=2, pace=Pace(600))
    for name in ("sick", "well"):
        await loop.insert(*(f"{name}{number}" for number in range(10)), state="tracking", account=name)
    await loop.turn()
    async with AsyncEngine(database.engine).begin() as connection:
        await connection.execute(text("SELECT 1 FROM carrier_account WHERE name = 'sick' FOR UPDATE"))
        asked = sick.count("track")
        for _ in range(8):
            await asyncio.wait_for(loop.turn(), 5)
        assert well.count("track") == 10
        assert sick.count("track") <= asked + 2 * 60  # by tokens that were in hand
    for _ in range(8):
        await loop.turn()
    assert sick.count("track") > asked
