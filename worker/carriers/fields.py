"""Merges a payload's `carrier_fields` into a request body: for fields that the carrier has and the payload has not."""

from collections.abc import Mapping
from typing import Any


def merge_carrier_fields(body: Mapping[str, Any], extra: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """`body` with `extra` merged deeply; a field that `body` has is not overridden but named in `problems`.

    `body` must hold every field the payload can set, empty ones too.
    """
    return _merged(body, extra, "carrier_fields", problems)


def _merged(body: Mapping[str, Any], extra: Mapping[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    merged, known = dict(body), {name.casefold() for name in body}  # as carriers on ASP.NET compare them
    for name, value in extra.items():
        place = f"{path}.{name}"
        if name.casefold() not in known:
            merged[name] = value
        elif isinstance(body.get(name), Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(body[name], value, place, problems)
        else:
            problems.append(f"{place}: is set by the payload itself and cannot be overridden")
    return merged
