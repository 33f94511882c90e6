"""A question that a person asks, and gives up."""

import asyncio
from pathlib import Path

import pytest

from tests.engine.scripted import POLICY, ScriptedCarrier, make_loop
from tests.process.running import until
from worker.domain.by_hand import Person
from worker.engine.meter import Meter
from worker.store.database import Database
from worker.usecases.carrier import Opened
from worker.usecases.poll_now import Asker


async def test_a_question_that_is_given_up_holds_the_return_no_longer(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    carrier.gate.clear()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("T0", state="tracking")
    opened = Opened(
        database=database,
        account="default",
        carrier=carrier,
        meter=Meter(database, "default", None, lambda: 0.0),
        policy=POLICY,
        timeout=20.0,
        key=lambda: "key",
        near=["default"],
    )
    asker = Asker(opened, owner="command", clock=lambda: 0.0, chance=lambda: 0.5)
    asking = asyncio.create_task(asker.ask((await loop.rows("id"))[0]["id"], Person("anna")))
    await until(lambda: carrier.calls, 5)
    assert await loop.rows("lease_owner") == [{"lease_owner": "command"}]
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await loop.rows("lease_owner, claims") == [{"lease_owner": None, "claims": 0}]
