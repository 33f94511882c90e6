"""What a carrier that leaves doubt costs: one return where it is broken, what is in flight where it breaks."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from tests.databases import on_postgresql
from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.process.running import until
from worker.carriers.port import OutcomeUnknown
from worker.domain.circuits import Circuit
from worker.domain.lifecycle import Step
from worker.domain.outcomes import Created
from worker.domain.ramp import Ramp
from worker.store.accounts import database_now
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.holds import begin_with_one, change_health, read_accounts


def _lost(_: str) -> NoReturn:
    raise OutcomeUnknown("the answer has no usable orderNumber")


def _the_same_number(_: str) -> Created:
    return Created("9RET1", None, has_label=False)


async def _work_off(loop: Loop) -> None:
    """Let the loop turn by itself until it rests."""
    writing = asyncio.create_task(loop.recorder.run())
    await asyncio.wait_for(loop.engine.run(until_idle=True), 30)
    writing.cancel()


async def _held(loop: Loop) -> int:
    return sum(row["state"] == "needs_attention" for row in await loop.rows("state"))


@pytest.mark.parametrize("broken", [_lost, _the_same_number])
async def test_a_carrier_that_is_broken_costs_one_return(
    database: Database, tmp_path: Path, broken: Callable[[str], Created]
) -> None:
    carrier = ScriptedCarrier()
    carrier.on_create = broken
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=8, full_speed=False)
    await loop.insert("FIRST", *(f"R{number}" for number in range(50)))
    if broken is _the_same_number:
        await loop.execute(
            "UPDATE return_order SET state = 'completed', carrier_ref = '9RET1', due_at = NULL WHERE id = 1"
        )
    await _work_off(loop)
    assert (carrier.count("create"), await _held(loop)) == (1, 1)


async def test_a_carrier_that_breaks_at_full_speed_costs_what_is_in_flight_at_that_moment(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=8)
    await loop.insert(*(f"R{number}" for number in range(50)))
    carrier.on_create = _lost
    await _work_off(loop)
    assert (carrier.count("create"), await _held(loop)) == (8, 8)


async def test_one_answer_that_is_lost_leaves_one_in_flight_and_then_it_goes_on(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    carrier.on_create = lambda reference: (
        _lost("") if reference == "R3" else Created(f"N{reference}", None, has_label=False)
    )
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=8)
    await loop.insert(*(f"R{number}" for number in range(60)))
    await _work_off(loop)
    assert (carrier.count("create"), await _held(loop)) == (60, 1)
    state = (await read_accounts(database))["default"]
    assert state.health.creations == Circuit()


async def test_after_a_start_one_is_in_flight_and_then_twice_as_many(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=8, full_speed=False)
    await loop.insert(*(f"R{number}" for number in range(40)))
    carrier.gate.clear()
    for expected in (1, 2, 8):  # one success doubles it, two more make it eight
        for _ in range(3):
            await loop.engine.turn()
        await until(lambda expected=expected: carrier._at_once == expected, 5, lambda: carrier._at_once)
        carrier.gate.set()
        await loop.settle()
        carrier.gate.clear()
    carrier.gate.set()


async def test_a_worker_that_starts_again_and_again_does_not_slow_the_others_down(
    database: Database, tmp_path: Path
) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await begin_with_one(database, ["default"])
    state = (await read_accounts(loop.database))["default"]
    assert state.health.ramp.allowed(state.now) is None  # it began with one a moment ago already
    await loop.execute("UPDATE carrier_account SET create_window_since = NULL")
    await begin_with_one(database, ["default"])
    state = (await read_accounts(loop.database))["default"]
    assert state.health.ramp.allowed(state.now) == 1


@on_postgresql
async def test_over_all_workers_one_is_in_flight_after_a_start(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loops = [
        await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=8, full_speed=False) for _ in range(4)
    ]
    await loops[0].insert(*(f"R{number}" for number in range(50)))
    carrier.gate.clear()
    for _ in range(5):
        await asyncio.gather(*(loop.engine.turn() for loop in loops))
    assert carrier._at_once == 1
    carrier.gate.set()
    for loop in loops:
        await loop.settle()
    assert carrier.count("create") == 1


async def test_while_creations_are_held_back_what_is_in_doubt_is_settled_and_what_was_withdrawn_ends(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=8)
    await loop.insert("DOUBT", *(f"R{number}" for number in range(50)), "GONE")
    await loop.execute("UPDATE return_order SET create_started_at = created_at WHERE reference = 'DOUBT'")
    await loop.execute("UPDATE return_order SET cancel_requested_at = created_at WHERE reference = 'GONE'")
    await change_health(
        database,
        "default",
        lambda health, now: replace(health, creations=Circuit(5, now + timedelta(minutes=15))),
    )
    for _ in range(3):
        await loop.turn()
    states = {row["reference"]: row["state"] for row in await loop.rows("reference, state")}
    assert (states["DOUBT"], states["GONE"]) == ("needs_attention", "cancelled")
    assert carrier.count("create") == 0
    assert all(row["claims"] == 0 and row["lease_owner"] is None for row in await loop.rows("claims, lease_owner"))


async def test_after_a_pause_one_is_in_flight_again(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=8)
    await change_health(
        database,
        "default",
        lambda health, now: replace(health, ramp=Ramp(64, None, now - timedelta(minutes=2))),
    )
    await loop.insert(*(f"R{number}" for number in range(20)))
    carrier.gate.clear()
    for _ in range(3):
        await loop.engine.turn()
    await until(lambda: carrier._at_once, 5)
    assert carrier._at_once == 1
    carrier.gate.set()
    await _work_off(loop)
    assert carrier.count("create") == 20


async def test_a_doubt_that_is_told_between_the_look_and_the_claim_counts(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}, full_speed=False)
    await loop.insert("R1")
    opened = Circuit(5, await database_now(database) + timedelta(seconds=30))
    await change_health(database, "default", lambda health, now: replace(health, creations=opened))
    lane, lease = [Lane("default", Step.CREATE, 1)], timedelta(seconds=90)
    assert await claim(database, lane, "test", lease, careful={"default": False}) == []
    assert len(await claim(database, lane, "test", lease, careful={"default": True})) == 1
