"""A hint wakes a sleeping worker; without the hint its tick finds the same row."""

import asyncio
import json
import random
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.process.running import PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from tests.process.test_recovery import _cpu_seconds
from worker.simulator import Simulator

Start = Callable[..., RunningWorker]

SOON = 2.0  # seconds; much less than the tick below, much more than a busy machine needs
ASLEEP = {  # nothing but a hint ends the sleep of a worker whose returns are all followed
    "RETURNS_WORKER_WORKER__TICK": "30s",
    "RETURNS_WORKER_POLLING__FIRST": "1h",
    "RETURNS_WORKER_POLLING__CAP": "1h",
}
TICKING = ASLEEP | {"RETURNS_WORKER_WORKER__TICK": "500ms"}
HINTLESS = {"RETURNS_WORKER_DATABASE__WAKE": "false"}
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '% (wake)'"
DISABLED = "ALTER TABLE return_order DISABLE TRIGGER return_order_wake_on_insert"


async def test_a_row_inserted_by_sql_and_a_request_wake_a_sleeping_worker(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await _asleep(start(**ASLEEP), shop)
    await shop.insert("R-2")
    await until(lambda: len(carrier.requests("create")) == 2, SOON, lambda: worker.log_text)
    await until(lambda: _count(shop, "SELECT id FROM label", 2), SOON, lambda: worker.log_text)
    await asyncio.sleep(0.3)  # a request beside the worker's own last commit would be left to the tick on SQLite
    await shop.execute("UPDATE return_order SET cancel_requested_at = created_at WHERE reference = 'R-2'")
    await until(lambda: shop.is_in("R-2", "cancelled"), SOON, lambda: worker.log_text)
    assert await worker.stopped() == 0


@on_postgresql
@pytest.mark.usefixtures("own_database")
async def test_with_the_hint_switched_off_by_trigger_or_by_setting_the_tick_finds_the_row(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    listening, deaf = start(**TICKING), start(**TICKING, **HINTLESS)
    await _asleep(listening, shop)
    await deaf.ready()
    assert len(await shop.execute(LISTENERS)) == 1
    await shop.execute(DISABLED)
    await shop.insert("R-2")
    await until(lambda: shop.is_in("R-2", "tracking"), SOON, lambda: listening.log_text)
    assert await listening.stopped() == 0
    await shop.insert("R-3")
    await until(lambda: shop.is_in("R-3", "tracking"), SOON, lambda: deaf.log_text)


@on_sqlite
async def test_a_worker_that_shall_not_be_woken_finds_the_row_by_its_tick(start: Start, shop: Shop) -> None:
    worker = await start(**TICKING, **HINTLESS).ready()
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "tracking"), SOON, lambda: worker.log_text)


@on_postgresql
async def test_a_listening_connection_that_is_cut_is_no_outage_and_is_made_again(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await _asleep(start(**ASLEEP), shop)
    for number in (2, 3):
        (before,) = await shop.execute(LISTENERS)
        await shop.execute("SELECT pg_terminate_backend(?1)", before["pid"])
        if number == 2:  # while nobody listens: it is found when somebody does again
            await shop.insert("R-2")
        await until(lambda before=before: _another(shop, before["pid"]), 5, lambda: worker.log_text)
        if number == 3:
            await shop.insert("R-3")
        reference = f"R-{number}"
        await until(lambda reference=reference: shop.is_in(reference, "tracking"), SOON, lambda: worker.log_text)
    assert {line["level"] for line in worker.events if line["event"] == "listening_failed"} == {"debug"}
    assert not worker.saw("database_unavailable")
    assert await worker.stopped() == 0


@on_postgresql
@pytest.mark.parametrize("count", [2, pytest.param(16, marks=pytest.mark.long)])
async def test_a_burst_of_hints_costs_idle_workers_little(
    count: int, start: Start, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Returns of an account that nobody has: every worker is woken by each, and none has anything to do."""
    workers = [start(**ASLEEP) for _ in range(count)]
    for worker in workers:
        await worker.ready()
    await until(lambda: _count(shop, LISTENERS, count), 5, lambda: workers[0].log_text)
    cpu = [_cpu_seconds(worker) for worker in workers]
    began = time.monotonic()
    connection = await asyncpg.connect(shop.url)
    for number in range(1000):
        await connection.execute(
            "INSERT INTO return_order (account, reference, payload) VALUES ('x', $1, '{}')", f"{number}"
        )
    await connection.close()
    seconds = time.monotonic() - began
    used = max(_cpu_seconds(worker) - before for worker, before in zip(workers, cpu, strict=True))
    with capsys.disabled():
        print(f"\n1000 hints in {seconds:.1f} s cost each of {count} idle workers {used * 1000:.0f} ms of a core")
    assert used < max(seconds, 1.0) * 0.5


@pytest.mark.parametrize("count", [15, pytest.param(200, marks=pytest.mark.long)])
async def test_a_request_is_at_the_carrier_soon_after_its_insert(
    count: int,
    start: Start,
    database_url: str,
    shop: Shop,
    carrier: Simulator,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A tick is one second; the median and the worst of a hundred, measured from before the statement was sent.

    In the short form a tick is ten, so that a busy machine too shows that it is not the tick that found it.
    """
    tick = "10s" if count < 200 else "1s"
    worker = await _asleep(start(**ASLEEP | {"RETURNS_WORKER_WORKER__TICK": tick}), shop)
    chance = random.Random()
    taken: list[float] = []
    async with _inserting(database_url) as insert:
        for number in range(count):
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            known = len(carrier.requests("create"))
            began = time.monotonic()
            await insert(f"L-{number}")
            await until(lambda known=known: len(carrier.requests("create")) > known, 15, lambda: worker.log_text)
            taken.append(carrier.requests("create")[-1].at - began)
    median, worst = statistics.median(taken), sorted(taken)[int(count * 0.99) - 1]
    with capsys.disabled():
        kind = database_url.partition(":")[0]
        print(f"\n{kind}: {count} inserts, median {median * 1000:.0f} ms, p99 {worst * 1000:.0f} ms")
    if count < 200:
        assert median < 2.0  # the tick's would be five seconds
    elif database_url.startswith("sqlite"):
        assert worst < 1.0
    else:
        assert median < 0.05
        assert worst < 0.25


async def _asleep(worker: RunningWorker, shop: Shop) -> RunningWorker:
    """It has found its first return, and has nothing more to do."""
    await worker.ready()
    await shop.insert("R-1")
    await until(lambda: shop.execute("SELECT id FROM label"), 10, lambda: worker.log_text)
    return worker


async def _another(shop: Shop, pid: int) -> bool:
    return [row["pid"] for row in await shop.execute(LISTENERS)] not in ([], [pid])


async def _count(shop: Shop, statement: str, count: int) -> bool:
    return len(await shop.execute(statement)) == count


@asynccontextmanager
async def _inserting(url: str) -> AsyncIterator[Callable[[str], Awaitable[object]]]:
    """A shop that keeps its connection."""
    statement = "INSERT INTO return_order (reference, payload) VALUES ($1, $2)"
    payload = json.dumps(PAYLOAD)
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        connection = sqlite3.connect(file, timeout=10, isolation_level=None, check_same_thread=False)
        named = statement.replace("$", "?")
        try:
            yield lambda reference: asyncio.to_thread(connection.execute, named, (reference, payload))
        finally:
            connection.close()
        return
    own = await asyncpg.connect(url)
    try:
        yield lambda reference: own.execute(statement, reference, payload)
    finally:
        await own.close()
