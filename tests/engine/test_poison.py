"""A row that kills its worker is parked after five claims, and takes none of those with it that were beside it."""

import asyncio
from pathlib import Path

from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.process.running import until
from worker.domain.outcomes import Tracked
from worker.domain.pacing import Pace
from worker.domain.policy import MAX_CLAIMS
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.store.database import Database


class Deadly(ScriptedCarrier):
    """One return's status kills whoever asks for it; the others' take a while."""

    def __init__(self) -> None:
        super().__init__()
        self.died = asyncio.Event()

    async def track(self, order: ReturnOrder) -> Tracked:
        self.calls.append(("track", order.reference))
        if order.reference == "POISON":
            self.died.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0.05)
        return Tracked(TrackingUpdate(TrackingStatus.DELIVERED, "Delivered"))


async def one_life(database: Database, folder: Path) -> tuple[Loop, list[str]]:
    """A worker works until it dies or has nothing to do; what it held is claimable then. Returns whom it asked for."""
    carrier = Deadly()
    loop = await make_loop(database, folder, {"default": carrier}, max_in_flight=8)
    writing = asyncio.create_task(loop.recorder.run())
    working = asyncio.create_task(loop.engine.run(until_idle=True))
    dying = asyncio.create_task(carrier.died.wait())
    await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, dying, writing, *loop.engine.running.tasks):
        task.cancel()
    await asyncio.gather(working, dying, writing, *loop.engine.running.tasks, return_exceptions=True)
    await loop.execute("UPDATE return_order SET lease_until = created_at WHERE lease_until IS NOT NULL")
    return loop, [reference for _, reference in carrier.calls]


async def test_a_row_that_kills_its_worker_takes_no_other_with_it(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    innocents = [f"I-{number}" for number in range(9)]
    await loop.insert(*innocents[:4], "POISON", *innocents[4:], state="tracking")
    deaths = 0
    for _ in range(20):
        loop, asked = await one_life(database, tmp_path)
        if "POISON" not in asked:
            break
        deaths += 1
    rows = {row["reference"]: row for row in await loop.rows()}
    assert deaths == MAX_CLAIMS
    assert (rows["POISON"]["state"], rows["POISON"]["error_code"]) == ("needs_attention", "worker_crashed")
    assert {rows[reference]["state"] for reference in innocents} == {"completed"}


async def test_a_suspect_gets_its_turn_among_many_that_are_due_and_they_get_theirs(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, pace=Pace(6000))
    await loop.insert("SUSPECT", *(f"I-{number}" for number in range(12)), state="tracking")
    await loop.execute("UPDATE return_order SET claims = 2 WHERE reference = 'SUSPECT'")
    carrier.gate.clear()
    loop.now[0] += 1
    turning = asyncio.create_task(loop.engine.run(until_idle=True))
    writing = asyncio.create_task(loop.recorder.run())
    await until(lambda: carrier.count("track") == 1, 5)
    assert carrier.calls == [("track", "SUSPECT")]  # alone, with places free for others
    carrier.gate.set()
    await until(lambda: carrier.count("track") == 13, 10)
    await asyncio.wait_for(turning, 10)
    writing.cancel()
    assert {(row["lease_owner"], row["claims"]) for row in await loop.rows()} == {(None, 0)}
