"""A database that takes every byte and answers nothing: calls end in time, and so does a shutdown."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.databases import on_postgresql
from tests.process.running import PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from tests.proxy import Proxy
from worker.simulator import Simulator
from worker.simulator.faults import trickle

Start = Callable[..., RunningWorker]
pytestmark = on_postgresql

LEASE, TIMEOUT, GRACE = 5, 2, 5  # seconds, as in the configuration of these tests


@pytest.fixture
async def to_database(config: Path, database_url: str) -> AsyncIterator[Proxy]:
    """What the worker takes for its database; the shop has its own way in."""
    parts = urlsplit(database_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with Proxy(parts.hostname, parts.port) as proxy:
        config.write_text(config.read_text().replace(f":{parts.port}/", f":{proxy.port}/"))
        yield proxy


@pytest.mark.long
async def test_calls_end_within_a_lease_when_the_database_answers_nothing_and_go_on_when_it_does(
    to_database: Proxy, start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    for number in range(20):
        await shop.insert(f"R-{number}", {**PAYLOAD, "description": f"sim:stuck {number}"})
    await until(lambda: len(carrier.requests("status")) > 50, 20, lambda: worker.log_text)
    to_database.freeze()
    frozen_at = time.monotonic()
    await asyncio.sleep(LEASE + TIMEOUT + 1)
    last = max(request.at for request in carrier.ledger)
    assert last - frozen_at < LEASE
    assert carrier.ledger[-1].at == last
    to_database.thaw()
    thawed_at = time.monotonic()
    await until(lambda: carrier.ledger[-1].at > thawed_at, 5, lambda: worker.log_text)
    assert (await worker.get("/livez"))[0] == 200
    assert await worker.stopped() == 0


@pytest.mark.long
async def test_a_shutdown_ends_in_time_and_says_every_result_that_it_could_not_write(
    to_database: Proxy, start: Start, shop: Shop, carrier: Simulator
) -> None:
    # The answer takes one second, on a busy machine several.
    patient = {"RETURNS_WORKER_ACCOUNTS__DEFAULT__TIMEOUT": "4s", "RETURNS_WORKER_WORKER__LEASE": "7s"}
    worker = await start(**patient).ready()
    carrier.inject("create", trickle(0.001))
    await shop.insert("R-1")
    await until(lambda: carrier.requests("create"), 10, lambda: worker.log_text)
    to_database.freeze()
    await until(lambda: carrier.orders, 5)
    await until(lambda: _nothing_in_flight(worker), 10)  # the answer has trickled in, and is to be written
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    await worker.ended(GRACE + 6)
    assert time.monotonic() - began < GRACE + 5
    (number,) = carrier.orders
    said = worker.saw("result_not_recorded")
    assert said is not None
    assert (said["reference"], said["carrier_ref"], said["outcome"]) == ("R-1", number, "created")

    to_database.thaw()
    await start().ready()
    await until(lambda: shop.is_in("R-1", "needs_attention"), 15)
    assert len(carrier.requests("create")) == 1


async def _nothing_in_flight(worker: RunningWorker) -> bool:
    return await worker.metric('returns_worker_in_flight{account="default"}') == 0
