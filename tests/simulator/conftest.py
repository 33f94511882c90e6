"""A simulator on a free port, a client that talks to it, and a clock that only moves when told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from worker.simulator import Simulator

REQUEST: dict[str, Any] = {
    "sender": {
        "name": "Sprookjeswonderland",
        "emailAddress": "info@izipack.nl",
        "phoneNumber": "0612345678",
        "address": {
            "country": "NL",
            "street": "Kooizandweg",
            "housenumber": "9",
            "zipcode": "1601 LK",
            "city": "Enkhuizen",
        },
    },
    "receiver": {
        "name": "Izipack",
        "emailAddress": "customersupport@izipack.nl",
        "address": {
            "street": "Dokter de Grootlaan",
            "housenumber": "3",
            "city": "Santpoort-Noord",
            "zipCode": "2071TG",
            "country": "NL",
        },
    },
    "pickUpDate": "2023-06-04",
    "description": "Webshop return - Internal ordernumber 345",
    "companyName": "webshop123.nl",
    "toAttentionOf": "afdeling RMA",
    "packages": [
        {
            "dimensions": {"height": "240", "width": "40", "depth": "40", "weight": "5000"},
            "description": "package 1",
        },
        {"dimensions": {"height": 241, "width": 41, "depth": 41, "weight": 5001}, "description": "package 2"},
    ],
}


class Clock:
    """Seconds that pass by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """The calls an integration makes."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def call(self, method: str, path: str, key: str | None = "IZI-simulator", **options: Any) -> Answer:
        headers = {"x-api-key": key} if key is not None else {}
        headers |= options.pop("headers", {})
        url = self.simulator.url + path
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def create(self, description: str | None = None, **changes: Any) -> Answer:
        body = REQUEST | changes
        if description is not None:
            body["description"] = description
        return await self.call("POST", "/shipment/retour", json=body)

    async def created(self, description: str | None = None, **changes: Any) -> str:
        answer = await self.create(description, **changes)
        assert answer.status == 200, answer.body
        return str(answer.json["orderNumber"])

    async def label(self, number: str) -> Answer:
        return await self.call("GET", f"/shipment/{number}/label")

    async def status(self, number: str) -> Answer:
        return await self.call("GET", f"/shipment/{number}")

    async def inject(self, **wish: Any) -> Answer:
        return await self.call("POST", "/simulator/faults", key=None, json=wish)


@pytest.fixture
def request_body() -> dict[str, Any]:
    return json.loads(json.dumps(REQUEST))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sim(clock: Clock, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Simulator]:
    async with Simulator(stage_seconds=10, clock=clock) as simulator:
        yield simulator
    # aiohttp logs what a handler did not expect: no test may leave such a trace; pypdf logs what a test lets it read
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if not record.name.startswith("pypdf")] == []


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[Client]:
    # force_close: a cut connection must not be confused with a stale pooled one
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Client(sim, session)


async def _until(condition: Callable[[], object]) -> None:
    """Let the server's side of a connection catch up; fails after some seconds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came true")


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Any]:
    return _until
