"""Connections to the worker's pages that ask nothing, with a real process and few files to spare."""

import asyncio
import resource
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.databases import on_sqlite
from tests.process.running import PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator

Start = Callable[..., RunningWorker]
pytestmark = on_sqlite


async def test_half_open_requests_take_no_files_from_the_work(start: Start, shop: Shop, carrier: Simulator) -> None:
    worker = await start().ready()
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    listening = worker.saw("listening")
    assert listening is not None
    address = urlsplit(listening["address"])
    wires = [await asyncio.open_connection(address.hostname, address.port) for _ in range(400)]
    for _, writer in wires:
        writer.write(b"GET /metrics HTTP/1.1\r\n")
    try:
        await shop.insert("R-1", PAYLOAD)
        await until(lambda: carrier.orders, 4, lambda: worker.log_text)
        assert (await worker.get("/livez"))[0] == 200
    finally:
        for _, writer in wires:
            writer.transport.abort()
    assert "Too many open files" not in worker.log_text
