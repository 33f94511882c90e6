"""An Izipack account as the worker opens it, and a raw server for what no honest carrier does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from worker.carriers import open_carrier
from worker.carriers.izipack import Izipack
from worker.carriers.port import CarrierError, Creation, RequestOutcome
from worker.carriers.registry import AccountConfig
from worker.domain.lifecycle import State, Step
from worker.domain.returns import ReturnOrder
from worker.http.transport import Answer, Call, Transport

KEY = "IZI-s3cret+key/with=signs"
TIMEOUT = 0.25  # seconds; only where a time limit is what is tested does it ever run out

PAYLOAD: dict[str, Any] = {
    "customer": {
        "name": "Sprookjeswonderland",
        "email": "info@izipack.nl",
        "phone": "0612345678",
        "address": {
            "street": "Kooizandweg",
            "house_number": "9",
            "postal_code": "1601 LK",
            "city": "Enkhuizen",
            "country": "NL",
        },
    },
    "receiver": {
        "name": "Izipack",
        "email": "customersupport@izipack.nl",
        "address": {
            "street": "Dokter de Grootlaan",
            "house_number": "3",
            "postal_code": "2071TG",
            "city": "Santpoort-Noord",
            "country": "NL",
        },
    },
    "pickup_date": "2023-06-04",
    "description": "Webshop return - Internal ordernumber 345",
    "company_name": "webshop123.nl",
    "attention_of": "afdeling RMA",
    "packages": [
        {"height": "240", "width": "40", "depth": "40", "weight": "5000", "description": "package 1"},
        {"height": 241, "width": 41, "depth": 41, "weight": 5001, "description": "package 2"},
    ],
}


def order(payload: dict[str, Any] | None = None, **changes: Any) -> ReturnOrder:
    values: dict[str, Any] = {"id": 1, "account": "default", "reference": "345"}
    return ReturnOrder(**(values | {"payload": json.dumps(PAYLOAD if payload is None else payload)} | changes))


def at_carrier(number: str = "9RET326720205706") -> ReturnOrder:
    return order(state=State.TRACKING, next_step=Step.TRACK, carrier_ref=number)


@dataclass
class Account:
    """An opened account and what its metrics were told."""

    carrier: Izipack
    observed: list[tuple[str, RequestOutcome]] = field(default_factory=list)

    @property
    def creation(self) -> Creation:
        return self.carrier.prepare(order())

    async def create(self) -> Any:
        return await self.carrier.create(self.creation)

    async def track(self, number: str = "9RET326720205706") -> Any:
        return (await self.carrier.track(at_carrier(number))).update

    async def label(self, number: str = "9RET326720205706") -> Any:
        return await self.carrier.label(at_carrier(number))

    async def failure(self, operation: str) -> CarrierError:
        try:
            answer = await getattr(self, operation)()
        except CarrierError as error:
            return error
        raise AssertionError(f"it did not fail but answered {answer!r}")


@asynccontextmanager
async def opened(
    base_url: str = "https://carrier.test",
    transport: Transport | None = None,
    key: Callable[[], str] = lambda: KEY,
    seconds: float = 5.0,
    **config: Any,
) -> AsyncIterator[Account]:
    observed: list[tuple[str, RequestOutcome]] = []
    carrier = open_carrier(
        AccountConfig(carrier="izipack", key=key, base_url=base_url, timeout=seconds, **config),
        lambda operation, outcome, seconds: observed.append((operation, outcome)),
        transport,
    )
    assert isinstance(carrier, Izipack)
    try:
        yield Account(carrier, observed)
    finally:
        await carrier.close()


@dataclass
class answered_by:  # noqa: N801  it reads as a function
    """A transport that is a function; it is given the address as a carrier would see it, the target in its place."""

    handler: Callable[[httpx.Request], httpx.Response]

    async def send(self, call: Call) -> Answer:
        scheme, host, port, target = call.address
        url = httpx.URL(scheme=scheme, host=host, port=port, raw_path=target.encode("ascii"))
        request = httpx.Request(call.method, url, headers=call.headers, content=call.content)
        request.extensions["call"] = call
        response = await httpx.MockTransport(self.handler).handle_async_request(request)
        return Answer(response.status_code, response.headers.raw, await response.aread())

    async def aclose(self) -> None:
        return None


@asynccontextmanager
async def answering(
    answer: Callable[[httpx.Request], httpx.Response] | httpx.Response, **config: Any
) -> AsyncIterator[Account]:
    """An account whose carrier is a function."""
    handler = answer if callable(answer) else lambda request: answer
    async with opened(transport=answered_by(handler), **config) as account:
        yield account


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Wire"], Awaitable[None]]


@dataclass
class Wire:
    """What reached a raw server: each connection, and each request head."""

    url: str = ""
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        return [head.split(b" ", 1)[0].decode() for head in self.heads]


async def read_request(reader: asyncio.StreamReader, wire: Wire) -> bytes | None:
    """One request with its body; None when the client went away."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        wire.heads.append(head)
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if length:
            await reader.readexactly(int(length[0].split(b":")[1]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return head


@asynccontextmanager
async def raw_server(handler: Handler, **options: Any) -> AsyncIterator[Wire]:
    """A server that does with each connection what `handler` says, then closes it."""
    wire, tasks = Wire(), set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer, wire)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def sends(answer: bytes, *, then_hang: bool = False) -> Handler:
    """Read a request, send these bytes, close (or leave the connection open and silent)."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        if await read_request(reader, wire) is None:
            return
        writer.write(answer)
        await writer.drain()
        if then_hang:
            await reader.read()

    return handler


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
