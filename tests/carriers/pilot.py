"""A ReturnPilot account as the worker opens it, with a carrier made of a function; and its documented answers."""

import copy
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.carriers.wire import answered_by
from worker.carriers import open_carrier
from worker.carriers.port import CarrierError, RequestOutcome
from worker.carriers.registry import AccountConfig
from worker.carriers.returnpilot.adapter import ReturnPilot
from worker.domain.lifecycle import State, Step
from worker.domain.lookup import Known
from worker.domain.returns import ReturnOrder
from worker.http.transport import Transport

TOKEN = "rp-s3cret+token/with=signs"
BASE = "https://carrier.test/api/v1"
NOW = datetime(2024, 12, 20, 12, tzinfo=UTC)

PAYLOAD: dict[str, Any] = {
    "customer": {
        "name": "Schaefer, Nolan and Wehner",
        "email": "dave45@gmail.com",
        "phone": "+12069536978",
        "address": {
            "street": "492 Quitzon Avenue Apt. 157",
            "line_2": "Apt. 027",
            "city": "Gustside",
            "region": "Massachusetts",
            "postal_code": "17594-7013",
            "country": "US",
        },
    },
    "items": [{"product_id": 1}],
    "link_expires_in_days": 30,
}
PRODUCT: dict[str, Any] = {
    "sku": "1356284",
    "description": "Red Shirt",
    "category": "Clothing",
    "price": 55.71,
    "length": 6,
    "width": 11,
    "height": 3,
    "weight": 2,
    "returnable": True,
}
ADDRESS = {
    "id": 1,
    "name": "Kohler Group",
    "email": "parisian.kristoffer@yahoo.com",
    "phone": "+12069536978",
    "line_1": "193 Dach Shores Suite 632",
    "line_2": "Apt. 300",
    "city": "Moenburgh",
    "region": "Colorado",
    "post_code": "72099",
    "country": 230,
    "created_at": "2024-12-09 22:49:57",
    "updated_at": "2024-12-09 22:49:57",
}
SHIPMENT: dict[str, Any] = {
    "id": 1,
    "status": 2,
    "package": "Large Box",
    "length": 6,
    "width": 11,
    "height": 3,
    "weight": 2,
    "tracking_number": "EX18472",
    "tracking_url": "https://provider.com/track/EX18472",
    "label_url": "https://provider.com/label/EX18472",
    "created_at": "2024-12-09 22:49:57",
    "updated_at": "2024-12-09 22:49:57",
}
ORDER: dict[str, Any] = {
    "id": 10011,
    "origin_address": ADDRESS,
    "destination_address": {**ADDRESS, "id": 2},
    "line_items": [
        {
            "id": 1,
            "product": {"id": 1, **PRODUCT, "created_at": "2024-12-09 22:49:57", "updated_at": "2024-12-09 22:49:57"},
            "reason": 1,
            "created_at": "2024-12-09 22:49:57",
            "updated_at": "2024-12-09 22:49:57",
        }
    ],
    "shipments": [SHIPMENT],
    "reference": "ORD-12345",
    "price": 22.75,
    "carrier": "FedEx",
    "return_url": "https://app.returnpilot.co/r/10011",
    "link_expires_at": "2025-01-08 15:39:37",
    "created_at": "2024-12-09 15:39:37",
    "updated_at": "2024-12-09 15:39:37",
}


def document(**changes: Any) -> dict[str, Any]:
    """An order as the carrier shows it."""
    return {**copy.deepcopy(ORDER), **changes}


def shipment(number: int = 1, status: Any = 2, **changes: Any) -> dict[str, Any]:
    return {**SHIPMENT, "id": number, "status": status, **changes}


def listed(*documents: Any, next_page: int | None = None, page: int | None = None) -> dict[str, Any]:
    """A page of the list: `last` is always null, and `next` names no limit."""
    path = "https://app.returnpilot.co/api/v1/orders"
    return {
        "data": list(documents),
        "links": {
            "first": f"{path}?page=1",
            "last": None,
            "prev": None,
            "next": f"{path}?page={next_page}" if next_page else None,
        },
        "meta": {"current_page": page, "from": 1, "path": path, "per_page": 50, "to": len(documents)},
    }


def order(payload: dict[str, Any] | None = None, **changes: Any) -> ReturnOrder:
    values: dict[str, Any] = {"id": 1, "account": "pilot", "reference": "ORD-12345"}
    return ReturnOrder(**(values | {"payload": json.dumps(PAYLOAD if payload is None else payload)} | changes))


def at_carrier(**changes: Any) -> ReturnOrder:
    return order(**({"state": State.TRACKING, "next_step": Step.TRACK, "carrier_ref": "10011"} | changes))


def in_doubt(**changes: Any) -> ReturnOrder:
    """A return whose creation was sent at NOW and not answered."""
    return order(**({"create_started_at": NOW, "first_attempt_at": NOW - timedelta(minutes=5)} | changes))


@dataclass
class Pilot:
    """An opened account, every request it sent, and what its metrics were told."""

    carrier: ReturnPilot
    requests: list[httpx.Request] = field(default_factory=list)
    observed: list[tuple[str, RequestOutcome]] = field(default_factory=list)

    @property
    def sent(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]

    async def create(self) -> Any:
        return await self.carrier.create(self.carrier.prepare(order()))

    async def track(self, **changes: Any) -> Any:
        return await self.carrier.track(at_carrier(**changes))

    async def look_up(self, known: Known | None = None, **changes: Any) -> Any:
        return (await self.carrier.look_up(in_doubt(**changes))).result(known or Known())

    async def label(self, **changes: Any) -> Any:
        return await self.carrier.label(at_carrier(**changes))

    async def cancel(self) -> Any:
        return await self.carrier.cancel(at_carrier())

    async def failure(self, operation: str) -> CarrierError:
        try:
            answer = await getattr(self, operation)()
        except CarrierError as error:
            return error
        raise AssertionError(f"it did not fail but answered {answer!r}")


Answer = Callable[[httpx.Request], httpx.Response]


def _for(request: httpx.Request, answer: dict[str, Any]) -> dict[str, Any]:
    """A page of the list that does not say which it is, as the one that was asked for."""
    meta = answer.get("meta")
    if not isinstance(meta, dict) or meta.get("current_page", 0) is not None:
        return answer
    return answer | {"meta": meta | {"current_page": int(request.url.params["page"])}}


@asynccontextmanager
async def piloting(
    *answers: Answer | httpx.Response | dict[str, Any],
    transport: Transport | None = None,
    base_url: str = BASE,
    now: datetime = NOW,
    **config: Any,
) -> AsyncIterator[Pilot]:
    """An account whose carrier gives these answers one after the other, the last one for ever."""
    pilot = Pilot.__new__(Pilot)
    pilot.requests, pilot.observed = [], []

    def handle(request: httpx.Request) -> httpx.Response:
        answer = answers[min(len(pilot.requests), len(answers) - 1)]
        pilot.requests.append(request)
        if isinstance(answer, dict):
            return httpx.Response(200, json=_for(request, answer))
        # A response object is good for one request only.
        return (
            answer(request)
            if callable(answer)
            else httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        )

    carrier = open_carrier(
        AccountConfig(carrier="returnpilot", key=lambda: TOKEN, base_url=base_url, timeout=5.0, **config),
        lambda operation, outcome, seconds: pilot.observed.append((operation, outcome)),
        transport or answered_by(handle),
    )
    assert isinstance(carrier, ReturnPilot)
    object.__setattr__(carrier, "clock", lambda: now)
    pilot.carrier = carrier
    try:
        yield pilot
    finally:
        await carrier.close()
