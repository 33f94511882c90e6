"""Whoever connects to the worker's pages takes nothing from its work: few files, for a short time, no line of log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from tests.telemetry.test_http import a_registry, all_is_well
from worker.telemetry.connections import Limits
from worker.telemetry.http import TelemetryServer

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HALF = b"GET /livez HTTP/1.1\r\nHost: worker\r\n"
ASKED = HALF + b"\r\n"


class Large:
    """More than the buffers of two sockets hold."""

    def collect(self) -> Iterator[Metric]:
        metric = Metric("returns_worker_large", "x" * 30_000_000, "gauge")
        metric.add_sample("returns_worker_large", {}, 1)
        yield metric

    def describe(self) -> list[Metric]:
        return []


class Callers:
    """Connections to a server, closed at the end."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self._wires: list[Wire] = []

    async def connect(self, said: bytes = b"") -> Wire:
        wire = await asyncio.open_connection(*self._place)
        self._wires.append(wire)
        wire[1].write(said)
        return wire

    async def close(self) -> None:
        for _, writer in self._wires:
            writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def served(limits: Limits | None = None, registry: CollectorRegistry | None = None) -> AsyncIterator[Callers]:
    server = TelemetryServer(
        "127.0.0.1",
        0,
        registry=registry or a_registry(),
        seconds_since_turn=lambda: 0.0,
        turn_limit=1.0,
        readiness=all_is_well,
        **({"limits": limits} if limits else {}),
    )
    await server.start()
    callers = Callers(*server.address)
    try:
        yield callers
    finally:
        await callers.close()
        await server.stop()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_of_eleven_hundred_half_open_requests_a_hundred_are_held_and_a_probe_gets_in() -> None:
    async with served() as callers:
        wires = [await callers.connect(HALF) for _ in range(1_100)]
        reader, _ = await callers.connect(ASKED)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200 ")
        closed = [asyncio.create_task(is_closed(reader)) for reader, _ in wires]
        await asyncio.wait(closed[:1001], timeout=5)
        assert [task.done() for task in closed] == [True] * 1001 + [False] * 99
        for task in closed:
            task.cancel()


async def test_the_hundred_by_default_have_five_seconds_for_their_head() -> None:
    assert (Limits().most, Limits().head) == (100, 5.0)


@pytest.mark.parametrize("said", [b"", HALF, ASKED + HALF], ids=["nothing", "half a head", "half of a second head"])
async def test_a_head_that_does_not_come_to_its_end_in_time_ends_the_connection(said: bytes) -> None:
    async with served(Limits(head=0.2)) as callers:
        reader, _ = await callers.connect(said)
        await asyncio.wait_for(reader.read(), 5)


async def test_a_head_that_comes_byte_by_byte_is_given_no_longer() -> None:
    async with served(Limits(head=0.3)) as callers:
        reader, writer = await callers.connect()
        closed = asyncio.create_task(is_closed(reader))
        for byte in HALF * 10:
            writer.write(bytes((byte,)))
            if (await asyncio.wait({closed}, timeout=0.05))[0]:
                break
        assert closed.done()


async def test_an_answer_that_nobody_takes_is_given_up_in_time() -> None:
    registry = CollectorRegistry()
    registry.register(Large())
    limits = Limits(answer=0.3)
    async with served(limits, registry) as callers:
        await callers.connect(b"GET /metrics HTTP/1.1\r\nHost: worker\r\n\r\n")
        for _ in range(500):
            if limits.open:
                break
            await asyncio.sleep(0.01)
        assert len(limits.open) == 1
        for _ in range(500):
            if not limits.open:
                break
            await asyncio.sleep(0.01)
        assert not limits.open


async def test_who_asks_again_and_again_is_not_the_one_that_makes_room() -> None:
    async with served(Limits(most=2)) as callers:
        scraper, asking = await callers.connect(ASKED)
        await scraper.readuntil(b"ok\n")
        silent, _ = await callers.connect(HALF)
        await asyncio.sleep(0.05)
        asking.write(ASKED)
        await scraper.readuntil(b"ok\n")
        probe, _ = await callers.connect(ASKED)
        await probe.readuntil(b"ok\n")
        assert await is_closed(silent)
        asking.write(ASKED)
        assert (await scraper.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "said",
    [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /livez HTTP/1.1\r\nsecret\r\n\r\n"],
    ids=["TLS", "no version", "no header"],
)
async def test_what_is_no_request_is_refused_without_a_version_a_quotation_or_a_trace_in_the_log(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with served() as callers:
        reader, _ = await callers.connect(said)
        answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nbad request\n")
    assert b"server:" not in answer.lower()
    assert caplog.text == ""
