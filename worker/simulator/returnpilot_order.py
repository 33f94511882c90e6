"""One order at the simulated ReturnPilot, and the JSON document that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_PRODUCT = {
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
LONG_ID = 10**18
"""What is added to the number of an order that is to have a long one; its shipments' ids are still below 2**63."""

_ADDRESS = ("name", "email", "phone", "line_1", "line_2", "city", "region", "post_code", "country")


@dataclass(slots=True)
class PilotOrder:
    """One order."""

    id: int
    reference: str
    body: dict[str, object]  # of the request that made it
    words: frozenset[str]  # the magic ones anywhere in it
    created_at: float  # in seconds of the simulator's clock
    created_utc: datetime  # in real time, as is the next
    link_expires_at: datetime
    stage: int | None = None  # how far it is; None: as far as the clock says
    reads: int = 0  # how often it was shown with a shipment


def order_document(order: PilotOrder, statuses: Sequence[int], host: str, *, has_label: bool) -> dict[str, object]:
    """The order as the API shows it, with a shipment for each of `statuses`; `host` is the API's own, with its port."""
    created = _timestamp(order.created_utc)
    times = {"created_at": created, "updated_at": created}
    address = {name: order.body.get(name) for name in _ADDRESS}
    return {
        "id": order.id,
        "origin_address": {"id": 1, **address, **times},
        "destination_address": {"id": 2, **address, "name": "Webshop", **times},
        "line_items": _line_items(order.body.get("line_items"), returned=bool(statuses), times=times),
        "shipments": [
            {**_shipment(order, index, status, host, has_label), **times}
            for index, status in enumerate(statuses, start=1)
        ],
        "reference": order.reference,
        "price": 22.75 if statuses else None,
        "carrier": "FedEx" if statuses else None,
        "return_url": return_url(order, host),
        "link_expires_at": _timestamp(order.link_expires_at),
        **times,
    }


def shipment_id(order: PilotOrder, index: int) -> int:
    """The id of the order's shipment number `index`, from 1."""
    long = order.id // LONG_ID * LONG_ID
    return long + (order.id - long) * 10 + index


def return_url(order: PilotOrder, host: str) -> str:
    """Where the customer would schedule the return; nothing is served there."""
    return f"http://{host}/return/{order.id}"


def _shipment(order: PilotOrder, index: int, status: int, host: str, has_label: bool) -> dict[str, object]:
    number = shipment_id(order, index)
    return {
        "id": number,
        "status": status,
        "package": "Large Box",
        "length": 6,
        "width": 11,
        "height": 3,
        "weight": 2,
        "tracking_number": f"EX{number}",
        "tracking_url": f"https://provider.example/track/EX{number}",
        "label_url": f"http://{host}/labels/{order.id}/{number}" if has_label else None,
    }


def _line_items(items: object, *, returned: bool, times: dict[str, str]) -> list[dict[str, object]]:
    found = items if isinstance(items, list) else []
    return [
        {"id": index, "product": _product(item, times), "reason": 10 if returned else None, **times}
        for index, item in enumerate(found, start=1)
    ]


def _product(item: dict[str, object], times: dict[str, str]) -> dict[str, object]:
    product = item.get("product")
    own = product if isinstance(product, dict) else _PRODUCT
    return {"id": item.get("product_id", 1), **own, **times}


def _timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
