"""One order at the simulated ReturnPilot: what is asked of its request, and the JSON document that shows it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

Errors = dict[str, list[str]]

# The documented limits of `POST /api/v1/orders`.
_TEXTS = (
    *(("reference", 2, 50, True), ("name", 2, 50, True), ("email", 6, 100, True), ("phone", 7, 30, False)),
    *(("line_1", 2, 35, True), ("line_2", 2, 35, False), ("city", 2, 35, True), ("region", 2, 30, True)),
    ("post_code", 2, 16, True),
)
_PRODUCT_TEXTS = (("sku", 2, 30, True), ("description", 2, 50, True), ("category", 2, 30, True))
_PRODUCT_NUMBERS = (("length", 4, 50), ("width", 4, 50), ("height", 1, 50), ("weight", 1, 50))
_E164 = re.compile(r"\+[1-9][0-9]*", re.ASCII)

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


def order_errors(body: Mapping[str, object]) -> Errors:
    """Every problem of a create request: path of the field -> what is wrong; empty when all is well."""
    errors: Errors = {}
    for name, least, most, required in _TEXTS:
        _check_text(body.get(name), name, least, most, errors, required=required)
    phone = body.get("phone")
    if isinstance(phone, str) and not _E164.fullmatch(phone):
        errors["phone"] = ["must be E.164"]
    _check_number(body.get("country"), "country", 1, 243, errors)
    if body.get("link_expires_at") is not None:
        _check_number(body["link_expires_at"], "link_expires_at", 10, 365, errors)
    items = body.get("line_items")
    if not isinstance(items, list) or not 1 <= len(items) <= 100:
        errors["line_items"] = ["must be 1 to 100"]
        return errors
    for index, item in enumerate(items):
        _check_item(item, f"line_items.{index}", errors)
    return errors


def _check_item(item: object, path: str, errors: Errors) -> None:
    if not isinstance(item, dict) or (item.get("product_id") is None) == (item.get("product") is None):
        errors[path] = ["must have exactly one of product_id and product"]
        return
    if item.get("product_id") is not None:
        _check_number(item["product_id"], f"{path}.product_id", 1, 2**63, errors)
        return
    product = item["product"]
    if not isinstance(product, dict):
        errors[f"{path}.product"] = ["must be an object"]
        return
    for name, least, most, required in _PRODUCT_TEXTS:
        _check_text(product.get(name), f"{path}.product.{name}", least, most, errors, required=required)
    for name, smallest, largest in _PRODUCT_NUMBERS:
        _check_number(product.get(name), f"{path}.product.{name}", smallest, largest, errors)
    price = product.get("price")
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not 1 <= price <= 999_999_999.99:
        errors[f"{path}.product.price"] = ["must be 1.00 to 999999999.99"]
    if not isinstance(product.get("returnable"), bool):
        errors[f"{path}.product.returnable"] = ["must be a boolean"]


def _check_text(value: object, path: str, least: int, most: int, errors: Errors, *, required: bool) -> None:
    if value is None and not required:
        return
    if not isinstance(value, str) or not least <= len(value) <= most:
        errors[path] = [f"must be a string of {least} to {most} characters"]


def _check_number(value: object, path: str, least: int, most: int, errors: Errors) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        errors[path] = [f"must be an integer from {least} to {most}"]
