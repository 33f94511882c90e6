"""What a simulated ReturnPilot asks of the body of `POST /api/v1/orders`: its documented limits."""

import re
from collections.abc import Mapping

Errors = dict[str, list[str]]

_TEXTS = (
    *(("reference", 2, 50, True), ("name", 2, 50, True), ("email", 6, 100, True), ("phone", 7, 30, False)),
    *(("line_1", 2, 35, True), ("line_2", 2, 35, False), ("city", 2, 35, True), ("region", 2, 30, True)),
    ("post_code", 2, 16, True),
)
_PRODUCT_TEXTS = (("sku", 2, 30, True), ("description", 2, 50, True), ("category", 2, 30, True))
_PRODUCT_NUMBERS = (("length", 4, 50), ("width", 4, 50), ("height", 1, 50), ("weight", 1, 50))
_E164 = re.compile(r"\+[1-9][0-9]*", re.ASCII)


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
