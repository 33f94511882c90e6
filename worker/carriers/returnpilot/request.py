"""Builds the body of `POST /orders`, and checks every documented limit before anything is sent.

Source: pages guide/api/orders/create, guide/enums/countries and guide/concepts/formatting of the developer portal.
Lengths are in characters (Unicode code points); sizes go out in inches and weights in pounds, rounded up.
"""

import csv
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Final

from worker.carriers.shapes import Problems, finished
from worker.domain.payload import UnclearNumber, read_number, read_payload, read_text, reference_problems
from worker.domain.returns import Party, ReturnRequest

MAX_ITEMS: Final = 100
REFERENCE_LENGTH: Final = (2, 50)
LINK_DAYS: Final = (10, 365)

# Field of the request, its place in the payload, shortest and longest, whether it must be there.
_TEXTS: Final = (
    ("name", "customer.name", 2, 50, True),
    ("email", "customer.email", 6, 100, True),
    ("phone", "customer.phone", 7, 30, False),
    ("line_1", "customer.address.street", 2, 35, True),
    ("line_2", "customer.address.line_2", 2, 35, False),
    ("city", "customer.address.city", 2, 35, True),
    ("region", "customer.address.region", 2, 30, True),
    ("post_code", "customer.address.postal_code", 2, 16, True),
)
_PRODUCT_TEXTS: Final = (("sku", 2, 30), ("description", 2, 50), ("category", 2, 30))
_PRODUCT_SIZES: Final = (("length", 4, 50), ("width", 4, 50), ("height", 1, 50), ("weight", 1, 50))
_PRICE: Final = (Decimal("1.00"), Decimal("999999999.99"))
_PRODUCT: Final = frozenset({"price", "returnable", *(row[0] for row in (*_PRODUCT_TEXTS, *_PRODUCT_SIZES))})

_E164 = re.compile(r"\+[1-9][0-9]{1,14}")  # ITU-T E.164: 15 digits at most, the first of the country code not 0
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def build_request(payload: str, reference: str) -> dict[str, Any]:
    """The body for a payload (JSON text); raises `InvalidPayload` with every problem by its path.

    The organisation's own address is where the return goes: `receiver`, `packages`, `pickup_date`, `description`,
    `company_name` and `attention_of` have no place in the request and are not sent.
    """
    request, found = read_payload(payload)
    problems = Problems(found)
    _check_length("reference", reference, REFERENCE_LENGTH, problems)
    problems += reference_problems(reference)  # a lost creation is found again by it: it has to come back as it was
    body: dict[str, Any] = {
        "reference": reference,
        "link_expires_at": _link_days(request, problems),
        "line_items": _line_items(request, problems),
        **_customer(request, problems),
    }
    body = finished(body, request.carrier_fields, problems)
    return {name: value for name, value in body.items() if value not in ("", None)}  # an empty text is too short


@cache
def country_ids() -> Mapping[str, int]:
    """ISO 3166-1 alpha-2 -> ReturnPilot's own number: US is 230; the 1 of its samples is Afghanistan by now."""
    table = resources.files("worker.carriers.returnpilot").joinpath("countries.csv").read_text("utf-8")
    rows = csv.DictReader(table.splitlines())
    return {row["iso_alpha2"]: int(row["id"]) for row in rows if row["iso_alpha2"]}  # Zaire has a number but no code


def _link_days(request: ReturnRequest, problems: Problems) -> int | None:
    days, (least, most) = request.link_expires_in_days, LINK_DAYS
    if days is not None and not least <= days <= most:
        problems.append(f"link_expires_in_days: must be {least} to {most} days")
    return days


def _customer(request: ReturnRequest, problems: Problems) -> dict[str, Any]:
    if request.customer is None:
        problems.add("customer", "is required")
    party = request.customer or Party()
    address = party.address
    values: dict[str, Any] = {
        "name": party.name,
        "email": party.email,
        "phone": party.phone,
        "line_1": " ".join(filter(None, (address.street, address.house_number))),
        "line_2": address.line_2,
        "city": address.city,
        "region": address.region,
        "post_code": address.postal_code,
    }
    for field, path, least, most, required in _TEXTS:
        if values[field]:
            hint = " together with the house number" if field == "line_1" and address.house_number else ""
            _check_length(path, values[field], (least, most), problems, hint)
        elif required:
            problems.add(path, "is required")
    if party.phone and not _E164.fullmatch(party.phone):
        problems.append("customer.phone: must be in E.164 form, such as +12069536978")
    if party.email and not _EMAIL.fullmatch(party.email):
        problems.append("customer.email: must be an e-mail address")
    country = country_ids().get(address.country)
    if country is None:
        problem = "is not one that ReturnPilot knows" if address.country else "is required"
        problems.add("customer.address.country", problem)
    return {**values, "country": country}


def _line_items(request: ReturnRequest, problems: Problems) -> list[dict[str, Any]]:
    if not request.items:
        problems.add("items", f"1 to {MAX_ITEMS} are required")
    if len(request.items) > MAX_ITEMS:
        problems.append(f"items: {len(request.items)} are too many; 1 to {MAX_ITEMS} are allowed")
        return []
    return [_line_item(item, f"items[{index}]", problems) for index, item in enumerate(request.items)]


def _line_item(item: Mapping[str, Any], path: str, problems: Problems) -> dict[str, Any]:
    _refuse_others(item, {"product_id", "product"}, path, problems)
    chosen = [name for name in ("product_id", "product") if item.get(name) is not None]
    if len(chosen) != 1:
        problems.add(path, "must have exactly one of product_id and product")
        return {}
    if chosen == ["product_id"]:
        place = f"{path}.product_id"
        number = _number(item["product_id"], place, problems)
        if number is None or number != number.to_integral_value() or number < 1:
            problems.add(place, "must be a whole number above 0")
            return {}
        return {"product_id": int(number)}
    if not isinstance(item["product"], Mapping):
        problems.append(f"{path}.product: must be an object")
        return {}
    return {"product": _product(item["product"], f"{path}.product", problems)}


def _product(product: Mapping[str, Any], path: str, problems: Problems) -> dict[str, Any]:
    _refuse_others(product, _PRODUCT, path, problems)
    body: dict[str, Any] = {}
    for name, least, most in _PRODUCT_TEXTS:
        text, problem = read_text(product.get(name))
        if problem is not None:
            problems.add(f"{path}.{name}", problem)
        _check_length(f"{path}.{name}", text, (least, most), problems)
        body[name] = text
    for name, least, most in _PRODUCT_SIZES:
        size = _number(product.get(name), f"{path}.{name}", problems)
        body[name] = None if size is None else math.ceil(size)
        if body[name] is None or not least <= body[name] <= most:
            unit = "pounds" if name == "weight" else "inches"
            problems.add(f"{path}.{name}", f"must be {least} to {most} {unit}, rounded up")
    price = _number(product.get("price"), f"{path}.price", problems)
    if price is None or not _PRICE[0] <= price <= _PRICE[1] or price != round(price, 2):
        problems.add(f"{path}.price", f"must be {_PRICE[0]} to {_PRICE[1]}, with at most two decimals")
    body["price"] = None if price is None else float(price)
    if not isinstance(product.get("returnable"), bool):
        problems.append(f"{path}.returnable: must be true or false")
    return {**body, "returnable": product.get("returnable")}


def _number(value: Any, path: str, problems: Problems) -> Decimal | None:
    try:
        return read_number(value)
    except UnclearNumber as error:
        problems.append(f"{path}: {error}")
        return None


def _refuse_others(part: Mapping[str, Any], known: frozenset[str] | set[str], path: str, problems: Problems) -> None:
    problems.extend(f"{path}.{name[:60]}: is not known here" for name in list(part)[:20] if name not in known)


def _check_length(path: str, text: str, limits: tuple[int, int], problems: Problems, hint: str = "") -> None:
    least, most = limits
    if not least <= len(text) <= most:
        problems.add(path, f"must be {least} to {most} characters{hint}, not {len(text)}")
