"""An address that takes no creations by its answer gets no further one; everything else about the account goes on."""

import json
from pathlib import Path
from typing import NoReturn

import pytest

from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from worker.carriers.port import Creation, WrongAddress
from worker.domain.payload import InvalidPayload
from worker.domain.returns import ReturnOrder
from worker.store.database import Database
from worker.store.holds import describe, read_accounts, release_by_hand

ADDRESS = "https://carrier.test/v1"


def _no_such_page(_: str) -> NoReturn:
    raise WrongAddress("the carrier answered 404: Not Found")


class Strict(ScriptedCarrier):
    def prepare(self, order: ReturnOrder) -> Creation:
        if "bad" in json.loads(order.payload or "{}"):
            raise InvalidPayload(("bad: is not known here",))
        return super().prepare(order)


@pytest.fixture
async def stopped(database: Database, tmp_path: Path) -> tuple[Loop, ScriptedCarrier]:
    """A loop whose first creation was answered by 404, with nine more due."""
    carrier = Strict()
    carrier.on_create = _no_such_page
    loop = await make_loop(database, tmp_path, {"default": carrier}, full_speed=False)
    loop.accounts["default"].address = ADDRESS
    await loop.insert(*(f"R{number}" for number in range(10)))
    for _ in range(12):
        await loop.turn()
    return loop, carrier


async def _due_now(loop: Loop) -> None:
    """What waits is looked at again, and the circuit that the doubt opened is over."""
    await loop.execute("UPDATE return_order SET due_at = created_at WHERE due_at IS NOT NULL")
    await loop.execute("UPDATE carrier_account SET create_failures = 0, create_open_until = NULL")


async def test_one_return_is_in_doubt_and_the_others_wait_unsent(stopped: tuple[Loop, ScriptedCarrier]) -> None:
    loop, carrier = stopped
    await _due_now(loop)
    for _ in range(12):
        await loop.turn()
    assert carrier.count("create") == 1
    rows = await loop.rows("state, error_code, create_started_at, attempts")
    assert [row["state"] for row in rows] == ["needs_attention"] + ["pending"] * 9
    assert {(row["error_code"], row["create_started_at"], row["attempts"]) for row in rows[1:]} == {
        ("carrier_unreachable", None, 0)
    }
    said = describe((await read_accounts(loop.database))["default"])
    assert f"no creation is sent to {ADDRESS} until it is released" in said


async def test_withdrawals_and_the_check_of_payloads_go_on(stopped: tuple[Loop, ScriptedCarrier]) -> None:
    loop, carrier = stopped
    await _due_now(loop)
    await loop.insert("BAD")
    await loop.execute("UPDATE return_order SET payload = '{\"bad\": 1}' WHERE reference = 'BAD'")
    await loop.execute("UPDATE return_order SET cancel_requested_at = created_at WHERE reference = 'R5'")
    for _ in range(14):
        await loop.turn()
    states = {row["reference"]: row["state"] for row in await loop.rows("reference, state")}
    assert (states["BAD"], states["R5"], states["R6"]) == ("rejected", "cancelled", "pending")
    assert carrier.count("create") == 1


async def test_another_address_is_sent_to_and_the_old_one_stays_stopped(stopped: tuple[Loop, ScriptedCarrier]) -> None:
    loop, carrier = stopped
    carrier.on_create = ScriptedCarrier().on_create
    await _due_now(loop)
    loop.accounts["default"].address = "https://carrier.test/v2"
    await loop.turn()
    assert carrier.count("create") == 2
    loop.accounts["default"].address = ADDRESS
    for _ in range(3):
        await loop.turn()
    assert carrier.count("create") == 2


async def test_a_release_lets_everything_that_waited_be_sent_at_once(stopped: tuple[Loop, ScriptedCarrier]) -> None:
    loop, carrier = stopped
    carrier.on_create = ScriptedCarrier().on_create
    await _due_now(loop)
    for _ in range(12):  # each is looked at, and waits for a minute
        await loop.turn()
    assert await loop.due_now() == 0
    await release_by_hand(loop.database, "default")
    assert await loop.due_now() == 9
    for _ in range(12):
        await loop.turn()
    assert carrier.count("create") == 10
    assert [row["state"] for row in await loop.rows("state")] == ["needs_attention"] + ["tracking"] * 9
