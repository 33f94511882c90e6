"""What a worker is compared with: clients that do nothing but the requests, each in a process of its own on uvloop.

`bare` is aiohttp's session as it comes, without a limit of connections, and reads each body. `httpx` is
`httpx.AsyncClient` as it comes, without limits either. `transport` is the worker's own transport below httpx's client.
"""

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import httpx
import uvloop

from tests.benchmarks.processes import said, started
from worker.http.links import Address, origin_of
from worker.http.transport import AiohttpTransport, Call

KINDS = ("bare", "httpx", "transport")
_TIMEOUT = 20.0  # seconds, the worker's default
_HEADERS = {"x-api-key": "IZI-benchmark", "accept": "application/json"}

Ask = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Load:
    """Requests to make: so many at a time, the first `warm_up` not counted. With a `body` they are POSTs.

    `fresh`: each on a connection of its own.
    """

    url: str
    in_flight: int
    warm_up: int
    requests: int
    body: str = ""
    fresh: bool = False


def cpu_seconds_per_request(kind: str, load: Load) -> float:
    """User and system time of one client process for each of its requests."""
    arguments = ["-m", "tests.benchmarks.clients", kind, load.url]
    arguments += [str(number) for number in (load.in_flight, load.warm_up, load.requests)]
    arguments += ["--body", load.body] if load.body else []
    with started(*arguments, *(["--fresh"] if load.fresh else [])) as process:
        return float(said(process)["cpu_per_request"])


async def _measured(ask: Ask, load: Load) -> float:
    begun = ended = 0
    at_start = at_end = 0.0

    async def one_after_the_other() -> None:
        nonlocal begun, ended, at_start, at_end
        while begun < load.warm_up + load.requests:
            begun += 1
            assert await ask()
            ended += 1
            if ended == load.warm_up:
                at_start = _cpu()
            elif ended == load.warm_up + load.requests:
                at_end = _cpu()

    await asyncio.gather(*(one_after_the_other() for _ in range(load.in_flight)))
    return (at_end - at_start) / load.requests


async def _bare(load: Load, stack: AsyncExitStack) -> Ask:
    connector = aiohttp.TCPConnector(limit=0, force_close=load.fresh)
    limit = aiohttp.ClientTimeout(total=_TIMEOUT)
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=connector, timeout=limit, headers=_HEADERS)
    )

    async def get() -> bytes:
        async with session.get(load.url) as answer:
            return await answer.read()

    async def post() -> bytes:
        async with session.post(load.url, data=load.body.encode()) as answer:
            return await answer.read()

    return post if load.body else get


async def _httpx(load: Load, stack: AsyncExitStack) -> Ask:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = await stack.enter_async_context(
        httpx.AsyncClient(limits=limits, timeout=_TIMEOUT, headers=_HEADERS, trust_env=False)
    )

    async def get() -> bytes:
        return (await client.get(load.url)).content

    return get


async def _transport(load: Load, stack: AsyncExitStack) -> Ask:
    transport = AiohttpTransport(timeout=_TIMEOUT)
    stack.push_async_callback(transport.aclose)
    address = Address(*origin_of(load.url), httpx.URL(load.url).raw_path.decode("ascii"))

    async def get() -> bytes:
        return (await transport.send(Call("GET", address, _HEADERS, time.monotonic(), 1_000_000))).content

    return get


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _run(kind: str, load: Load) -> None:
    async with AsyncExitStack() as stack:
        ask = await {"bare": _bare, "httpx": _httpx, "transport": _transport}[kind](load, stack)
        print(json.dumps({"cpu_per_request": await _measured(ask, load)}), flush=True)


def main() -> None:
    """Make the requests, say what each cost, end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("url")
    parser.add_argument("in_flight", type=int)
    parser.add_argument("warm_up", type=int)
    parser.add_argument("requests", type=int)
    parser.add_argument("--body", default="")
    parser.add_argument("--fresh", action="store_true")
    chosen = vars(parser.parse_args())
    kind = chosen.pop("kind")
    uvloop.run(_run(kind, Load(**chosen)))


if __name__ == "__main__":
    main()
