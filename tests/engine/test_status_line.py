"""What an operator is told that the worker does, and that the loop shows its progress whatever it waits for."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path

from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.process.running import until
from tests.runtime.manager import Manager
from worker.carriers.port import Unauthorized
from worker.engine.gauges import Gauges
from worker.engine.running import Timing
from worker.runtime.systemd import Pulse, ServiceManager
from worker.store.database import Database
from worker.store.holds import hold_by_hand


def told_of(loop: Loop) -> Gauges:
    return Gauges(loop.tools, dict)


def said_by(loop: Loop, gauges: Gauges) -> str:
    return gauges.status(is_draining=loop.engine.running.is_draining)


async def test_it_says_what_is_in_flight_what_is_due_and_which_account_waits_for_what(
    database: Database, tmp_path: Path
) -> None:
    carrier, other = ScriptedCarrier(), ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier, "america": other}, max_in_flight=2)
    gauges = told_of(loop)

    def said() -> str:
        return said_by(loop, gauges)

    assert said() == "0 steps in flight, 0 returns due"
    await loop.insert("R1", "R2", "R3")
    await hold_by_hand(database, "america", None, "a person's own words")
    carrier.gate.clear()
    await loop.engine.turn()
    await gauges.refresh()
    assert said() == ("2 steps in flight, 1 return due; account america held until it is released (held_by_person)")
    loop.engine.running.begin_to_drain()
    assert said() == "2 steps in flight"
    carrier.gate.set()
    await loop.settle()


async def test_a_refused_key_is_named_by_its_code_and_not_by_what_the_carrier_said(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})

    def refuse(reference: str) -> None:
        raise Unauthorized(f"no such key, says the carrier about {reference}")

    carrier.on_create = refuse  # type: ignore[assignment]
    await loop.insert("R1")
    await loop.turn()
    gauges = told_of(loop)
    await gauges.refresh()
    said = said_by(loop, gauges)
    assert said.endswith("account default held until its key changes, or it is released (carrier_key_refused)")
    assert "R1" not in said


async def test_a_loop_that_waits_out_an_absent_database_shows_its_progress_and_says_since_when(
    database: Database, tmp_path: Path
) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}, timing=Timing(lease=90.0, tick=0.05))
    there = loop.tools.database
    loop.tools.database = Database("postgresql://nobody@127.0.0.1:1/none")
    running = asyncio.create_task(loop.engine.run())
    for _ in range(3):  # again and again, not only when it finds out
        loop.now[0] += 1000.0
        await until(lambda: loop.engine.running.turned_at == loop.now[0], 10)
    said = said_by(loop, told_of(loop))
    assert re.fullmatch(r"the database is away since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; 0 steps in flight", said)
    loop.tools.database = there
    turned = loop.now[0] = loop.now[0] + 1.0
    await until(lambda: loop.engine.running.turned_at == turned, 10)
    await loop.engine.drain()
    await running


async def test_a_loop_that_waits_for_a_slow_carrier_shows_its_progress(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(
        database, tmp_path, {"default": carrier}, max_in_flight=1, timing=Timing(lease=90.0, tick=0.05)
    )
    await loop.insert("R1", "R2")
    carrier.gate.clear()
    running = asyncio.create_task(loop.engine.run(until_idle=True))
    await until(lambda: carrier.count("create") == 1, 5)
    for _ in range(3):
        loop.now[0] += 10.0
        await until(lambda: loop.engine.running.turned_at == loop.now[0], 10)
    carrier.gate.set()
    writing = asyncio.create_task(loop.recorder.run())
    await loop.engine.drain()
    await running
    writing.cancel()


async def test_a_loop_that_has_stopped_is_not_fed(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}, timing=Timing(lease=90.0, tick=0.02))
    running = asyncio.create_task(loop.engine.run())
    with Manager() as manager:
        service = ServiceManager({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "60000"})
        limit = timedelta(minutes=2).total_seconds()
        looks = 0

        def goes_on() -> bool:
            nonlocal looks
            looks += 1
            return loop.now[0] - loop.engine.running.turned_at <= limit

        pulse = Pulse(service, goes_on=goes_on, status=lambda: "at work")
        pulse.start("")
        pulse.ready()
        loop.now[0] += limit + 1
        await until(lambda: loop.engine.running.turned_at == loop.now[0], 5)
        fed = len(manager.all("WATCHDOG"))
        await until(lambda: len(manager.all("WATCHDOG")) > fed, 5)
        running.cancel()  # from here on nothing is advanced, while everything else in the process goes on
        await asyncio.wait({running})
        loop.now[0] += limit + 1
        looked, fed = looks, len(manager.all("WATCHDOG"))
        await until(lambda: looks > looked + 3, 5)
        assert len(manager.all("WATCHDOG")) == fed
        await pulse.end()
