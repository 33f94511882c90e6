"""What a simulated Izipack asks of the body of `POST /shipment/retour`.

Izipack publishes no required fields or ranges; these are the least that its sample makes plausible.
"""

import re
from collections.abc import Mapping
from datetime import date

DIMENSIONS = ("height", "width", "depth", "weight")

_ADDRESS = (("street",), ("housenumber",), ("zipCode", "zipcode"), ("city",), ("country",))
_OPTIONAL_TEXT = ("description", "companyName", "toAttentionOf", "extraInstructions")
_POSITIVE = re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII)

Errors = dict[str, list[str]]


def request_errors(body: Mapping[str, object]) -> Errors:
    """Every problem of a create request: path of the field -> what is wrong; empty when all is well."""
    errors: Errors = {}
    for party in ("sender", "receiver"):
        _check_party(body.get(party), party, errors)
    _check_packages(body.get("packages"), errors)
    for name in _OPTIONAL_TEXT:
        _check_optional_text(body, name, name, errors)
    picked = body.get("pickUpDate")
    if picked is not None and not _is_date(picked):
        errors["pickUpDate"] = ["must be a date, YYYY-MM-DD"]
    return errors


def whole_number(value: object) -> int | None:
    """A positive whole number from a JSON number or a numeric string; None if it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value > 0 else None
    if isinstance(value, str) and _POSITIVE.fullmatch(value.strip()):
        return int(value)
    return None


def _check_party(party: object, path: str, errors: Errors) -> None:
    if not isinstance(party, dict):
        errors[path] = ["is required and must be an object"]
        return
    _check_text(party, ("name",), path, errors)
    address = party.get("address")
    if not isinstance(address, dict):
        errors[f"{path}.address"] = ["is required and must be an object"]
        return
    for spellings in _ADDRESS:
        _check_text(address, spellings, f"{path}.address", errors)


def _check_text(parent: Mapping[str, object], spellings: tuple[str, ...], path: str, errors: Errors) -> None:
    value = next((parent[name] for name in spellings if parent.get(name) is not None), None)
    if not isinstance(value, str) or not value.strip():
        errors[f"{path}.{spellings[0]}"] = ["is required and must be a non-empty string"]


def _check_packages(packages: object, errors: Errors) -> None:
    if not isinstance(packages, list) or not packages:
        errors["packages"] = ["at least one package is required"]
        return
    for index, package in enumerate(packages):
        path = f"packages[{index}]"
        dimensions = package.get("dimensions") if isinstance(package, dict) else None
        if not isinstance(dimensions, dict):
            errors[f"{path}.dimensions"] = ["is required and must be an object"]
            continue
        for name in DIMENSIONS:
            if whole_number(dimensions.get(name)) is None:
                errors[f"{path}.dimensions.{name}"] = ["must be a positive whole number"]
        _check_optional_text(package, "description", f"{path}.description", errors)


def _check_optional_text(parent: Mapping[str, object], name: str, path: str, errors: Errors) -> None:
    if not isinstance(parent.get(name), str | None):
        errors[path] = ["must be a string"]


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and len(value) == 10 and bool(date.fromisoformat(value))
    except ValueError:
        return False
